"""The pictures of a browse page: samples of every column, rejects beside what was kept, groups; as small WebP files.

Every column's picture is embedded once; what is drawn over what, the page decides. A picture that cannot be read is a
message in its place.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from dataprep.corpus.schema import ROW_SCHEMA
from dataprep.corpus_tools.survey import RowPicker, Survey, in_threads
from dataprep.documents import parse_json
from dataprep.faults import Failure, attempt
from dataprep.limits import LimitSettings
from dataprep.pictures.decode import decode_png
from dataprep.pictures.guarded import decode
from dataprep.randomness import generator
from dataprep.sources.items import MOST_BYTES
from dataprep.storage import store as storage

SIDES = (448, 352, 272, 208, 160)  # of a sample's long side in pixels: the first at which all samples fit the page
QUALITY = 78
THUMB_SIDE = 176
LIMITS = LimitSettings(seconds_per_picture=10.0)  # of one thumbnail
COSTLY = ("timeout", "out-of-memory", "crashed")  # reasons of rejects that a build could not look at, and nobody should
GOLDEN_TURN = 0.6180339887498949  # of the colour circle between two regions: neighbours in number differ in hue
GROUPS_SHOWN, GROUP_PICTURES = 6, 10
WORDS_SHOWN = 12  # of the names with probabilities

Place = dict[str, Any]  # split, shard, position
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Layer:
    """One column of a sample: a WebP picture, or in its place words."""

    column: str
    role: str  # "color", "sketch", "mask" or "regions": how it is drawn over another
    picture: bytes | None
    message: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Sample:
    """One row with everything derived from it. `row`: the fields of schema.ROW_SCHEMA, without the hashes."""

    row: Mapping[str, Any]
    layers: tuple[Layer, ...]

    @property
    def aspect(self) -> float:
        return float(self.row["width"] / self.row["height"])


@dataclass(frozen=True)
class RejectExample:
    """A picture that was dropped, beside the one that was kept where it is a duplicate."""

    source: str
    message: str
    picture: bytes | None
    kept_id: str = ""
    kept: bytes | None = None
    asked_for: bool = True  # whether its address lies in a folder that pictures may be read from


@dataclass(frozen=True)
class GroupStrip:
    """Some pictures of one group of `rows` pictures."""

    name: str
    rows: int
    pictures: tuple[bytes, ...]


def role_of(column: str) -> str:
    """How a column is drawn, by its name (DESIGN section 3)."""
    if column == "region_map":
        return "regions"
    if column.endswith("mask"):
        return "mask"
    return "sketch" if column.startswith("sketch_") else "color"


def make_samples(picker: RowPicker, places: Sequence[Place], columns: Sequence[str], most: int) -> list[Sample]:
    """The rows at these places; sides shrink until all pictures together take at most `most` bytes."""
    samples: list[Sample] = []
    for side in SIDES:
        samples = list(in_threads(partial(_sample, picker, columns=columns, side=side), places))
        if sum(len(layer.picture or b"") for sample in samples for layer in sample.layers) <= most:
            break
    return samples


def make_rejects(
    picker: RowPicker, rejects: Sequence[Mapping[str, Any]], kept: Mapping[str, Place], sources: Sequence[str] = ()
) -> list[RejectExample]:
    """Rejects of one reason; `kept`: where the rows lie that some of them duplicate.

    sources: folders from which pictures of rejects are read. A corpus may come from elsewhere, and its rejects hold
    addresses that whoever made it chose: none that lies outside of these folders is opened.
    """

    def example(reject: Mapping[str, Any]) -> RejectExample:
        if reject["reason"] in COSTLY:
            return RejectExample(reject["source"], reject["message"], None)
        where = kept.get(reject["message"])
        allowed = any(lies_within(reject["source"], folder) for folder in sources)
        picture = attempt(partial(_source_thumb, reject["source"])) if allowed else None
        return RejectExample(
            source=reject["source"],
            message="" if where else reject["message"],
            picture=None if isinstance(picture, Failure) else picture,
            asked_for=allowed,
            kept_id=reject["message"] if where else "",
            kept=_color_thumb(picker, where) if where else None,
        )

    return list(in_threads(example, rejects))


def make_groups(picker: RowPicker, survey: Survey, seed: int) -> list[GroupStrip]:
    """Strips of a few groups with two pictures or more, drawn at random, the larger ones first."""
    named = survey.rows.filter(pc.is_valid(survey.rows["group"]))
    counts = named.group_by("group").aggregate([([], "count_all")]).sort_by("group")
    several = counts.filter(pc.greater(counts["count_all"], 1))
    drawn = generator(seed, 0, "groups").permutation(len(several))[:GROUPS_SHOWN]
    strips = []
    for group in several.take(pa.array(drawn)).sort_by([("count_all", "descending")]).to_pylist():
        rows = named.filter(pc.equal(named["group"], group["group"])).slice(0, GROUP_PICTURES)
        thumbs = in_threads(partial(_color_thumb, picker), rows.to_pylist())
        shown = tuple(picture for picture in thumbs if picture is not None)
        strips.append(GroupStrip(group["group"], group["count_all"], shown))
    return strips


def region_colors(labels: npt.NDArray[np.integer]) -> Pixels:
    """A colour for each region of (H, W) labels: uint8 (H, W, 4), lines (label 0) transparent."""
    turn = (labels.astype(np.float64) * GOLDEN_TURN + 0.5) % 1.0  # the first region, often the ground, is yellow
    light = np.choose(labels % 3, (240, 225, 190))
    hsv = np.stack([turn * 179, np.full(labels.shape, 125), light], axis=-1).astype(np.uint8)
    alpha = np.where(labels > 0, 255, 0).astype(np.uint8)
    return np.dstack([cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), alpha]).astype(np.uint8)


def thumb(data: bytes, side: int, role: str = "color") -> bytes:
    """WebP of at most `side` pixels a side; raises UnreadablePicture."""
    if role == "regions":
        return _webp(region_colors(_shrunk(decode_png(data), side, cv2.INTER_NEAREST)), lossless=True)
    return _webp(_shrunk(decode(data, limits=LIMITS).rgb, side, cv2.INTER_AREA))


def _sample(picker: RowPicker, place: Place, columns: Sequence[str], side: int) -> Sample:
    row = attempt(partial(picker.row, place))
    if isinstance(row, Failure):
        known = {"id": place["id"], "split": place["split"], "source": row.message, "width": 1, "height": 1}
        row = dict.fromkeys(ROW_SCHEMA.names) | known
    return Sample(row, tuple(_layer(picker, place, column, side) for column in columns))


def _layer(picker: RowPicker, place: Place, column: str, side: int) -> Layer:
    cell, role = picker.cell(place, column), role_of(column)
    if cell.value is None:
        return Layer(column, role, None, f"failed: {cell.error}" if cell.error else "none", bool(cell.error))
    picture = attempt(partial(thumb, cell.value, side, role))
    if not isinstance(picture, Failure):
        return Layer(column, role, picture)
    words = attempt(lambda: in_words(parse_json(cell.value or b"", column)))
    if isinstance(words, Failure):
        message = f"{len(cell.value):,} bytes, no picture: {picture.message}"
        return Layer(column, role, None, message, failed=True)
    return Layer(column, role, None, words)


def in_words(content: Any) -> str:
    """A JSON value for a person: of probabilities by name the highest, group by group; others as they are."""
    if not isinstance(content, dict):
        return f"{content:.3g}" if isinstance(content, float) else str(content)
    if not all(isinstance(value, int | float) for value in content.values()):
        return "; ".join(f"{name}: {in_words(value)}" for name, value in content.items() if value)
    first = sorted(content, key=content.__getitem__, reverse=True)[:WORDS_SHOWN]
    return ", ".join(f"{name} {content[name]:.2f}" for name in first)


def _color_thumb(picker: RowPicker, place: Place) -> bytes | None:
    cell = picker.cell(place, "color")
    picture = attempt(partial(thumb, cell.value or b"", THUMB_SIDE))
    return None if isinstance(picture, Failure) else picture


def lies_within(address: str, folder: str) -> bool:
    """Whether an address of a corpus lies in a folder, on disk or S3, by its words alone: nothing is asked of a store.

    Both are absolute or `s3://`; an address with ".." in it lies nowhere.
    """
    start = folder if folder.endswith("/") else f"{folder}/"
    return address.startswith(start) and ".." not in address.split("/")


def _source_thumb(source: str) -> bytes:
    return thumb(storage.read_bytes(source, MOST_BYTES), THUMB_SIDE)  # it may be a whole archive


def _shrunk(pixels: npt.NDArray[Any], side: int, method: int) -> npt.NDArray[Any]:
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return pixels if size == (width, height) else np.asarray(cv2.resize(pixels, size, interpolation=method))


def _webp(pixels: Pixels, lossless: bool = False) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "WEBP", quality=QUALITY, lossless=lossless, method=4)
    return out.getvalue()
