"""Scan records of pictures that do not exist, with everything about them that planning a real corpus meets.

Tags and scores as unevenly spread as on an illustration site; groups of a few pictures; pictures that come twice as
files, as pixels, or nearly so; and perceptual hashes of which many share most bits, as those of dark, framed and empty
pictures do.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprep.corpus.hashes import to_hex
from dataprep.corpus.schema import SCAN_SCHEMA
from dataprep.plan.filters import FilterSettings, judge

BLOCK_ROWS = 65_536
TAG_COUNT, TAGS_A_PICTURE = 8_000, 20
SAME_FILE, SAME_PIXELS, SIMILAR = 0.01, 0.01, 0.03  # shares of all pictures that repeat another one
CROWDED = 0.08  # share of the hashes in crowds; a crowd differs in CROWD_BITS bits only
CROWDS, CROWD_BITS = 4, 32
GROUPED, GROUP_SIZE = 0.4, 8
RECORD_COLUMNS = ("uri", "group", "id", "sketch_id", "width", "height", "lossless", "pixel_hash", "phash", "assembly")
_WATERMARKED = 0.002

Hashes = npt.NDArray[np.uint8]


def made_up_records(rows: int, seed: int = 0) -> Iterator[pa.Table]:
    """`rows` records in tables of BLOCK_ROWS, with all columns of schema.SCAN_SCHEMA; nothing is judged yet."""
    rng = np.random.default_rng(seed)
    ids, pixels = (rng.integers(0, 256, (rows, 32), dtype=np.uint8) for _ in range(2))
    phashes = _phashes(rng, rows)
    pixels[_some(rng, rows, SAME_PIXELS)] = pixels[_some(rng, rows, SAME_PIXELS)]
    copies, originals = _some(rng, rows, SAME_FILE), _some(rng, rows, SAME_FILE)
    for facts in (ids, pixels, phashes):
        facts[copies] = facts[originals]
    tags = pa.array([f"tag_{number:04d}" for number in range(TAG_COUNT)] + ["watermark"])
    for start in range(0, rows, BLOCK_ROWS):
        block = slice(start, min(start + BLOCK_ROWS, rows))
        yield _block(rng, block, ids[block], pixels[block], phashes[block], tags, rows)


def judged(records: pa.Table, settings: FilterSettings) -> pa.Table:
    """What a build holds of records in memory: judged, without what only workers need."""
    columns = [records[name] for name in RECORD_COLUMNS]
    return pa.table([*columns, *judge(records, settings)], names=[*RECORD_COLUMNS, "reason", "message"])


def _block(
    rng: np.random.Generator,
    block: slice,
    ids: Hashes,
    pixels: Hashes,
    phashes: npt.NDArray[np.uint64],
    tags: pa.Array,
    rows: int,
) -> pa.Table:
    numbers = np.arange(block.start, block.stop)
    count = len(numbers)
    width, height = (np.clip(rng.lognormal(7, 0.4, count), 40, 12_000).astype(np.int32) for _ in range(2))
    group = np.char.add("pool-", rng.integers(0, max(1, int(rows * GROUPED / GROUP_SIZE)), count).astype("U9"))
    known: dict[str, Any] = {
        "item": pa.array(np.char.add("key-", numbers.astype("U28"))),
        "uri": pa.array(np.char.add("s3://pictures/original/shard-0000.tar#", numbers.astype("U12"))),
        "group": pa.array(group, mask=rng.random(count) > GROUPED),
        "tags": _tags(rng, count, tags),
        "score": pa.array(rng.exponential(20, count).astype(np.float32)),
        "rating": pa.array(rng.choice(np.array(["g", "s", "q", "e"]), count)),
        "kind": pa.array(np.full(count, "member")),
        "detail": pa.array(np.full(count, '{"offset": 512, "size": 900000}')),
        "id": to_hex(ids),
        "width": width,
        "height": height,
        "contrast": np.full(count, 200, np.int16),
        "chroma": np.full(count, 90, np.int16),
        "lossless": rng.random(count) < 0.5,
        "pixel_hash": to_hex(pixels),
        "phash": phashes,
    }
    columns = [known.get(field.name, pa.nulls(count, field.type)) for field in SCAN_SCHEMA]
    return pa.table(columns, schema=SCAN_SCHEMA)


def _tags(rng: np.random.Generator, count: int, tags: pa.Array) -> pa.ListArray:
    """Some names for each picture, few of them common (their ranks fall off as 1 / rank)."""
    sizes = rng.poisson(TAGS_A_PICTURE, count)
    ranks = np.exp(rng.random(sizes.sum()) * np.log(TAG_COUNT)).astype(np.int32) - 1
    ranks[rng.random(len(ranks)) < _WATERMARKED / TAGS_A_PICTURE] = TAG_COUNT
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, tags.take(pa.array(ranks)))


def _phashes(rng: np.random.Generator, rows: int) -> npt.NDArray[np.uint64]:
    hashes = rng.integers(0, 2**64, rows, dtype=np.uint64)
    for _ in range(CROWDS):
        free = np.bitwise_or.reduce(np.uint64(1) << rng.choice(64, CROWD_BITS, replace=False).astype(np.uint64))
        crowd = _some(rng, rows, CROWDED / CROWDS)
        hashes[crowd] = rng.integers(0, 2**64, dtype=np.uint64) & ~free | hashes[crowd] & free
    similar = _some(rng, rows, SIMILAR)
    flips = np.zeros(len(similar), np.uint64)
    for _ in range(3):
        flips |= np.uint64(1) << rng.integers(0, 64, len(similar), dtype=np.uint64)
    hashes[similar] = hashes[_some(rng, rows, SIMILAR)] ^ flips
    return hashes


def _some(rng: np.random.Generator, rows: int, share: float) -> npt.NDArray[np.int64]:
    return rng.integers(0, rows, int(rows * share))
