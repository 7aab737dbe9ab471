from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from dataprep.errors import DataError
from dataprep.pictures.decode import decode, decode_at_least
from dataprep.pictures.resize import resize_color
from dataprep.randomness import generator
from dataprep.samples.sample import (
    SampleSettings,
    evaluation_sample,
    from_model_image,
    model_image,
    model_sketch,
    reference_picture,
    resize_sketch,
    training_sample,
)

SETTINGS = SampleSettings(width=64, height=48, reference_size=40)
PLAIN = replace(SETTINGS, rescale_max=1.0, sketch_crop_max=0.0)


def encoded(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)[1].tobytes()


def ramp(height: int, width: int) -> np.ndarray:
    """Red counts the columns, green the rows: the colour of a pixel says where it came from."""
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([across, down, np.full_like(across, 90)], axis=-1).astype(np.uint8)


def make_row(height: int = 100, width: int = 120, drawn: bool = False) -> dict[str, Any]:
    color = ramp(height, width)
    return {
        "id": "row-1",
        "color": encoded(color),
        "sketch_xdog": encoded(255 - color[..., 0]),
        "sketch_drawn": encoded(color[..., 0]) if drawn else None,
    }


def test_a_sample_is_the_same_whatever_was_drawn_before() -> None:
    row = make_row()
    alone = training_sample(row, SETTINGS, generator(5, 40, "augment"))
    for ordinal in (3, 17, 39):
        training_sample(row, SETTINGS, generator(5, ordinal, "augment"))
    after = training_sample(row, SETTINGS, generator(5, 40, "augment"))
    other = training_sample(row, SETTINGS, generator(5, 41, "augment"))
    for name in ("sketch", "color", "reference"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(after, name))
    assert not np.array_equal(alone.color, other.color)


def test_shapes_types_and_ranges() -> None:
    sample = training_sample(make_row(), SETTINGS, generator(0, 0, "augment"))
    assert (sample.sketch.shape, sample.color.shape, sample.reference.shape) == ((3, 48, 64), (3, 48, 64), (3, 40, 40))
    for tensor in (sample.sketch, sample.color, sample.reference):
        assert tensor.dtype == np.float32
        assert tensor.flags.c_contiguous
        assert tensor.min() >= -1
        assert tensor.max() <= 1


def test_sketch_and_color_are_cropped_together() -> None:
    """The sketch of this row is the negative of its red channel, and polarity turns that into the channel itself."""
    settings = replace(SETTINGS, sketch_crop_max=0.0)
    for ordinal in range(30):
        sample = training_sample(make_row(40, 60), settings, generator(1, ordinal, "augment"))
        assert np.abs(sample.sketch[0] - sample.color[0]).max() < 0.05


def test_windows_move_over_the_whole_picture_and_scales_span_one_to_the_maximum() -> None:
    row, starts, scales = make_row(48, 64), [], []
    for ordinal in range(300):
        rgb = from_model_image(training_sample(row, SETTINGS, generator(2, ordinal, "augment")).color).astype(float)
        scales.append(64 / (rgb[24, -1, 0] - rgb[24, 0, 0] + 1))
        starts.append((rgb[24, 0, 0], rgb[0, 32, 1]))
    assert 0.99 < min(scales) < 1.03
    assert 1.25 < max(scales) < 1.36
    assert np.min(starts) == 0
    assert np.max(starts, axis=0)[0] >= 12
    assert np.max(starts, axis=0)[1] >= 9


def test_every_place_of_the_window_occurs_and_none_is_preferred() -> None:
    row, counts = make_row(48, 84), np.zeros(21, int)
    for ordinal in range(1000):
        counts[from_model_image(training_sample(row, PLAIN, generator(6, ordinal, "augment")).color)[0, 0, 0]] += 1
    assert counts.sum() == 1000
    assert abs(counts - 1000 / 21).max() < 4 * np.sqrt(1000 / 21)


def test_the_reference_is_the_whole_picture_squashed() -> None:
    row = make_row()
    sample = training_sample(row, SETTINGS, generator(3, 0, "augment"))
    np.testing.assert_array_equal(from_model_image(sample.reference), resize_color(ramp(100, 120), 40, 40))
    np.testing.assert_array_equal(sample.reference, evaluation_sample(row, SETTINGS, "xdog").reference)


def test_a_pipeline_is_handed_the_whole_reference_of_at_most_1536_pixels_a_side() -> None:
    rgb = ramp(100, 120)
    np.testing.assert_array_equal(reference_picture(rgb), model_image(rgb))
    large = np.repeat(np.repeat(rgb, 20, 0), 20, 1)
    shrunk = reference_picture(large)
    assert shrunk.shape == (3, 1280, 1536)
    np.testing.assert_allclose(shrunk.mean((1, 2)), model_image(large).mean((1, 2)), atol=1e-3)


def test_border_crop_blanks_sides_of_the_sketch_only_and_independently() -> None:
    row, settings = make_row(48, 64), replace(SETTINGS, rescale_max=1.0, width=64, height=48)
    row["sketch_xdog"] = encoded(np.zeros((48, 64), np.uint8))
    sides = []
    for ordinal in range(200):
        sample = training_sample(row, settings, generator(4, ordinal, "augment"))
        np.testing.assert_array_equal(from_model_image(sample.color), ramp(48, 64))
        inside = sample.sketch[0] == 1
        assert set(np.unique(sample.sketch)) <= {-1.0, 1.0}
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        assert inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        sides.append((rows[0] / 48, 1 - (rows[-1] + 1) / 48, columns[0] / 64, 1 - (columns[-1] + 1) / 64))
    shares = np.array(sides)
    assert shares.max() <= 0.15 + 0.5 / 48
    np.testing.assert_allclose(shares.mean(0), 0.075, atol=4 * 0.15 / np.sqrt(12 * 200))
    assert np.abs(np.corrcoef(shares.T) - np.eye(4)).max() < 4 / np.sqrt(200)


def test_the_style_is_drawn_evenly_from_those_the_row_has() -> None:
    both = [training_sample(make_row(drawn=True), SETTINGS, generator(5, n, "augment")).style for n in range(200)]
    assert 70 < both.count("drawn") < 130
    only = {training_sample(make_row(), SETTINGS, generator(5, n, "augment")).style for n in range(20)}
    assert only == {"xdog"}


@pytest.mark.parametrize("missing", ["color", "sketch_xdog"])
def test_a_damaged_or_missing_picture_is_told(missing: str) -> None:
    with pytest.raises(DataError, match=r"row-1 has no (color|sketch)"):
        training_sample(make_row() | {missing: None}, SETTINGS, generator(0, 0, "augment"))
    with pytest.raises(DataError):
        training_sample(make_row() | {missing: make_row()[missing][:60]}, SETTINGS, generator(0, 0, "augment"))


def test_a_large_jpeg_is_decoded_smaller_and_gives_nearly_the_same_sample() -> None:
    rng = np.random.default_rng(0)
    color = cv2.resize(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8), (603, 501), interpolation=cv2.INTER_CUBIC)
    jpeg = cv2.imencode(".jpg", color[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    sketch = encoded(color[..., 0])
    rows = [{"id": "row-1", "color": data, "sketch_xdog": sketch} for data in (jpeg, encoded(decode(jpeg).rgb))]
    assert decode_at_least(jpeg, 84, 64).rgb.shape[0] < 501 / 2
    for ordinal in range(5):
        ours, whole = (training_sample(row, SETTINGS, generator(1, ordinal, "augment")) for row in rows)
        assert np.abs(ours.color - whole.color).mean() < 0.02
        assert np.abs(ours.reference - whole.reference).mean() < 0.02
        np.testing.assert_array_equal(ours.sketch, whole.sketch)


def test_a_row_without_any_wanted_sketch_is_named() -> None:
    row = make_row()
    with pytest.raises(DataError, match="row-1"):
        training_sample(row, replace(SETTINGS, styles=("drawn",)), generator(0, 0, "augment"))
    with pytest.raises(DataError, match="drawn"):
        evaluation_sample(row, SETTINGS, "drawn")


def test_evaluation_takes_the_centre() -> None:
    sample = evaluation_sample(make_row(48, 84), SETTINGS, "xdog")
    np.testing.assert_array_equal(from_model_image(sample.color), ramp(48, 84)[:, 10:74])


def test_training_without_augmentation_equals_evaluation() -> None:
    row = make_row(48, 64)
    left, right = training_sample(row, PLAIN, generator(0, 0, "augment")), evaluation_sample(row, PLAIN, "xdog")
    np.testing.assert_array_equal(left.sketch, right.sketch)
    np.testing.assert_array_equal(left.color, right.color)


def test_polarity_is_lines_plus_one_on_background_minus_one() -> None:
    sketch = model_sketch(np.array([[0, 255]], np.uint8))
    np.testing.assert_array_equal(sketch, np.broadcast_to(np.array([[1, -1]], np.float32), (3, 1, 2)))


def test_every_level_survives_the_way_to_the_model_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    np.testing.assert_array_equal(from_model_image(model_image(levels)), levels)
    assert from_model_image(np.array([[[-7]], [[0]], [[7]]], np.float32)).tolist() == [[[0, 128, 255]]]


def test_thin_lines_keep_more_ink_than_averaging_leaves_and_paper_stays_white() -> None:
    sketch = np.full((256, 256), 255, np.uint8)
    sketch[:, 130] = 0
    small = resize_sketch(sketch, 64, 64)
    assert 255 - small[:, 32].astype(int) == pytest.approx(255 / 2, abs=1)  # 255 / 4 of ink, times sqrt(4)
    assert (np.delete(small, 32, axis=1) == 255).all()
    np.testing.assert_array_equal(resize_sketch(sketch, 256, 256), sketch)


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"rescale_max": 0.9}, {"sketch_crop_max": 0.5}, {"sketch_crop_max": -0.1}, {"styles": ()}]
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SampleSettings(**wrong)


def test_three_samples_of_ten_are_simplified_where_three_rows_of_ten_have_that_sketch() -> None:
    """Thesis 3.2: 30 % of the sketches; drawn among three styles it would be a tenth."""
    settings = replace(PLAIN, styles=("keras", "anime2sketch", "simplified"))
    row = make_row()
    plain = {"keras": row["sketch_xdog"], "anime2sketch": row["sketch_xdog"]}
    rows = [
        row | {f"sketch_{style}": value for style, value in (plain | {"simplified": reworked}).items()}
        for reworked in (*[row["sketch_xdog"]] * 3, *[None] * 7)
    ]

    def shown(asked: SampleSettings) -> list[str]:
        return [
            training_sample(rows[number % 10], asked, generator(1, number, "augment")).style for number in range(600)
        ]

    instead, among = shown(replace(settings, simplified="instead")), shown(settings)
    assert instead.count("simplified") == 180
    assert instead.count("keras") == pytest.approx(210, abs=45)
    assert among.count("simplified") == pytest.approx(60, abs=25)
    without = shown(replace(settings, styles=("keras", "anime2sketch"), simplified="instead"))
    assert set(without) == {"keras", "anime2sketch"}


def test_a_squashed_sample_shows_the_whole_picture() -> None:
    """A row of another shape: its left and right edges are cut by the one and shown by the other."""
    row = make_row(48, 96)
    cut, whole = (evaluation_sample(row, SETTINGS, "xdog", squashed=squashed) for squashed in (False, True))
    assert cut.color.shape == whole.color.shape == (3, SETTINGS.height, SETTINGS.width)
    squashed = resize_color(decode(row["color"]).rgb, SETTINGS.width, SETTINGS.height)
    np.testing.assert_array_equal(whole.color, model_image(squashed))
    assert np.abs(cut.color - whole.color).max() > 0.1
