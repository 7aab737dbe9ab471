"""Decoding under limits: the same pictures as without, and what is slow or greedy costs itself and nothing else."""

import io
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dataprep.limits import LimitSettings
from dataprep.pictures import decode as unguarded
from dataprep.pictures import guarded
from dataprep.pictures.decode import UnreadablePicture
from dataprep.pictures.print_facts import PrintFacts, print_facts
from tests.color_profiles import exchanged_profile
from tests.corpus_pictures import picture
from tests.faults import Survived

RGB = picture(0)
RGBA = np.dstack([RGB, RGB[..., 0]])
NS = "xmlns='http://www.w3.org/2000/svg'"
DRAWING = f"<svg {NS} width='30' height='20'><rect width='20' height='10' fill='#a03'/><text>a</text></svg>".encode()
SHORT = LimitSettings(seconds_per_picture=0.5)


def encoded(array: np.ndarray, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, kind, **options)
    return out.getvalue()


def slow_drawing(side: int = 2000) -> bytes:
    """A drawing of 400 bytes that takes minutes: clouds upon clouds."""
    clouds = "<feTurbulence baseFrequency='0.05' numOctaves='200'/>" * 4
    area = f"width='{side}' height='{side}'"
    return f"<svg {NS} {area}><filter id='f'>{clouds}</filter><rect {area} filter='url(#f)'/></svg>".encode()


GUARDED = {
    "drawing": DRAWING,
    "tiff": encoded(RGBA, "TIFF", save_all=True, append_images=[Image.new("L", (3, 3))]),
    "avif": encoded(RGB, "AVIF"),
    "jpeg 2000": encoded(RGB, "JPEG2000"),
    "a jpeg with much behind it": encoded(RGB, "JPEG") + bytes(guarded.MOST_BYTES_HERE),
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_ordinary_pictures_are_decoded_here(kind: str) -> None:
    assert guarded.is_bounded(encoded(RGB, kind))


@pytest.mark.parametrize("name", GUARDED)
def test_a_helper_gives_what_decoding_here_gives(name: str) -> None:
    data = GUARDED[name]
    assert not guarded.is_bounded(data)
    for there, here in (
        (guarded.decode(data), unguarded.decode(data)),
        (guarded.decode_at_least(data, 8, 8), unguarded.decode_at_least(data, 8, 8)),
    ):
        np.testing.assert_array_equal(there.rgb, here.rgb)
        np.testing.assert_equal(there.alpha, here.alpha)
        plain = replace(here, rgb=there.rgb, alpha=there.alpha)
        for field in ("source_is_plain_rgb", "extent", "notes", "lossless"):
            assert getattr(there, field) == getattr(plain, field)
    np.testing.assert_array_equal(guarded.decode_rgba(data), unguarded.decode_rgba(data))
    assert guarded.measure(data) == unguarded.measure(data)


@pytest.mark.parametrize("order", [b"II*\0", b"MM\0*", b"II\0*", b"MM*\0"])
def test_tiff_goes_to_the_helper_by_every_first_bytes_that_pillow_takes(order: bytes) -> None:
    assert not guarded.is_bounded(order + GUARDED["tiff"][4:])


@pytest.mark.parametrize("profile", [None, exchanged_profile()])
def test_a_helper_states_of_a_scan_what_reading_here_states(profile: bytes | None) -> None:
    data = encoded(RGB, "TIFF", dpi=(300, 600), icc_profile=profile)
    assert not guarded.is_bounded(data)
    found = guarded.print_facts(data)
    assert found == print_facts(data) == PrintFacts((300, 600), profile)
    assert guarded.print_facts(GUARDED["avif"]) == PrintFacts()


def test_a_header_past_the_limits_states_nothing() -> None:
    """Half a million entries of a TIFF's directory are read one by one before its size is known."""
    huge = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 500_000)
    entry = struct.pack("<HHQQ", 65000, 1, 1, 0)
    data = huge + entry * 500_000
    started = time.monotonic()
    assert guarded.print_facts(data, LimitSettings(seconds_per_picture=0.05)) == PrintFacts()
    assert time.monotonic() - started < 5


def test_a_picture_that_is_refused_has_the_same_words() -> None:
    for data in (DRAWING.replace(b"<rect", b"<image href='file:///etc/hostname'/><rect"), GUARDED["avif"][:200]):
        with pytest.raises(UnreadablePicture) as here:
            unguarded.decode(data)
        with pytest.raises(UnreadablePicture) as there:
            guarded.decode(data)
        assert str(there.value) == str(here.value)
    with pytest.raises(UnreadablePicture, match="more than the 100 allowed"):
        guarded.decode(GUARDED["tiff"], max_pixels=100)


@pytest.mark.seconds
def test_a_picture_that_hangs_costs_itself_and_its_limit(survived: Survived) -> None:
    guarded.decode(DRAWING, limits=SHORT)  # starting the helper counts for nobody
    started = time.monotonic()
    with pytest.raises(UnreadablePicture, match=r"took more than 0\.5 s"):
        guarded.decode(slow_drawing(), limits=SHORT)
    assert time.monotonic() - started < 5
    after = [guarded.decode(DRAWING, limits=SHORT) for _ in range(3)]
    lost = sum(not np.array_equal(one.rgb, unguarded.decode(DRAWING).rgb) for one in after)
    survived("picture that hangs", work="decoding", lost=lost, doubled=0)
    assert lost == 0


@pytest.mark.seconds
def test_a_picture_that_wants_all_memory_costs_itself(survived: Survived) -> None:
    few = LimitSettings(memory_bytes=64 << 20)
    large = DRAWING.replace(b"width='30' height='20'", b"width='8000' height='8000'")
    with pytest.raises(UnreadablePicture, match="GiB of memory"):
        guarded.decode(large, limits=few)
    lost = int(not np.array_equal(guarded.decode(DRAWING, limits=few).rgb, unguarded.decode(DRAWING).rgb))
    survived("picture that wants all memory", work="decoding", lost=lost, doubled=0)
    assert lost == 0


def test_threads_take_turns_and_each_gets_its_own_picture() -> None:
    drawings = [DRAWING.replace(b"#a03", f"#{number:03x}".encode()) for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(guarded.decode, drawings))
    for drawing, one in zip(drawings, found, strict=True):
        np.testing.assert_array_equal(one.rgb, unguarded.decode(drawing).rgb)


def test_markup_of_a_template_is_checked_before_it_is_drawn() -> None:
    plain = f"<svg {NS} width='9' height='9'><rect width='4' height='4'/></svg>"
    assert guarded.rasterize(plain)[..., 3].sum() == 16 * 255
    with pytest.raises(UnreadablePicture, match="never loaded"):
        guarded.rasterize(plain.replace("<rect", "<image href='/etc/hostname' width='4' height='4'/><rect"))


def test_a_progressive_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded() -> None:
    data = encoded(np.full((2048, 2048), 128, np.uint8), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    unguarded.decode(data[:-2] + last * 20 + data[-2:])
    with pytest.raises(UnreadablePicture, match="scans"):
        unguarded.decode(data[:-2] + last * 5000 + data[-2:])
