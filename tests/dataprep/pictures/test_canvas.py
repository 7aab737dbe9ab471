"""Pictures on a square: numpy's own reflection is the measure of what is padded."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from dataprep.corpus.schema import SCAN_SCHEMA
from dataprep.faults import Fault
from dataprep.lines.xdog import XDoGSettings, xdog
from dataprep.operators.operator import fingerprint
from dataprep.operators.row_input import RowInput
from dataprep.pictures.canvas import CanvasSettings, placed
from dataprep.pictures.decode import Picture, decode, decode_png, encode_png
from dataprep.pictures.resize import resize_color
from dataprep.plan.columns import operators
from dataprep.plan.corpus_recipe import CorpusRecipe
from dataprep.plan.row_plan import make_plan
from tests.corpus_pictures import picture

RASC = CanvasSettings(size=256)
WHITE = replace(RASC, padding="white")
RECIPE = CorpusRecipe(canvas=RASC)


def plain(rgb: np.ndarray) -> Picture:
    return Picture(rgb, None, source_is_plain_rgb=True)


def row_of(rgb: np.ndarray, settings: CanvasSettings = RASC, **more: Any) -> RowInput:
    data = encode_png(rgb)
    shown, placement = placed(decode(data), settings)
    return RowInput("ab" * 32, data, shown, placement=placement, **more)


def compute(column: str, row: RowInput, recipe: CorpusRecipe = RECIPE) -> Any:
    value = next(operator for operator in operators(recipe) if operator.column == column).value(row)
    return None if value is None else decode_png(value)


@pytest.mark.parametrize(("height", "width"), [(300, 512), (512, 301), (90, 90), (40, 160), (1000, 333), (333, 1000)])
def test_the_longer_side_fills_the_square_and_the_rest_is_the_mirror_image(height: int, width: int) -> None:
    rgb = picture(1, height, width)
    shown, _ = placed(plain(rgb), RASC)
    inner = max(1, round(width * 256 / max(height, width))), max(1, round(height * 256 / max(height, width)))
    down, right = 256 - inner[1], 256 - inner[0]
    sides = ((down // 2, down - down // 2), (right // 2, right - right // 2), (0, 0))
    np.testing.assert_array_equal(shown.rgb, np.pad(resize_color(rgb, *inner), sides, mode="reflect"))
    assert not shown.source_is_plain_rgb


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (5, 3), (64, 300)])
def test_pictures_of_any_size_are_placed(size: tuple[int, int]) -> None:
    rgb = np.full((*size, 3), 77, np.uint8)
    shown, placement = placed(replace(plain(rgb), alpha=np.full(size, 9, np.uint8)), RASC)
    assert shown.alpha is not None
    assert placement is not None
    assert (shown.rgb == 77).all()
    assert (shown.alpha == 9).all()
    assert shown.rgb.shape == (256, 256, 3)
    assert placement.source == size


def test_an_odd_pixel_of_padding_lies_below_and_to_the_right() -> None:
    """85 of 256 pixels are picture: 85 lie before it and 86 behind, in colours, lines and masks alike."""
    for height, width in ((333, 1000), (1000, 333)):
        black = np.zeros((height, width, 3), np.uint8)
        shown, placement = placed(replace(plain(black), alpha=np.full((height, width), 255, np.uint8)), WHITE)
        assert shown.alpha is not None
        assert placement is not None
        axis = int(width > height)
        for inside in (shown.rgb[..., 0] == 0, shown.alpha > 0, placement.sketch(black[..., 0]) == 0):
            across = np.flatnonzero(inside.any(axis))
            assert (across[0], across[-1]) == (85, 169)


def test_the_extent_of_a_picture_decoded_smaller_is_not_that_of_the_canvas() -> None:
    """A picture may fill 100.5 of its 101 pixels, but it is placed on the whole canvas: nothing of that is cut off."""
    shown, _ = placed(replace(plain(picture(1, 101, 101)), extent=(100.5, 100.5)), RASC)
    assert shown.extent is None
    np.testing.assert_array_equal(resize_color(shown.rgb, 64, 64, shown.extent), resize_color(shown.rgb, 64, 64))


def test_white_padding_is_paper_around_pictures_and_lines_and_background_around_masks() -> None:
    rgb = np.zeros((64, 128, 3), np.uint8)
    shown, placement = placed(replace(plain(rgb), alpha=np.full((64, 128), 200, np.uint8)), WHITE)
    assert shown.alpha is not None
    assert placement is not None
    outside = np.r_[0:64, 192:256]
    assert (shown.rgb[outside] == 255).all()
    assert (shown.rgb[64:192] == 0).all()
    assert (shown.alpha[outside] == 0).all()
    assert (shown.alpha[64:192] == 200).all()
    assert (placement.sketch(rgb[..., 0])[outside] == 255).all()


def test_a_picture_of_the_size_of_the_canvas_is_stored_as_it_came() -> None:
    rgb = picture(2, 256, 256)
    row = row_of(rgb)
    assert next(operator for operator in operators(RECIPE) if operator.column == "color").value(row) == row.data


def test_without_a_canvas_nothing_is_touched() -> None:
    given = plain(picture(2))
    assert placed(given, CanvasSettings()) == (given, None)


def test_every_column_of_a_row_has_the_size_of_the_canvas_and_shows_the_same_place() -> None:
    rgb = np.full((120, 200, 3), 240, np.uint8)
    box = np.s_[30:90, 50:150]
    rgb[box] = (200, 30, 30)
    lines, mask = np.full((60, 100), 255, np.uint8), np.zeros((240, 400), np.uint8)  # of other sizes than the picture
    cv2.rectangle(lines, (25, 15), (74, 44), 0, 1)
    mask[60:180, 100:300] = 255
    row = row_of(rgb, drawn_sketch=encode_png(lines), mask=encode_png(mask))
    made = {column: compute(column, row) for column in ("color", "sketch_drawn", "sketch_xdog", "mask")}
    assert {array.shape[:2] for array in made.values()} == {(256, 256)}
    # 200 x 120 becomes 256 x 154, 51 pixels below the upper border: the box spans rows 89 to 166, columns 64 to 191.
    red = made["color"][..., 1] < 100
    within = np.s_[95:160, 70:186]
    assert red[within].all()
    assert (made["mask"][within] == 255).all()
    assert (made["sketch_drawn"][within] == 255).all()
    edge = np.flatnonzero(made["sketch_drawn"][51:205].min(0) < 128)
    assert (edge[0], edge[-1]) == (pytest.approx(64, abs=2), pytest.approx(191, abs=2))
    # Above the picture stands its mirror image.
    np.testing.assert_array_equal(made["mask"][:51], made["mask"][52:103][::-1])


def test_the_regions_of_a_row_are_those_of_its_sketch_on_the_canvas() -> None:
    row = row_of(picture(5, 90, 140))
    sketch = next(operator for operator in operators(RECIPE) if operator.column == "sketch_xdog").value(row)
    assert isinstance(sketch, bytes)
    regions = compute("region_map", replace(row, columns={"sketch_xdog": sketch, "sketch_drawn": None}))
    assert regions.shape == (256, 256)
    assert (regions[decode_png(sketch) <= 220] == 0).all()


def test_lines_of_a_mirrored_picture_are_the_mirrored_lines() -> None:
    """So it does not matter that the paper pads its sketches and we the pictures they are drawn from."""
    rgb = picture(7, 300, 512)
    settings = XDoGSettings(sigma=0.5)
    inner = resize_color(rgb, 256, 150)
    padded = placed(plain(rgb), RASC)[0].rgb
    ours, lines = (xdog(np.asarray(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), np.uint8), settings) for p in (padded, inner))
    theirs = np.pad(lines, ((53, 53), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(ours[56:200], theirs[56:200])
    assert (ours != theirs).mean() < 0.002  # beside the seam a Gaussian sees the mirror, or the repeated border


def test_a_sketch_of_another_shape_is_refused_by_the_shape_of_the_source() -> None:
    row = row_of(picture(3, 100, 200), drawn_sketch=encode_png(np.zeros((64, 64), np.uint8)))
    with pytest.raises(Fault, match="64x64, the picture 200x100"):
        compute("sketch_drawn", row)


def test_a_canvas_renews_every_column_and_none_leaves_the_fingerprints_as_they_were() -> None:
    marks = [
        {operator.column: fingerprint(operator) for operator in operators(recipe)}
        for recipe in (CorpusRecipe(), RECIPE, CorpusRecipe(canvas=CanvasSettings(size=128)))
    ]
    for column in marks[0]:
        assert len({mark[column] for mark in marks}) == 3
    assert marks[0]["color"] == "5a25f726be78"


def test_rows_of_a_plan_have_the_size_of_the_canvas_and_its_bucket() -> None:
    fields = dict.fromkeys(SCAN_SCHEMA.names)
    hashes = [f"{number:064x}" for number in (1, 2)]
    seen = [
        fields | {"id": name, "pixel_hash": name, "phash": 0xFFF << number * 16, "uri": name}
        for number, name in enumerate(hashes)
    ]
    seen[0] |= {"width": 900, "height": 300}
    seen[1] |= {"width": 200, "height": 500}
    records = pa.Table.from_pylist(seen, pa.schema([field.with_nullable(True) for field in SCAN_SCHEMA]))
    rows = make_plan(records, RECIPE).rows
    assert rows["width"].to_pylist() == rows["height"].to_pylist() == [256, 256]
    assert set(rows["bucket"].to_pylist()) == {"768x768"}
    assert set(make_plan(records, CorpusRecipe()).rows["width"].to_pylist()) == {900, 200}


def test_impossible_sizes_are_refused() -> None:
    for size in (-1, 8193):
        with pytest.raises(ValueError, match="size"):
            CanvasSettings(size=size)
