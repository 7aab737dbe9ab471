"""What a stage may ask of a sample beside v1's sketch, colour and reference."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from dataprep.errors import DataError
from dataprep.pictures.decode import encode_png
from dataprep.pictures.resize import resize_color, resize_mask
from dataprep.randomness import generator
from dataprep.samples.deformation import DeformationSettings
from dataprep.samples.polarity import from_model_sketch, model_sketch
from dataprep.samples.sample import Sample, evaluation_sample, training_sample
from dataprep.samples.sample_settings import REFERENCES, V1_PICTURES, WINDOWED, ReferenceCrop, SampleSettings, dtype_of
from dataprep.samples.values import from_model_image, model_image

Row = dict[str, Any]
V1 = SampleSettings(width=64, height=48, reference_size=40)
EVERYTHING = (*V1_PICTURES, *WINDOWED, *REFERENCES, "reference@24", "reference@window", "second_reference@window")
ALL = replace(V1, pictures=tuple(dict.fromkeys(EVERYTHING)), tags=True)


def make_row(height: int = 100, width: int = 120, name: str = "row-1") -> Row:
    """Red counts the columns, green the rows; the sketch is red's negative, the mask red, a region two columns."""
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    color = np.stack([across, down, np.full_like(across, 90)], axis=-1).astype(np.uint8)
    return {
        "id": name,
        "color": encode_png(color),
        "sketch_xdog": encode_png(255 - color[..., 0]),
        "mask": encode_png(color[..., 0]),
        "region_map": encode_png((1 + across // 2).astype(np.uint16)),
        "tags": ["1girl", "hat"],
    }


def second_row() -> Row:
    """A picture all of one colour, its mask white."""
    gray = np.full((70, 90), 200, np.uint8)
    return {"id": "row-2", "color": encode_png(np.dstack([gray] * 3)), "mask": encode_png(np.full_like(gray, 255))}


def drawn(settings: SampleSettings, ordinal: int = 0, row: Row | None = None, second: Row | None = None) -> Sample:
    return training_sample(row or make_row(), settings, generator(5, ordinal, "augment"), second=second or second_row())


def test_what_v1_asks_for_takes_eight_numbers_and_no_more() -> None:
    rng, other = generator(5, 0, "augment"), generator(5, 0, "augment")
    training_sample(make_row(), V1, rng)
    other.random(8)
    assert rng.random() == other.random()


@pytest.mark.parametrize("crop", ["whole", "joint", "separate"])
def test_asking_for_more_changes_nothing_of_what_v1_asks_for(crop: ReferenceCrop) -> None:
    for ordinal in range(10):
        few, many = drawn(V1, ordinal), drawn(replace(ALL, reference_crop=crop), ordinal)
        assert few.style == many.style
        np.testing.assert_array_equal(few.sketch, many.sketch)
        np.testing.assert_array_equal(few.color, many.color)
        if crop == "whole":
            np.testing.assert_array_equal(few.reference, many.reference)


def test_asking_for_one_picture_moves_no_number_of_another() -> None:
    alone = replace(V1, pictures=("deformed_reference",), reference_crop="separate")
    both = replace(alone, pictures=("second_reference", "deformed_reference", "mask"))
    for name in alone.pictures:
        np.testing.assert_array_equal(drawn(alone, 7).pictures[name], drawn(both, 7).pictures[name])


@pytest.mark.parametrize("crop", ["whole", "joint", "separate"])
def test_every_picture_has_the_shape_and_type_that_the_settings_say(crop: ReferenceCrop) -> None:
    settings = replace(ALL, reference_crop=crop)
    row, second = make_row(), second_row()
    for sample in (drawn(settings), evaluation_sample(row, settings, "xdog", second=second)):
        assert tuple(sample.pictures) == settings.pictures
        for name, picture in sample.pictures.items():
            assert picture.shape == settings.shape_of(name), name
            assert picture.dtype == dtype_of(name), name
            assert picture.flags.c_contiguous, name


def test_the_same_numbers_make_the_same_sample() -> None:
    settings = replace(ALL, reference_crop="separate")
    left, right, other = drawn(settings, 3), drawn(settings, 3), drawn(settings, 4)
    for name in settings.pictures:
        np.testing.assert_array_equal(left.pictures[name], right.pictures[name])
    assert not np.array_equal(left.pictures["deformed_reference"], other.pictures["deformed_reference"])


def test_scoring_bends_a_reference_the_same_way_every_time() -> None:
    row, settings = make_row(), replace(V1, pictures=("deformed_reference",))
    bent = [evaluation_sample(row, settings, "").pictures["deformed_reference"] for row in (row, row, make_row())]
    np.testing.assert_array_equal(bent[0], bent[1])
    np.testing.assert_array_equal(bent[0], bent[2])


def test_mask_and_regions_are_cut_with_the_colour() -> None:
    settings = replace(ALL, sketch_crop_max=0.0)
    for ordinal in range(20):
        sample = drawn(settings, ordinal, make_row(40, 60))
        red = (sample.color[0] + 1) * 127.5
        assert np.abs(sample.pictures["mask"][0] * 255 - red).max() < 5
        assert np.abs(2 * (sample.pictures["region_map"][0] - 1) + 0.5 - red).max() < 3.5


def test_a_region_map_keeps_its_labels() -> None:
    labels = np.zeros((40, 60), np.uint16)
    labels[10:30, 20:40], labels[30:, :] = 60_000, 7
    sample = drawn(ALL, 2, make_row(40, 60) | {"region_map": encode_png(labels)})
    assert set(np.unique(sample.pictures["region_map"])) <= {0, 7, 60_000}


def test_masks_are_foreground_one_and_background_zero() -> None:
    mask = np.zeros((100, 120), np.uint8)
    mask[:, 60:] = 255
    pictures = drawn(ALL, 0, make_row() | {"mask": encode_png(mask)}).pictures
    np.testing.assert_array_equal(pictures["reference_mask"][0, :, :19], 0)
    np.testing.assert_array_equal(pictures["reference_mask"][0, :, 21:], 1)
    assert pictures["second_reference_mask"].min() == 1


def test_references_are_the_whole_picture_squashed_to_every_size() -> None:
    row, pictures = make_row(), drawn(ALL).pictures
    color = np.asarray(cv2.imdecode(np.frombuffer(row["color"], np.uint8), cv2.IMREAD_COLOR_RGB))
    for name, size in {"reference": (40, 40), "reference@24": (24, 24), "reference@window": (64, 48)}.items():
        np.testing.assert_array_equal(pictures[name], model_image(resize_color(color, *size)))
    mask = np.asarray(cv2.imdecode(np.frombuffer(row["mask"], np.uint8), cv2.IMREAD_UNCHANGED))
    np.testing.assert_allclose(pictures["reference_mask"][0], resize_mask(mask, 40, 40) / 255, atol=1e-6)


def test_a_joint_reference_shows_the_window_of_the_colour() -> None:
    settings = replace(ALL, reference_crop="joint")
    for ordinal in range(5):
        pictures = drawn(settings, ordinal).pictures
        np.testing.assert_array_equal(pictures["reference@window"], pictures["color"])
        squashed = resize_color(from_model_image(pictures["color"]), 40, 40)
        np.testing.assert_array_equal(pictures["reference"], model_image(squashed))


def test_a_separate_reference_shows_a_window_of_its_own() -> None:
    settings = replace(ALL, reference_crop="separate")
    corners = []
    for ordinal in range(100):
        pictures = drawn(settings, ordinal, make_row(48, 84)).pictures
        corners.append([pictures[name][0, 0, 0] for name in ("color", "reference@window")])
        scaled = (pictures["reference_mask"][0] * 2 - 1) - pictures["reference"][0]
        assert np.abs(scaled).max() < 0.05  # the mask shows the same part: it is the red channel
    assert abs(np.corrcoef(np.transpose(corners))[0, 1]) < 0.4
    assert np.std(corners, axis=0).min() > 0.02


def test_a_deformed_reference_is_the_same_picture_bent_at_every_size() -> None:
    names = ("deformed_reference@40", "deformed_reference@160", "reference@40")
    row = make_row(200, 200)
    small, large, straight = (
        drawn(replace(V1, pictures=names, deformation=DeformationSettings()), 1, row).pictures[name] for name in names
    )
    shrunk = np.stack([cv2.resize(plane, (40, 40), interpolation=cv2.INTER_AREA) for plane in large])
    assert np.abs(shrunk - small).mean() < 0.01
    assert np.abs(small - straight).mean() > 0.02


def test_without_any_deformation_the_deformed_reference_is_the_reference() -> None:
    settings = replace(V1, pictures=("reference", "deformed_reference"), deformation=DeformationSettings(bend=0.0))
    pictures = drawn(settings, row=make_row(40, 40)).pictures
    np.testing.assert_allclose(pictures["reference"], pictures["deformed_reference"], atol=1e-6)


def test_the_second_reference_is_of_the_second_row() -> None:
    pictures = drawn(ALL).pictures
    np.testing.assert_allclose(pictures["second_reference"], 200 / 127.5 - 1, atol=1e-6)
    with pytest.raises(ValueError, match="second row"):
        training_sample(make_row(), ALL, generator(0, 0, "augment"))


def test_tags_come_with_the_sample_where_they_are_asked_for() -> None:
    assert drawn(ALL).tags == ("1girl", "hat")
    assert drawn(V1).tags == ()
    with pytest.raises(DataError, match="row-1 has no tags"):
        drawn(ALL, row=make_row() | {"tags": None})


def test_a_stage_without_sketches_needs_none() -> None:
    settings = replace(V1, pictures=("color",))
    assert settings.columns() == ("color",)
    sample = drawn(settings, row=make_row() | {"sketch_xdog": None})
    assert sample.style == ""
    np.testing.assert_array_equal(sample.color, drawn(V1).color)


@pytest.mark.parametrize("column", ["mask", "region_map"])
def test_a_row_without_a_column_that_is_asked_for_is_named(column: str) -> None:
    with pytest.raises(DataError, match=f"row-1 has no {column}"):
        drawn(ALL, row=make_row() | {column: None})


def test_a_second_row_that_lacks_something_is_named() -> None:
    with pytest.raises(DataError, match="row-2 has no mask"):
        drawn(ALL, second=second_row() | {"mask": None})


def test_the_columns_follow_from_the_pictures() -> None:
    assert V1.columns() == ("color", "sketch_drawn", "sketch_xdog")
    assert ALL.columns() == ("color", "sketch_drawn", "sketch_xdog", "mask", "region_map")
    assert replace(V1, pictures=("reference_mask",)).columns() == ("color", "mask")
    assert not V1.needs_second()
    assert ALL.needs_second()


@pytest.mark.parametrize(
    ("name", "message"),
    [("depth", "kinds"), ("color@64", "window"), ("reference@0", "side"), ("reference@", "side"), ("@8", "kinds")],
)
def test_names_of_pictures_that_cannot_be_made_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(V1, pictures=(name,))


def test_an_unknown_crop_is_refused() -> None:
    with pytest.raises(ValueError, match="reference_crop"):
        replace(V1, reference_crop="half")  # type: ignore[arg-type]


def test_a_sketch_survives_the_way_to_the_model_and_back() -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(from_model_sketch(model_sketch(gray)), gray)
    assert from_model_sketch(np.full((3, 1, 1), 9, np.float32)) == 0
