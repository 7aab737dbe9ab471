"""Decode and resize: ours beside OpenCV alone and Pillow alone, doing the same job on the same bytes.

The job: bytes in, RGB pixels out, at the size that just covers a square of 256 or 512 pixels. The pictures are mosaics
of real ones at their own resolution (so that detail is as dense as in the originals), as JPEG (quality 90, 4:2:0) and
PNG (Pillow's defaults).
"""

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.measuring import Row, Section, picture_bytes, take_turns
from dataprep.pictures.decode import decode, decode_resized
from dataprep.pictures.resize import fitted_size

Bytes = npt.NDArray[np.uint8]
SIZES = {"0.3": (640, 480), "1": (1152, 864), "4": (2304, 1728), "12": (4000, 3000)}  # megapixels -> (width, height)
TARGETS = (256, 512)  # the square to cover
BAR = 0.9
_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

ABOUT = f"""\
Megapixels of the source a second and core, to the size that covers a square of so many pixels. OpenCV: `imdecode` and
`resize` with `INTER_AREA`; "reduced": the same after `IMREAD_REDUCED_COLOR_n`, n the largest that covers the target.
Pillow: `thumbnail` with its defaults, which drafts a JPEG at twice the target. Closeness: PSNR of ours against OpenCV
resizing the whole picture, the smallest. Ratio: ours to the fastest of the others; at least {BAR} is wanted."""


def run(source: str, count: int, rounds: int) -> Section:
    """One row for each format, size and target, on `count` mosaics each."""
    pictures = [decode(data).rgb for data in picture_bytes(source, 64)]
    rows: list[Row] = []
    for megapixels, size in SIZES.items():
        mosaics = [mosaic(pictures, *size, seed=seed) for seed in range(count)]
        for kind in ("JPEG", "PNG"):
            encoded = [_encoded(picture, kind) for picture in mosaics]
            for target in TARGETS:
                if target < min(size):
                    rows.append({"format": kind, "MP": megapixels} | _row(encoded, kind, size, target, rounds))
    return Section("Decode and resize", ABOUT, rows, all(row["ratio"] >= BAR for row in rows))


def mosaic(pictures: list[Bytes], width: int, height: int, seed: int) -> Bytes:
    """uint8 (height, width, 3) laid with randomly chosen pictures at their own resolution."""
    rng = np.random.default_rng(seed)
    side = min(min(picture.shape[:2]) for picture in pictures)
    canvas = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, side):
        for left in range(0, width, side):
            tile = pictures[rng.integers(len(pictures))][:side, :side]
            canvas[top : top + side, left : left + side] = tile[: height - top, : width - left]
    return canvas


def _row(encoded: list[bytes], kind: str, size: tuple[int, int], target: int, rounds: int) -> Row:
    wanted = fitted_size(size, target, target, "cover")
    rivals: dict[str, Callable[[bytes], Any]] = {
        "ours": partial(decode_resized, width=target, height=target, fit="cover"),
        "OpenCV": partial(_by_opencv, size=wanted, divisor=1),
        "Pillow": partial(_by_pillow, size=wanted),
    }
    if kind == "JPEG":
        most = min(size[0] // wanted[0], size[1] // wanted[1])
        divisor = next(divisor for divisor in (8, 4, 2, 1) if divisor <= most)
        rivals["OpenCV reduced"] = partial(_by_opencv, size=wanted, divisor=divisor)
    shapes = {rivals[name](encoded[0]).shape for name in rivals}
    if shapes != {(wanted[1], wanted[0], 3)}:
        raise ValueError(f"the rivals do not do the same job: {shapes}")
    seconds = take_turns(rivals, encoded, rounds)
    total = size[0] * size[1] * len(encoded) / 1e6
    speed = {name: total / seconds[name] if name in seconds else None for name in (*rivals, "OpenCV reduced")}
    fastest = max(value for name, value in speed.items() if name != "ours" and value is not None)
    closeness = min(cv2.PSNR(rivals["ours"](data), rivals["OpenCV"](data)) for data in encoded)
    ours = speed["ours"] or 0.0
    return {"target": target, **speed, "closeness, dB": min(closeness, 99.0), "ratio": round(ours / fastest, 3)}


def _by_opencv(data: bytes, size: tuple[int, int], divisor: int) -> Bytes:
    flags = cv2.IMREAD_COLOR_RGB | _REDUCED[divisor]
    pixels = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _by_pillow(data: bytes, size: tuple[int, int]) -> Bytes:
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail(size)
        return np.asarray(image.convert("RGB"))


def _encoded(picture: Bytes, kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return out.getvalue()
