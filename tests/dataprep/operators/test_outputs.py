"""What an operator may give, and how each other thing is called."""

import cv2
import numpy as np
import pytest

from dataprep.faults import Fault
from dataprep.operators.outputs import finished
from dataprep.pictures.decode import decode_png, encode_png

SIZE = (12, 20)
GRAY = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
FLOATS = GRAY / 255.0
LABELS = GRAY.astype(np.int64) * 200


def spoilt(value: float) -> np.ndarray:
    array = FLOATS.astype(np.float32)
    array[3, 4] = value
    return array


@pytest.mark.parametrize(
    ("value", "gives", "stored"),
    [
        (GRAY, "sketch", GRAY),
        (GRAY > 99, "mask", None),
        (FLOATS, "mask", GRAY),
        (FLOATS.astype(np.float16), "mask", GRAY),
        (np.dstack([GRAY] * 3), "picture", np.dstack([GRAY] * 3)),
        (LABELS, "map", LABELS.astype(np.uint16)),
        (encode_png(GRAY), "sketch", GRAY),
        (cv2.imencode(".png", LABELS.astype(np.uint16))[1].tobytes(), "map", LABELS.astype(np.uint16)),
    ],
)
def test_an_array_or_a_png_of_the_declared_kind_is_stored(value: object, gives: str, stored: np.ndarray | None) -> None:
    if stored is None:
        with pytest.raises(Fault, match="bool"):
            finished(value, gives, SIZE)
        return
    data = finished(value, gives, SIZE)
    assert data is not None
    np.testing.assert_array_equal(decode_png(data), stored)
    assert decode_png(data).dtype == stored.dtype


def test_none_is_a_value() -> None:
    assert finished(None, "mask", SIZE) is None


WHOLE = encode_png(GRAY)
FLIPPED = WHOLE[:60] + bytes([WHOLE[60] ^ 1]) + WHOLE[61:]


@pytest.mark.parametrize(
    ("value", "gives", "reason"),
    [
        (spoilt(np.nan), "mask", "not-finite"),
        (spoilt(np.inf), "mask", "not-finite"),
        (spoilt(-np.inf), "sketch", "not-finite"),
        (spoilt(1.5), "mask", "bad-output"),
        (spoilt(-0.5), "mask", "bad-output"),
        (GRAY.T.copy(), "mask", "wrong-size"),
        (encode_png(GRAY[:-1]), "mask", "wrong-size"),
        (FLOATS, "map", "bad-output"),
        (LABELS * 100, "map", "bad-output"),
        (LABELS - 1, "map", "bad-output"),
        (np.dstack([GRAY] * 3), "mask", "bad-output"),
        (GRAY, "picture", "bad-output"),
        (encode_png(GRAY), "map", "bad-output"),
        (encode_png(GRAY), "picture", "bad-output"),
        (GRAY.astype(complex), "mask", "bad-output"),
        ("text", "mask", "bad-output"),
        (GRAY.tolist(), "mask", "bad-output"),
        (b"", "mask", "bad-output"),
        (b"not a picture", "mask", "bad-output"),
        (cv2.imencode(".jpg", GRAY)[1].tobytes(), "mask", "bad-output"),
        (FLIPPED, "sketch", "bad-output"),
    ],
)
def test_what_is_not_as_declared_is_a_failure_with_its_reason(value: object, gives: str, reason: str) -> None:
    with pytest.raises(Fault) as caught:
        finished(value, gives, SIZE)
    assert caught.value.reason == reason


@pytest.mark.parametrize("length", [8, 20, 33, 50, len(WHOLE) - 12, len(WHOLE) - 1])
def test_a_png_that_ends_early_is_bad_wherever_it_ends(length: int) -> None:
    with pytest.raises(Fault, match=r"no PNG|cut short"):
        finished(WHOLE[:length], "sketch", SIZE)
