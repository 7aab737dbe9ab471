"""What a picture's file states beside its pixels: resolution in print and colour profile, read, applied and written.

A drawing for print is 300 dots an inch in its tool's colour space; a result without both opens at another size and in
other colours. Profiles are those of RGB pictures, applied by LittleCMS (ICC.1:2022), relative colorimetric with black
point compensation; of grey and CMYK pictures they are not read, since their pixels become RGB by other rules here.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, UnidentifiedImageError

from dataprep.pictures.decode import FORMATS
from dataprep.pictures.png_chunks import behind_header, png_chunk

Bytes = npt.NDArray[np.uint8]
MOST_PROFILE = 4 << 20  # bytes; those of printers have tables of 2 MB
METRE = 0.0254  # of an inch
_MOST_DENSITY = (1 << 31) - 1  # dots a metre, of PNG's pHYs
_RULE = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION


@dataclass(frozen=True)
class PrintFacts:
    """dpi: dots an inch, (across, down), or None. profile: the ICC profile of RGB pixels, None for sRGB or unknown."""

    dpi: tuple[float, float] | None = None
    profile: bytes | None = None


def print_facts(data: bytes) -> PrintFacts:
    """What the header of an encoded picture states; nothing where it states nothing that can be used, as of an SVG.

    Of a picture from elsewhere `dataprep.pictures.guarded.print_facts` asks, for the headers of some kinds are slow.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            dpi, profile = image.info.get("dpi"), image.info.get("icc_profile")
            is_rgb = image.mode in ("RGB", "RGBA", "P")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        return PrintFacts()
    return PrintFacts(_usable_dpi(dpi), _usable_profile(profile) if is_rgb else None)


def to_srgb(rgb: Bytes, profile: bytes | None) -> Bytes:
    """uint8 (H, W, 3) in the colours of `profile` -> in those of sRGB; None leaves them."""
    return rgb if profile is None else _converted(rgb, _opened(profile), _srgb())


def from_srgb(rgb: Bytes, profile: bytes | None) -> Bytes:
    """The inverse of `to_srgb`; colours that the profile cannot show become the nearest that it can."""
    return rgb if profile is None else _converted(rgb, _srgb(), _opened(profile))


def with_print_facts(png: bytes, facts: PrintFacts) -> bytes:
    """The PNG with `facts` in it; its pixels are untouched. ISO/IEC 15948, 11.3.3.3 (iCCP) and 11.3.5.3 (pHYs)."""
    return behind_header(png, b"".join(_chunks(facts)))


def _chunks(facts: PrintFacts) -> Iterator[bytes]:
    if facts.profile is not None:
        yield png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(facts.profile))
    if facts.dpi is not None:
        yield png_chunk(b"pHYs", struct.pack(">IIB", *(round(dots / METRE) for dots in facts.dpi), 1))


def _usable_dpi(dpi: object) -> tuple[float, float] | None:
    """Two positive numbers that a PNG can hold."""
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    across, down = (float(dots) for dots in dpi)
    return (across, down) if all(1 <= dots / METRE <= _MOST_DENSITY for dots in (across, down)) else None


def _usable_profile(profile: object) -> bytes | None:
    """A profile of RGB that LittleCMS understands; None for one of sRGB, which is what no profile means too."""
    if not isinstance(profile, bytes) or not 128 <= len(profile) <= MOST_PROFILE or profile[16:20] != b"RGB ":
        return None
    try:
        name = ImageCms.getProfileDescription(_opened(profile))
        to_srgb(np.zeros((1, 1, 3), np.uint8), profile)
    except (ImageCms.PyCMSError, OSError):
        return None
    return None if "srgb" in name.lower() else profile


def _opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _converted(rgb: Bytes, before: ImageCms.ImageCmsProfile, after: ImageCms.ImageCmsProfile) -> Bytes:
    image = ImageCms.profileToProfile(Image.fromarray(rgb), before, after, renderingIntent=_RULE, flags=_FLAGS)
    return np.asarray(image, np.uint8)
