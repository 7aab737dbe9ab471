"""Resolution and colour profile of a picture's file: read from what tools write, applied, and written into PNG."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dataprep.pictures.decode import decode, encode_png
from dataprep.pictures.print_facts import PrintFacts, from_srgb, print_facts, to_srgb, with_print_facts
from tests.color_profiles import SRGB, exchanged_profile

PIXELS = np.random.default_rng(0).integers(40, 216, (12, 10, 3)).astype(np.uint8)


def encoded(kind: str = "PNG", mode: str = "RGB", **more: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(file, kind, **more)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_the_resolution_of_a_scan_is_read_and_comes_back_from_a_png(kind: str) -> None:
    facts = print_facts(encoded(kind, dpi=(300, 600)))
    assert facts.dpi == pytest.approx((300, 600), rel=1e-3)
    with Image.open(io.BytesIO(with_print_facts(encode_png(PIXELS), facts))) as image:
        assert image.info["dpi"] == pytest.approx((300, 600), rel=1e-3)
        np.testing.assert_array_equal(np.asarray(image), PIXELS)


def test_a_profile_is_read_applied_and_comes_back_from_a_png() -> None:
    profile = exchanged_profile()
    facts = print_facts(encoded(icc_profile=profile))
    assert facts.profile == profile
    seen = to_srgb(PIXELS, profile)
    assert np.abs(seen.astype(int) - PIXELS[..., [1, 0, 2]]).max() <= 2
    assert np.abs(from_srgb(seen, profile).astype(int) - PIXELS).max() <= 2
    png = with_print_facts(encode_png(PIXELS), facts)
    with Image.open(io.BytesIO(png)) as image:
        assert image.info["icc_profile"] == profile
    np.testing.assert_array_equal(decode(png).rgb, PIXELS)


@pytest.mark.parametrize(
    "data",
    [
        encoded(icc_profile=SRGB),
        encoded(icc_profile=b"\0" * 16 + b"RGB " + b"\0" * 200),
        encoded(icc_profile=b"none"),
        encoded(mode="L", icc_profile=exchanged_profile()),
        encoded("PNG", dpi=(0, 0)),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"no picture",
        encoded()[:20],
    ],
    ids=["srgb", "damaged", "short", "grey", "no dots", "svg", "none", "cut"],
)
def test_what_states_nothing_that_can_be_used_has_no_facts(data: bytes) -> None:
    assert print_facts(data) == PrintFacts()
    np.testing.assert_array_equal(to_srgb(PIXELS, None), PIXELS)
    assert with_print_facts(encode_png(PIXELS), PrintFacts()) == encode_png(PIXELS)
