"""Assembled drawings in other colours, and other drawings in their colours as references: what is right stays known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dataprep.pictures import assembled
from dataprep.pictures.assembled import Assembly
from dataprep.pictures.decode import encode_png
from dataprep.randomness import generator
from dataprep.samples.sample import Sample, evaluation_sample, training_sample
from dataprep.samples.sample_settings import SampleSettings
from dataprep.samples.values import from_model_image

SIDE = 96
PLAIN = SampleSettings(width=SIDE, height=SIDE, rescale_max=1.0, sketch_crop_max=0.0, reference_size=64)
RECOLORED = replace(PLAIN, recolored=1.0)
PALETTE = replace(PLAIN, palette_references=1.0)


def assembly(number: int) -> Assembly:
    template = list(assembled.shipped_templates().values())[number]
    return assembled.coloring(template, 0, seed=3)


def row_of(drawing: Assembly) -> dict[str, Any]:
    return {
        "id": "row-1",
        "color": encode_png(assembled.render(drawing, SIDE)),
        "sketch_drawn": encode_png(assembled.line_art(drawing, SIDE)),
        "assembly": assembled.to_json(drawing),
    }


FIRST, OTHER = assembly(0), assembly(150)
ROW, SECOND = row_of(FIRST), row_of(OTHER)


def sample(settings: SampleSettings, ordinal: int = 0, **row: Any) -> Sample:
    return training_sample(ROW | row, settings, generator(5, ordinal, "augment"), second=SECOND)


def region_colors(picture: np.ndarray, drawing: Assembly, side: int) -> dict[str, list[int]]:
    """The colour of each flat region that the drawing shows, as a picture of it has it."""
    classes = assembled.region_classes(drawing, side)
    flat = assembled.shown_regions(drawing) - {"background"}  # a gradient
    return {
        name: np.median(picture[classes == assembled.REGIONS.index(name)], axis=0).astype(int).tolist() for name in flat
    }


def test_a_palette_reference_is_the_other_drawing_in_this_ones_colours() -> None:
    made = sample(PALETTE)
    wanted = assembled.render(assembled.recolored(OTHER, FIRST), 64)
    np.testing.assert_array_equal(from_model_image(made.reference), wanted)
    np.testing.assert_array_equal(from_model_image(made.color), assembled.render(FIRST, SIDE))


def test_the_mask_of_a_palette_reference_is_that_of_the_other_drawing() -> None:
    pictures = ("reference", "reference_mask", "mask")
    mask = encode_png(assembled.mask(FIRST, SIDE))
    made = sample(replace(PALETTE, pictures=pictures), mask=mask)
    np.testing.assert_array_equal(np.rint(made.pictures["reference_mask"][0] * 255), assembled.mask(OTHER, 64))
    own = sample(replace(PLAIN, pictures=pictures, reference_size=SIDE), mask=mask)
    np.testing.assert_array_equal(np.rint(own.pictures["reference_mask"][0] * 255), assembled.mask(FIRST, SIDE))


def test_a_recolored_drawing_and_its_own_reference_have_the_same_new_colours() -> None:
    made, again, other = sample(RECOLORED), sample(RECOLORED), sample(RECOLORED, ordinal=1)
    np.testing.assert_array_equal(made.color, again.color)
    assert not np.array_equal(made.color, sample(PLAIN).color)
    assert not np.array_equal(made.color, other.color)
    np.testing.assert_array_equal(made.sketch, sample(PLAIN).sketch)
    small = assembled.region_classes(FIRST, 64)
    shown, reference = region_colors(from_model_image(made.color), FIRST, SIDE), from_model_image(made.reference)
    for name, color in shown.items():
        inside = reference[small == assembled.REGIONS.index(name)]
        assert np.abs(np.median(inside, axis=0) - color).max() <= 4, name


def test_with_both_the_palette_reference_has_the_new_colours() -> None:
    made = sample(replace(PALETTE, recolored=1.0))
    shown = region_colors(from_model_image(made.color), FIRST, SIDE)
    reference = region_colors(from_model_image(made.reference), OTHER, 64)
    common = shown.keys() & reference.keys()
    assert common
    for name in common:
        assert np.abs(np.subtract(shown[name], reference[name])).max() <= 1, name


def test_another_drawing_is_no_reference_for_what_it_does_not_show() -> None:
    """`adventurer` wears no clothes, `open-peeps` does: of these two, one can stand for the other's colours only."""
    bare, dressed = FIRST, OTHER
    assert assembled.shown_regions(dressed) - assembled.shown_regions(bare) == {"clothes"}
    made = training_sample(SECOND, PALETTE, generator(5, 0, "augment"), second=ROW)
    own = training_sample(SECOND, PLAIN, generator(5, 0, "augment"), second=ROW)
    np.testing.assert_array_equal(made.reference, own.reference)
    assert not np.array_equal(sample(PALETTE).reference, sample(PLAIN).reference)


def test_a_share_is_a_share_of_the_samples() -> None:
    own = from_model_image(sample(PLAIN).reference)
    half = replace(PLAIN, palette_references=0.5)
    count = sum(np.array_equal(from_model_image(sample(half, n).reference), own) for n in range(60))
    assert 18 <= count <= 42


def test_pictures_that_are_not_assembled_keep_colours_and_reference() -> None:
    both = replace(PALETTE, recolored=1.0)
    np.testing.assert_array_equal(sample(both, assembly=None).color, sample(PLAIN).color)
    np.testing.assert_array_equal(sample(both, assembly=None).reference, sample(PLAIN).reference)
    alone = training_sample(ROW, PALETTE, generator(5, 0, "augment"), second=SECOND | {"assembly": None})
    np.testing.assert_array_equal(alone.reference, sample(PLAIN).reference)


def test_evaluation_shows_the_row_as_it_is() -> None:
    both = replace(PALETTE, recolored=1.0)
    found, plain = (evaluation_sample(ROW, settings, "drawn", second=SECOND) for settings in (both, PLAIN))
    np.testing.assert_array_equal(found.color, plain.color)
    np.testing.assert_array_equal(found.reference, plain.reference)


def test_other_samples_draw_what_they_always_drew() -> None:
    """The first eight numbers, and not one more."""
    rng, other = generator(5, 0, "augment"), generator(5, 0, "augment")
    training_sample(ROW, PLAIN, rng, second=SECOND)
    other.random(8)
    assert rng.random() == other.random()


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValueError, match="recolored must be in"):
        replace(PLAIN, recolored=1.5)
    with pytest.raises(ValueError, match="palette_references takes the place of a second row"):
        replace(PALETTE, pictures=("sketch", "color", "second_reference"))
