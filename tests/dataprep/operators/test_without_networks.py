"""What each column holds."""

import cv2
import numpy as np
import pytest

from dataprep.errors import DataError
from dataprep.lines.region_map import trapped_ball
from dataprep.lines.xdog import XDoGSettings, draw_sigma, xdog
from dataprep.operators.row_input import RowInput
from dataprep.pictures.decode import decode, decode_png, encode_png
from dataprep.plan.columns import operators
from dataprep.plan.corpus_recipe import CorpusRecipe
from tests.corpus_pictures import picture

PLAIN = CorpusRecipe()


def row_of(data: bytes, **more: object) -> RowInput:
    return RowInput(id="ab" * 32, data=data, picture=decode(data), **more)  # type: ignore[arg-type]


def compute(column: str, row: RowInput, recipe: CorpusRecipe = PLAIN) -> bytes | None:
    return next(operator for operator in operators(recipe) if operator.column == column).value(row)


def encoded(rgba: np.ndarray) -> bytes:
    return cv2.imencode(".png", rgba)[1].tobytes()


def test_plain_rgb_sources_are_stored_as_they_are() -> None:
    data = encode_png(picture(1))
    assert compute("color", row_of(data)) == data


def test_other_sources_are_stored_as_the_rgb_over_white() -> None:
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[10:30, 10:30] = (0, 0, 255, 255)  # OpenCV's order: red
    stored = compute("color", row_of(encoded(rgba)))
    assert stored is not None
    shown = decode_png(stored)
    assert shown[0, 0].tolist() == [255, 255, 255]
    assert shown[20, 20].tolist() == [255, 0, 0]


def test_the_mask_is_the_alpha_white_is_foreground_and_opaque_pictures_have_none() -> None:
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[10:30, 10:30, 3] = 255
    mask = compute("mask", row_of(encoded(rgba)))
    assert mask is not None
    np.testing.assert_array_equal(decode_png(mask), rgba[..., 3])
    assert compute("mask", row_of(encode_png(picture(1)))) is None


def test_a_source_that_knows_its_mask_is_believed() -> None:
    known = encode_png(np.full((48, 64), 7, np.uint8))
    assert compute("mask", row_of(encode_png(picture(1)), mask=known)) == known


def test_the_xdog_sketch_has_the_sigma_drawn_for_its_row() -> None:
    row = row_of(encode_png(picture(2)))
    sketch = compute("sketch_xdog", row)
    assert sketch is not None
    gray = cv2.cvtColor(picture(2), cv2.COLOR_RGB2GRAY).astype(np.uint8)
    expected = xdog(gray, XDoGSettings(sigma=draw_sigma(row.id, PLAIN.seed)))
    np.testing.assert_array_equal(decode_png(sketch), expected)


def test_a_drawn_sketch_is_gray_at_the_size_of_its_picture() -> None:
    lines = np.full((96, 128, 3), 255, np.uint8)
    lines[40:44] = 0
    sketch = compute("sketch_drawn", row_of(encode_png(picture(3)), drawn_sketch=encode_png(lines)))
    assert sketch is not None
    shown = decode_png(sketch)
    assert shown.shape == (48, 64)
    assert (shown[20:22] == 0).all()
    assert (shown[0] == 255).all()


def test_a_picture_without_drawn_sketch_has_none() -> None:
    assert compute("sketch_drawn", row_of(encode_png(picture(3)))) is None


def test_a_sketch_of_another_shape_is_refused() -> None:
    square = encode_png(np.zeros((48, 48), np.uint8))
    with pytest.raises(DataError, match="48x48, the picture 64x48"):
        compute("sketch_drawn", row_of(encode_png(picture(3)), drawn_sketch=square))


def test_regions_come_from_the_drawn_sketch_where_there_is_one() -> None:
    box = np.full((48, 64), 255, np.uint8)
    cv2.rectangle(box, (10, 10), (50, 40), 0, 1)
    blank = encode_png(np.full((48, 64), 255, np.uint8))
    for columns, source in (
        ({"sketch_drawn": encode_png(box), "sketch_xdog": blank}, box),
        ({"sketch_drawn": None, "sketch_xdog": encode_png(box)}, box),
    ):
        regions = compute("region_map", row_of(encode_png(picture(3)), columns=columns))
        assert regions is not None
        shown = decode_png(regions)
        assert shown.dtype == np.uint16
        np.testing.assert_array_equal(shown, trapped_ball(source, PLAIN.regions))
