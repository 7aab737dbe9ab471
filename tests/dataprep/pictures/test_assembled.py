"""The assembled pictures are a ground truth, so everything about them must be exact."""

import json

import numpy as np
import pytest

from dataprep.errors import DataError
from dataprep.pictures import assembled
from dataprep.pictures.assembled import NOT_SCORED, REGIONS, Assembly
from dataprep.pictures.decode import decode
from dataprep.pictures.palettes import draw_colors, nearest_name
from dataprep.randomness import generator

SIZE = 128
TEMPLATES = sorted(assembled.shipped_templates().values(), key=lambda template: template.id)
SOME = TEMPLATES[::17]  # both styles
ASSEMBLIES = [assembled.coloring(template, index, seed=5) for index, template in enumerate(SOME)]
IDS = [f"{template.style}-{template.id}" for template in SOME]
each = pytest.mark.parametrize("assembly", ASSEMBLIES, ids=IDS)


def pixels(region: str, assembly: Assembly) -> np.ndarray:
    return assembled.region_classes(assembly, SIZE) == REGIONS.index(region)


def rgb(color: str) -> list[int]:
    return list(bytes.fromhex(color[1:]))


def test_two_hundred_different_drawings_ship_half_of_each_style() -> None:
    assert len({template.svg for template in TEMPLATES}) == 200
    styles = [template.style for template in TEMPLATES]
    assert {style: styles.count(style) for style in styles} == {"adventurer": 100, "open-peeps": 100}


def test_no_two_shipped_drawings_have_the_same_line_art() -> None:
    drawings = {assembled.line_art(assembled.coloring(template, 0, 0), 96).tobytes() for template in TEMPLATES}
    assert len(drawings) == len(TEMPLATES)


@each
def test_the_known_answer_is_the_first_drawing_in_the_second_ones_colours(assembly: Assembly) -> None:
    other = ASSEMBLIES[(ASSEMBLIES.index(assembly) + 5) % len(ASSEMBLIES)]
    by_hand = assembled.svg_of(assembly, SIZE)
    template = assembled.template_svg(assembly)
    for name, value in other.colors:
        template = template.replace("{" + name + "}", value)
    answer = assembled.recolored(assembly, other)
    expected = decode(template.replace("<svg ", f'<svg width="{SIZE}" height="{SIZE}" ', 1).encode()).rgb
    np.testing.assert_array_equal(assembled.render(answer, SIZE), expected)
    assert assembled.svg_of(answer, SIZE) != by_hand
    np.testing.assert_array_equal(assembled.line_art(answer, SIZE), assembled.line_art(assembly, SIZE))
    assert assembled.recolored(assembly, assembly) == assembly


@each
def test_the_source_bytes_decode_to_the_rendered_picture(assembly: Assembly) -> None:
    picture = decode(assembled.svg_of(assembly, SIZE).encode())
    np.testing.assert_array_equal(picture.rgb, assembled.render(assembly, SIZE))
    assert picture.alpha is None


@each
def test_ink_lies_where_the_line_art_is_black(assembly: Assembly) -> None:
    picture, lines = assembled.render(assembly, SIZE).max(axis=-1), assembled.line_art(assembly, SIZE)
    assert (picture[lines == 0] == 0).all()
    assert (lines[picture == 0] <= 8).all()  # a soft edge of a dark colour may round to 0 where white paper gives 1..8
    assert (picture <= lines.astype(int) + 1).all()  # as opaque as each other: coverage times a fill that is not white
    assert 0.002 < (lines == 0).mean() < 0.3


@each
def test_the_line_art_holds_no_colour_of_the_drawing(assembly: Assembly) -> None:
    """Inside a flat region the paper is white, also where the artist's own fixed colours are."""
    lines = assembled.line_art(assembly, SIZE)
    assert (lines[assembled.region_classes(assembly, SIZE) != NOT_SCORED] == 255).all()


@each
def test_every_scored_pixel_of_a_region_has_exactly_the_regions_colour(assembly: Assembly) -> None:
    colors, picture = dict(assembly.colors), assembled.render(assembly, SIZE)
    for name in ("hair", "skin", "clothes", "eyes"):
        inside = picture[pixels(name, assembly)]
        assert (inside == rgb(colors[name])).all()
        assert (len(inside) > 0) <= (name in assembled.shown_regions(assembly))


@each
def test_regions_and_ink_cover_the_picture(assembly: Assembly) -> None:
    classes, lines = assembled.region_classes(assembly, SIZE), assembled.line_art(assembly, SIZE)
    assert (classes != NOT_SCORED).mean() > 0.6
    # what belongs to no region is ink, a soft edge, or an edge between two fills one pixel wide
    unscored = classes == NOT_SCORED
    assert (unscored & (lines == 255)).mean() < 0.03


@each
def test_the_mask_is_the_drawing_without_its_background(assembly: Assembly) -> None:
    foreground, classes = assembled.mask(assembly, SIZE), assembled.region_classes(assembly, SIZE)
    background = classes == REGIONS.index("background")
    assert (foreground[background] == 0).all()
    assert (foreground[~background & (classes != NOT_SCORED)] == 255).all()


def test_a_plain_background_is_one_colour_and_a_gradient_is_many() -> None:
    assembly = ASSEMBLIES[0]
    ends = dict(assembly.colors)
    plain = Assembly(
        assembly.style, assembly.template, tuple(sorted({**ends, "background2": ends["background"]}.items()))
    )
    soft = Assembly(
        assembly.style,
        assembly.template,
        tuple(sorted({**ends, "background": "#ffffff", "background2": "#204060"}.items())),
    )
    behind = pixels("background", assembly)
    assert (assembled.render(plain, SIZE)[behind] == rgb(ends["background"])).all()
    assert len(np.unique(assembled.render(soft, SIZE)[behind], axis=0)) > 50


def test_eyes_and_hair_can_be_coloured_in_enough_drawings() -> None:
    shown = [assembled.shown_regions(assembled.coloring(template, 0, 0)) for template in TEMPLATES]
    assert sum("hair" in regions for regions in shown) > 160
    assert sum("clothes" in regions for regions in shown) == 100
    assert sum("eyes" in regions for regions in shown) > 20
    assert all({"skin", "background"} <= regions for regions in shown)


def test_a_colouring_depends_on_seed_template_and_index_alone() -> None:
    first, second = TEMPLATES[:2]
    assert assembled.coloring(first, 3, 7) == assembled.coloring(first, 3, 7)
    others = [assembled.coloring(first, 4, 7), assembled.coloring(first, 3, 8), assembled.coloring(second, 3, 7)]
    assert all(other.colors != assembled.coloring(first, 3, 7).colors for other in others)


def test_no_colour_comes_near_the_ink_and_the_range_is_wide() -> None:
    drawn = [draw_colors(generator(0, ordinal, "palette")) for ordinal in range(300)]
    brightest = [max(rgb(color)) for colors in drawn for color in colors.values()]
    assert min(brightest) >= 28
    assert len({nearest_name(colors["hair"]) for colors in drawn}) >= 12
    assert 0.3 < np.mean([colors["background"] == colors["background2"] for colors in drawn]) < 0.5


def test_json_goes_there_and_back_and_equal_assemblies_have_equal_text() -> None:
    for assembly in ASSEMBLIES:
        assert assembled.from_json(assembled.to_json(assembly)) == assembly
    shuffled = json.dumps(dict(reversed(json.loads(assembled.to_json(ASSEMBLIES[0])).items())))
    assert assembled.to_json(assembled.from_json(shuffled)) == assembled.to_json(ASSEMBLIES[0])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"style":"a","template":"b","colors":{"hair":"red"}}'])
def test_what_is_no_assembly_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="not an assembly"):
        assembled.from_json(text)


def test_an_unknown_template_says_what_to_do() -> None:
    lost = Assembly("adventurer", "0123456789", ASSEMBLIES[0].colors)
    with pytest.raises(DataError, match="build it again"):
        assembled.render(lost, SIZE)


def test_a_drawing_of_ones_own_can_stand_in_place_of_a_template_id() -> None:
    own = assembled.Template("mine", "own", (), '<svg viewBox="0 0 4 4" xmlns="http://www.w3.org/2000/svg">'
        '<rect id="background" width="4" height="4" fill="{background}"/><path d="M0 0h2v4h-2z" fill="{hair}"/>'
        '<path d="M0 3h4v1h-4z" fill="#000000"/></svg>')  # fmt: skip
    assembly = assembled.coloring(own, 0, 0)
    colors = dict(assembly.colors)
    picture = assembled.render(assembly, 8)
    assert (picture[:6, :4] == rgb(colors["hair"])).all()
    assert (picture[6:] == 0).all()
    np.testing.assert_array_equal(assembled.line_art(assembly, 8), np.repeat([255] * 6 + [0] * 2, 8).reshape(8, 8))
