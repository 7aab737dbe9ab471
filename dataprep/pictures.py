"""Encoded picture to pixels, for input that nobody has vouched for.

What the bytes are decides, never a file name. Headers are read first and a picture of absurd size is refused before
anything is decoded. Transparent pixels are laid over white (so that line art on nothing does not turn black) and the
alpha is kept beside them; EXIF orientation is applied; of an animation the first frame is taken. Every failure is one
`UnreadablePicture` that says why: the reason under which the picture appears among the rejects.
"""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from dataprep import svg
from dataprep.errors import DataError

MAX_PIXELS = 1 << 26  # 8192 x 8192; 192 MiB as RGB
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # Pillow's names; SVG besides

# What Pillow's decoders raise on damaged data, beside its own errors (OSError).
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, TypeError, IndexError, KeyError, OverflowError)
_DAMAGE_BELOW = (struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning)


class UnreadablePicture(DataError):
    """The bytes are no picture that we read, are damaged, or are refused; the message is the reason."""


@dataclass(frozen=True, eq=False)
class Picture:
    """rgb: uint8 (H, W, 3) over white. alpha: uint8 (H, W), 255 = opaque, or None where everything is opaque.

    source_is_plain_rgb: the encoded bytes give exactly `rgb` in any reader (8-bit RGB, upright, one frame), so that
    they can be stored as they are.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None
    source_is_plain_rgb: bool


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode PNG, JPEG, WebP, BMP, GIF or SVG of at most `max_pixels`; raises UnreadablePicture."""
    if not data:
        raise UnreadablePicture("the file is empty")
    if svg.looks_like_svg(data):
        return _decode_svg(data, max_pixels)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise UnreadablePicture(f"{image.width}x{image.height} pixels, more than the {max_pixels} allowed")
            return _upright(image)
    except UnidentifiedImageError as error:
        raise UnreadablePicture("not a PNG, JPEG, WebP, BMP, GIF or SVG picture") from error
    except (*_DAMAGE, *_DAMAGE_BELOW) as error:
        raise UnreadablePicture(f"damaged picture: {_one_line(error)}") from error


def over_white(rgba: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """uint8 (H, W, 4) with straight alpha -> (rgb over white, alpha or None where all of it is 255)."""
    alpha = rgba[..., 3]
    if (alpha == 255).all():
        return np.ascontiguousarray(rgba[..., :3]), None
    weight = alpha[..., None].astype(np.uint16)
    mixed = rgba[..., :3] * weight + np.uint16(255) * (255 - weight)
    return ((mixed.astype(np.uint32) * 2 + 255) // 510).astype(np.uint8), alpha.copy()


def encode_png(array: np.ndarray) -> bytes:
    """PNG of uint8 (H, W), uint8 (H, W, 3) or uint16 (H, W); lossless, the same bytes every time."""
    if array.dtype not in (np.uint8, np.uint16) or (array.ndim, *array.shape[2:]) not in ((2,), (3, 3)):
        raise ValueError(f"no PNG of {array.dtype} {array.shape}: want uint8 HxW, uint8 HxWx3 or uint16 HxW")
    if array.dtype == np.uint16 and array.ndim == 3:
        raise ValueError("16-bit PNG is written for single-channel maps only")
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(out, "PNG")
    return out.getvalue()


def decode_png(data: bytes) -> np.ndarray:
    """The array that `encode_png` was given; raises UnreadablePicture for anything else."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            array = np.asarray(image)
    except (*_DAMAGE, *_DAMAGE_BELOW) as error:
        raise UnreadablePicture(f"damaged PNG: {_one_line(error)}") from error
    if array.dtype == np.int32:  # a 16-bit PNG as some readers give it
        array = array.astype(np.uint16)
    if array.dtype not in (np.uint8, np.uint16) or (array.ndim, *array.shape[2:]) not in ((2,), (3, 3)):
        raise UnreadablePicture(f"a PNG of {array.dtype} {array.shape} is none of ours")
    return array


def _decode_svg(data: bytes, max_pixels: int) -> Picture:
    try:
        rgb, alpha = over_white(svg.rasterize(svg.measure(data, max_pixels)[0]))
    except ValueError as error:  # SvgRefused, and what resvg says about markup that it cannot draw
        raise UnreadablePicture(_one_line(error)) from error
    return Picture(rgb, alpha, source_is_plain_rgb=False)


def _upright(image: Image.Image) -> Picture:
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
    single = getattr(image, "n_frames", 1) == 1
    plain = image.mode == "RGB" and "transparency" not in image.info and not turned and single
    image.seek(0)
    image.load()
    upright = ImageOps.exif_transpose(image) if turned else image
    if upright.mode == "RGB" and "transparency" not in upright.info:
        return Picture(np.asarray(upright), None, plain)
    rgb, alpha = over_white(_rgba(upright))
    return Picture(rgb, alpha, source_is_plain_rgb=False)


def _rgba(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit gray, which Pillow itself would clip at 255
        gray = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        narrow = ((gray + 128) // 257).astype(np.uint8)
        return np.stack([narrow, narrow, narrow, np.full_like(narrow, 255)], axis=-1)
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        image = image.convert("RGB")
    return np.asarray(image.convert("RGBA"))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
