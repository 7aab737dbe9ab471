"""Encoded picture to pixels, for input that nobody has checked.

What the bytes are decides, never a file name. Headers are read first and a picture of absurd size is refused before
anything is decoded. Transparent pixels are laid over white (so that line art on nothing does not turn black) and the
alpha is kept beside them, but for an alpha that hides a whole picture: its colours are taken, as viewers do. EXIF
orientation is applied; of an animation the first frame is taken, of a document the first page. What cannot be read
beside the pixels is left out and recorded. Every other failure is one `UnreadablePicture` that says why: the reason
under which the picture appears among the rejects.

Pillow reads every header but those of Photoshop and of drawings. Upright 8-bit JPEG and PNG are then decoded by OpenCV,
which gives the same pixels in half to nine tenths of the time; everything else, and whatever OpenCV refuses, is decoded
or refused by Pillow.

Nothing here bounds time: a caller that no process stands in for takes `dataprep.pictures.guarded`.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageChops, UnidentifiedImageError

from dataprep.errors import DataError
from dataprep.pictures import psd, svg
from dataprep.pictures.ancillary import without_unreadable
from dataprep.pictures.names import NAMES
from dataprep.pictures.no_pictures import looks_like_html, what_it_is
from dataprep.pictures.resize import Fit, fitted_size, resize_color

MAX_PIXELS = 1 << 26  # 8192 x 8192; 192 MiB as RGB
MOST_SCANS = 100  # of a progressive JPEG of MAX_PIXELS, of smaller ones more: each goes over the whole picture
EVERYWHERE = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # Pillow's names; what anybody reads, and so is stored as it is
FORMATS = (*EVERYWHERE, "TIFF", "AVIF", "JPEG2000")  # PSD and SVG besides
WHOLE = (1 << 31, 1 << 31)  # a size that no smaller decoding covers
RESIZE_GAP = 4 / 3  # how much larger than wanted a picture is decoded: shrinking it by less would blur it twice

DIVISORS = (8, 4, 2, 1)  # of the sides of a JPEG
UPRIGHT, TRANSPOSED = 1, (5, 6, 7, 8)  # EXIF orientations; the latter swap width and height
_TURNS = {  # EXIF orientation -> what makes the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS, _PLANAR = 258, 284  # TIFF tags
START_OF_SCAN, END_OF_IMAGE = b"\xda", 0xD9  # JPEG markers, after their 0xFF
_IGNORE_EXIF = cv2.IMREAD_IGNORE_ORIENTATION
_READ_RGB = {  # by what the sides are divided
    1: cv2.IMREAD_COLOR_RGB | _IGNORE_EXIF,
    2: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_2 | _IGNORE_EXIF,
    4: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_4 | _IGNORE_EXIF,
    8: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_8 | _IGNORE_EXIF,
}

# What Pillow's decoders raise on damaged data, beside its own errors (OSError).
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError, RuntimeError)
_DAMAGE_BELOW = (struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning)

# By bytes a value and dimensions. At 512 x 512, beside the default of Pillow (level 6, all filters): line art is 16 %
# smaller in a seventh of the time, a region map 13 % smaller in a third, and RGB 4 % larger in half.
_LEVEL, _STRATEGY, _FILTER = cv2.IMWRITE_PNG_COMPRESSION, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_FILTER
_PNG_OPTIONS = {
    (1, 2): [_LEVEL, 3, _STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE, _FILTER, cv2.IMWRITE_PNG_FILTER_NONE],
    (2, 2): [_LEVEL, 4, _STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT, _FILTER, cv2.IMWRITE_PNG_FILTER_NONE],
    (1, 3): [_LEVEL, 4, _STRATEGY, cv2.IMWRITE_PNG_STRATEGY_FILTERED, _FILTER, cv2.IMWRITE_PNG_ALL_FILTERS],
}


# What Pillow says of metadata goes into a picture's notes, or is of no account; nobody could act on a line of Python.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class UnreadablePicture(DataError):
    """The bytes are no picture that we read, are damaged, or are refused; the message is the reason."""


@dataclass(frozen=True, eq=False)
class Picture:
    """rgb: uint8 (H, W, 3) over white. alpha: uint8 (H, W), 255 = opaque, or None where everything is opaque.

    source_is_plain_rgb: the encoded bytes give exactly `rgb` in any reader (8-bit RGB, upright, one frame), so that
    they can be stored as they are.
    extent: (width, height) of the source in pixels of `rgb` where `decode_at_least` made it smaller, else None. Sides
    are rounded up, so the last column and row may stand for less than a pixel; `resize_color` wants to know.
    notes: what was left out to take the picture, sorted (dataprep.pictures.ancillary.NOTES).
    lossless: the file keeps every colour that it was given: no JPEG, and no GIF with its 256 colours.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None
    source_is_plain_rgb: bool
    extent: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    lossless: bool = True


@dataclass(frozen=True, eq=False)
class _Decoded:
    """pixels: uint8 RGB or RGBA with straight alpha, upright; `extent` as it lies in the file."""

    pixels: np.ndarray
    plain: bool = False
    orientation: int = UPRIGHT
    extent: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    lossless: bool = True


Result = TypeVar("Result")


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a picture (NAMES) of at most `max_pixels`; raises UnreadablePicture."""
    return _picture(data, WHOLE, max_pixels)


def decode_at_least(data: bytes, width: int, height: int, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture, decoded at a half, a quarter or an eighth where that still covers width x height on both sides.

    Only JPEG can be decoded smaller (and faster): its transform of 8 x 8 pixels is cut to the low frequencies, which is
    much like averaging. Then `Picture.extent` is set. Raises UnreadablePicture.
    """
    if min(width, height) < 1:
        raise ValueError(f"width and height must be at least 1, got {width}x{height}")
    return _picture(data, (width, height), max_pixels)


def decode_resized(
    data: bytes, width: int, height: int, fit: Fit = "squash", max_pixels: int = MAX_PIXELS
) -> npt.NDArray[np.uint8]:
    """uint8 (H, W, 3) over white: the picture at exactly width x height ("squash"), or with its own aspect ratio just
    covering that size ("cover") or just fitting inside it ("contain"). Raises UnreadablePicture.
    """
    size = fitted_size(measure(data, max_pixels), width, height, fit)
    picture = decode_at_least(data, ceil(size[0] * RESIZE_GAP), ceil(size[1] * RESIZE_GAP), max_pixels)
    return resize_color(picture.rgb, *size, picture.extent)


def decode_rgba(data: bytes, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """uint8 (H, W, 4) with straight alpha: the colour of transparent pixels is kept. Raises UnreadablePicture."""
    pixels = _shown(_decoded(data, WHOLE, max_pixels)).pixels
    return pixels if pixels.shape[2] == 4 else cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA).astype(np.uint8, copy=False)


def measure(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(width, height) of what `decode` would give, for most formats from the header alone; raises UnreadablePicture."""
    if _is_svg(data):
        return _svg_size(data, max_pixels)
    if psd.looks_like_psd(data):
        return _psd_header(data, max_pixels)[:2]
    return _mended(data, lambda some: _measured(some, max_pixels))[0]


def over_white(rgba: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """uint8 (H, W, 4) with straight alpha -> (rgb over white, alpha or None where all of it is 255)."""
    alpha = rgba[..., 3]
    if (alpha == 255).all():
        return np.ascontiguousarray(rgba[..., :3]), None
    weight = alpha[..., None].astype(np.uint16)
    mixed = rgba[..., :3] * weight + np.uint16(255) * (255 - weight) + np.uint16(128)
    return ((mixed + (mixed >> 8)) >> 8).astype(np.uint8), alpha.copy()  # exactly the rounded quotient by 255


def encode_png(array: np.ndarray) -> bytes:
    """PNG of uint8 (H, W), (H, W, 3) or (H, W, 4), or of uint16 (H, W); lossless, the same bytes every time."""
    if array.dtype not in (np.uint8, np.uint16) or (array.ndim, *array.shape[2:]) not in ((2,), (3, 3), (3, 4)):
        raise ValueError(f"no PNG of {array.dtype} {array.shape}: want uint8 HxW, HxWx3 or HxWx4, or uint16 HxW")
    if array.dtype == np.uint16 and array.ndim == 3:
        raise ValueError("16-bit PNG is written for single-channel maps only")
    swapped = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    pixels = cv2.cvtColor(array, swapped[array.shape[2]]) if array.ndim == 3 else np.ascontiguousarray(array)
    return cv2.imencode(".png", pixels, _PNG_OPTIONS[array.dtype.itemsize, array.ndim])[1].tobytes()


def decode_png(data: bytes) -> np.ndarray:
    """The array that `encode_png` was given; raises UnreadablePicture for anything else."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or not _ends_with_pixels(data):
        raise UnreadablePicture("damaged PNG: it is cut short, or no PNG of ours")
    width, height, depth, colors = struct.unpack(">IIBB", data[16:26])
    if (depth, colors) not in ((8, 0), (8, 2), (16, 0)) or width * height > MAX_PIXELS:
        raise UnreadablePicture(
            f"a PNG of {width}x{height} pixels, {depth} bits and colour type {colors} is none of ours"
        )
    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise UnreadablePicture(f"damaged PNG: {_first_words(error)}") from error
    if array is None or array.shape != ((height, width, 3) if colors == 2 else (height, width)):
        raise UnreadablePicture("damaged PNG: its pixels cannot be read")
    return cv2.cvtColor(array, cv2.COLOR_BGR2RGB, dst=array) if colors == 2 else array


def _is_svg(data: bytes) -> bool:
    return svg.looks_like_svg(data) and not looks_like_html(data)


def _svg_size(data: bytes, max_pixels: int) -> tuple[int, int]:
    with _drawing():
        return svg.measure(data, max_pixels)[1:]


def _rasterized(data: bytes, max_pixels: int) -> _Decoded:
    with _drawing():
        markup = svg.measure(data, max_pixels)[0]
        pixels = svg.rasterize(markup)
        if not svg.has_text(markup):
            return _Decoded(pixels)
        if not pixels[..., 3].any() and svg.has_letters(markup):
            pixels = svg.rasterize_text(markup)
        if not pixels[..., 3].any():
            raise UnreadablePicture("a drawing of text alone, in letters that we have no font for; turn it into paths")
    return _Decoded(pixels, notes=("svg text",))


@contextmanager
def _drawing() -> Iterator[None]:
    """SvgRefused, and what resvg says about markup that it cannot draw, as an UnreadablePicture."""
    try:
        yield
    except ValueError as error:
        raise UnreadablePicture(_first_words(error)) from error


def _psd_header(data: bytes, max_pixels: int) -> tuple[int, int, psd.Header]:
    try:
        header = psd.read_header(data)
    except (ValueError, struct.error) as error:
        raise UnreadablePicture(_first_words(error)) from error
    if header.width * header.height > max_pixels:
        raise UnreadablePicture(_too_large(header.width, header.height, max_pixels))
    return header.width, header.height, header


def _merged(data: bytes, max_pixels: int) -> _Decoded:
    header = _psd_header(data, max_pixels)[2]
    try:
        return _Decoded(psd.merged_picture(data, header))
    except psd.NotRead as error:
        raise UnreadablePicture(str(error)) from error
    except (ValueError, *_DAMAGE_BELOW) as error:
        raise UnreadablePicture(f"damaged picture: {_first_words(error)}") from error


def _mended(data: bytes, work: Callable[[bytes], Result]) -> tuple[Result, tuple[str, ...]]:
    """`work` on the file, or where that is refused on the file without what is damaged beside its pixels."""
    try:
        return work(data), ()
    except UnreadablePicture as error:
        mended = without_unreadable(data)
        if mended is None:
            raise
        try:
            return work(mended.data), mended.notes
        except UnreadablePicture:
            raise error from None


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """The picture with its header read and its size checked; what goes wrong meanwhile is an UnreadablePicture."""
    if not data:
        raise UnreadablePicture("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise UnreadablePicture(_too_large(image.width, image.height, max_pixels))
            if image.info.get("progressive"):
                _refuse_many_scans(data, image.width * image.height)
            yield image
    except UnidentifiedImageError as error:
        raise UnreadablePicture(what_it_is(data) or f"not a picture of a kind that is read ({NAMES})") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadablePicture(f"more than the {max_pixels} pixels allowed") from error
    except (*_DAMAGE, *_DAMAGE_BELOW) as error:
        raise UnreadablePicture(f"damaged picture: {_first_words(error)}") from error


def _too_large(width: int, height: int, max_pixels: int) -> str:
    return f"{width}x{height} pixels, more than the {max_pixels} allowed"


def _refuse_many_scans(data: bytes, pixels: int) -> None:
    scans = data.count(b"\xff" + START_OF_SCAN)
    if scans * pixels > MOST_SCANS * MAX_PIXELS:
        raise UnreadablePicture(f"a JPEG of {pixels / 1e6:.1f} megapixels in {scans:,} scans: too much work")


def _picture(data: bytes, least: tuple[int, int], max_pixels: int) -> Picture:
    found = _shown(_decoded(data, least, max_pixels))
    rgb, alpha = (found.pixels, None) if found.pixels.shape[2] == 3 else over_white(found.pixels)
    extent = found.extent[::-1] if found.extent and found.orientation in TRANSPOSED else found.extent
    plain = found.plain and not found.notes
    return Picture(rgb, alpha, plain, extent, tuple(sorted(set(found.notes))), found.lossless)


def _decoded(data: bytes, least: tuple[int, int], max_pixels: int) -> _Decoded:
    if _is_svg(data):
        return _rasterized(data, max_pixels)
    if psd.looks_like_psd(data):
        return _merged(data, max_pixels)
    found, notes = _mended(data, lambda some: _raster(some, least, max_pixels))
    return replace(found, notes=(*found.notes, *notes)) if notes else found


def _raster(data: bytes, least: tuple[int, int], max_pixels: int) -> _Decoded:
    with _opened(data, max_pixels) as image:
        orientation, notes = _orientation(image, data)
        divisor = _divisor(image, orientation, least[::-1] if orientation in TRANSPOSED else least)
        # What holds for the whole picture, upright, holds for any reader of the bytes.
        plain = image.mode == "RGB" and image.format in EVERYWHERE and _is_simple(image, data)
        plain = plain and orientation == UPRIGHT and divisor == 1
        extent = None if divisor == 1 else (image.width / divisor, image.height / divisor)
        pixels = None
        if orientation == UPRIGHT and not notes:
            pixels = _decode_by_opencv(image, data, divisor)
        if pixels is None:
            pixels = _decode_by_pillow(image, orientation, divisor)
        if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
            notes = (*notes, "further pages")
        return _Decoded(pixels, plain, orientation, extent, notes, _is_lossless(image, data))


def _measured(data: bytes, max_pixels: int) -> tuple[int, int]:
    with _opened(data, max_pixels) as image:
        return image.size[::-1] if _orientation(image, data)[0] in TRANSPOSED else image.size


def _shown(found: _Decoded) -> _Decoded:
    """The colours alone where the alpha hides all of them, and they are a picture and no empty sheet."""
    if found.pixels.shape[2] == 3 or found.pixels[..., 3].any():
        return found
    colors = found.pixels[..., :3]
    if (colors == colors[:1, :1]).all():
        return found
    return replace(found, pixels=np.ascontiguousarray(colors), plain=False, notes=(*found.notes, "alpha"))


def _orientation(image: Image.Image, data: bytes) -> tuple[int, tuple[str, ...]]:
    """The EXIF orientation, 1 to 8, or 0 where it is none of these; upright, and a note, where EXIF is unreadable."""
    if image.format == "TIFF":
        return UPRIGHT, ()  # Pillow turns it, as its own header says
    # A PNG may state it behind its pixels, where Pillow looks for it only by decoding them.
    at_once = image.format != "PNG" or _ends_with_pixels(data)
    if not at_once:
        image.load()
    try:
        exif = Image.Image.getexif(image)
        if not exif and "exif" in image.info:
            Image.Exif().load(image.info["exif"])  # of a JPEG Pillow has tried it before, and keeps silent
        value = exif.get(ExifTags.Base.Orientation, UPRIGHT) or UPRIGHT
    except (*_DAMAGE, *_DAMAGE_BELOW):
        return UPRIGHT, ("exif",)
    return (int(value) if value in range(1, 9) else 0), ()


def _divisor(image: Image.Image, orientation: int, least: tuple[int, int]) -> int:
    """By how much the sides can be divided while decoding and cover at least this (width, height)."""
    if image.format != "JPEG":
        return 1
    most = max(1, min(image.width // least[0], image.height // least[1]))
    # Turned, the pixels that stand for less than one would come first: then only what divides both sides.
    exact = orientation != UPRIGHT
    return next(d for d in DIVISORS if d <= most and not (exact and (image.width % d or image.height % d)))


def _is_simple(image: Image.Image, data: bytes) -> bool:
    """One frame of at most 8 bits a channel, and no colour that stands for transparency."""
    deep = image.format == "PNG" and data[24] > 8  # Pillow calls 16-bit RGB by the same name
    return not deep and "transparency" not in image.info and getattr(image, "n_frames", 1) == 1


def _is_lossless(image: Image.Image, data: bytes) -> bool:
    if image.format == "TIFF":
        return image.info.get("compression") not in ("jpeg", "tiff_jpeg", "webp")
    if image.format == "WEBP":
        at, kind = 12, b""
        while at + 8 <= len(data) and kind not in (b"VP8 ", b"VP8L", b"ANMF"):
            kind = data[at : at + 4]
            at += 8 + (int.from_bytes(data[at + 4 : at + 8], "little") + 1) // 2 * 2
        return kind == b"VP8L"
    return image.format in ("PNG", "BMP")


def _decode_by_opencv(image: Image.Image, data: bytes, divisor: int) -> np.ndarray | None:
    """uint8 RGB or RGBA at 1/divisor of the size, rounded up; None for what is left to Pillow, damage above all."""
    known = image.format == "JPEG" and image.mode in ("L", "RGB") and _is_whole_jpeg(image, data)
    known |= image.format == "PNG" and image.mode in ("L", "RGB", "RGBA") and _ends_with_pixels(data)
    if not known or not _is_simple(image, data):
        return None
    flags = cv2.IMREAD_UNCHANGED if image.mode == "RGBA" else _READ_RGB[divisor]
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    if pixels is None or pixels.shape[:2] != (-(-image.height // divisor), -(-image.width // divisor)):
        return None
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA, dst=pixels) if image.mode == "RGBA" else pixels


def _decode_by_pillow(image: Image.Image, orientation: int, divisor: int) -> np.ndarray:
    """uint8 RGB, or RGBA where some pixel may be transparent, of the first frame, upright."""
    if image.format == "TIFF" and _has_deep_planes(image):
        raise UnreadablePicture("a TIFF of 16-bit planes that lie apart, which is not read")
    image.seek(0)
    if divisor > 1:
        image.draft(None, (image.width // divisor, image.height // divisor))
    image.load()
    upright = image.transpose(_TURNS[orientation]) if orientation in _TURNS else image
    opaque = upright.mode == "RGB" and "transparency" not in upright.info
    return np.asarray(upright) if opaque else _rgba(upright)


def _has_deep_planes(image: Image.Image) -> bool:
    """Whether a TIFF has its colours in planes of more than 8 bits, which Pillow takes for planes of 8."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(_PLANAR, 1) == 2 and max(tags.get(_BITS, (8,))) > 8 and image.mode not in ("L", "I;16", "I;16B")


def _is_whole_jpeg(image: Image.Image, data: bytes) -> bool:
    """Whether a JPEG's pixels end where it ends. Other markers among them are damage, which OpenCV would paint over."""
    if image.info.get("progressive"):
        return True  # its parts are put together first, and there OpenCV sees the damage
    at, marker = 2, b""
    while marker != START_OF_SCAN:
        marker = data[at + 1 : at + 2]
        if data[at : at + 1] != b"\xff" or marker in (b"", b"\xff"):
            return False
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    scan = np.frombuffer(data, np.uint8)[at:]
    after = scan[1:][scan[:-1] == 0xFF]
    # Among pixels, a 0xFF byte is followed by 0, by a restart marker, or by another one that is.
    markers = after[(after != 0) & (after != 0xFF) & (after & 0xF8 != 0xD0)]
    return markers.size > 0 and markers[0] == END_OF_IMAGE


def _ends_with_pixels(data: bytes) -> bool:
    """Whether all chunks of a PNG are there and none but the end follows the pixels."""
    at, pixels = 8, False
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        if pixels and kind not in (b"IDAT", b"IEND"):
            return False
        pixels = kind == b"IDAT"
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IEND":
            return at <= len(data)
    return False


def _rgba(image: Image.Image) -> np.ndarray:
    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
        raise UnreadablePicture("32 bits a channel, which are not read; 8 and 16 are")
    if image.mode.startswith("I"):  # 16-bit gray, which Pillow itself would clip at 255
        gray = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        narrow = ((gray + 128) // 257).astype(np.uint8)
        return np.stack([narrow, narrow, narrow, np.full_like(narrow, 255)], axis=-1)
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes every CMYK JPEG for one of Adobe's, which hold 255 - ink
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        image = image.convert("RGB")
    return np.asarray(image.convert("RGBA"))


def _first_words(error: BaseException) -> str:
    """What a library says, without its line breaks and not at length."""
    return " ".join(str(error).split())[:200] or type(error).__name__
