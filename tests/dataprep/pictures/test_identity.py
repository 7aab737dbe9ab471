import hashlib

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image

from dataprep.pictures.identity import content_id, phash, pixel_hash


def picture(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    """Blurred noise, so that neighbouring frequencies all matter."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), np.empty_like(noise), 0, 255, cv2.NORM_MINMAX)


def phash_from_the_definition(rgb: np.ndarray) -> int:
    """Grey, 32 x 32, DCT-II as a matrix, the 8 x 8 lowest frequencies against their median."""
    gray = np.asarray(Image.fromarray(rgb).convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=float)
    k, n = np.mgrid[:32, :32]
    dct = 2 * np.cos(np.pi * k * (2 * n + 1) / 64)
    low = (dct @ gray @ dct.T)[:8, :8]
    return int("".join("1" if bit else "0" for bit in (low > np.median(low)).ravel()), 2)


@pytest.mark.parametrize("seed", range(8))
def test_phash_is_that_of_imagehash_and_of_its_definition(seed: int) -> None:
    rgb = picture(seed)
    assert f"{phash(rgb):016x}" == str(imagehash.phash(Image.fromarray(rgb)))
    assert phash(rgb) == phash_from_the_definition(rgb)


def test_phash_hardly_changes_when_a_picture_is_resized_and_is_far_from_another_picture() -> None:
    rgb = picture(1, 120, 160)
    small = np.asarray(cv2.resize(rgb, (100, 75), interpolation=cv2.INTER_AREA), np.uint8)
    smaller, other = phash(small), phash(picture(2, 120, 160))
    assert (phash(rgb) ^ smaller).bit_count() <= 3
    assert (phash(rgb) ^ other).bit_count() > 12


def test_pixel_hash_tells_pictures_of_the_same_bytes_and_other_shapes_apart() -> None:
    rgb = picture(3, 4, 6)
    assert pixel_hash(rgb) != pixel_hash(rgb.reshape(6, 4, 3))
    assert pixel_hash(rgb) == pixel_hash(np.asfortranarray(rgb))
    changed = rgb.copy()
    changed[0, 0, 0] ^= 1
    assert pixel_hash(rgb) != pixel_hash(changed)


def test_pixel_hash_is_pinned_so_that_old_corpora_stay_comparable() -> None:
    rgb = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert pixel_hash(rgb) == hashlib.sha256(b"2,4,3;" + bytes(range(24))).hexdigest()


def test_content_id_is_the_sha256_of_the_bytes() -> None:
    assert content_id(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
