"""What a picture is called and what it looks like: hashes of its bytes, of its pixels and of its appearance."""

from hashlib import sha256

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image


def content_id(data: bytes) -> str:
    """The id of a row: sha256 of the source bytes, in hex."""
    return sha256(data).hexdigest()


def pixel_hash(rgb: npt.NDArray[np.uint8]) -> str:
    """sha256, in hex, of the shape and the pixels, uint8 (H, W, 3): equal for equal pictures in any file format."""
    shape = ",".join(map(str, rgb.shape)).encode()
    return sha256(shape + b";" + np.ascontiguousarray(rgb).tobytes()).hexdigest()


def phash(rgb: npt.NDArray[np.uint8]) -> int:
    """The 64-bit perceptual hash of imagehash (low frequencies of a 32 x 32 DCT, above or below their median).

    Bits in row-major order, the first one highest, so `f"{value:016x}"` is imagehash's own text.
    """
    bits = imagehash.phash(Image.fromarray(rgb)).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
