"""A browse page made by hand: three rows, three columns, rejects, failures, groups and charts."""

import numpy as np
import pyarrow as pa

from dataprep.corpus.schema import ROW_SCHEMA
from dataprep.corpus_tools.ink import ColumnLook
from dataprep.corpus_tools.survey import FailureCount, Survey
from dataprep.pictures.decode import encode_png
from pipelines.corpus_tools.browse import ColumnFacts, Page, RejectReason
from pipelines.corpus_tools.browse_charts import charts_of
from pipelines.corpus_tools.browse_pictures import GroupStrip, Layer, RejectExample, Sample, thumb
from tests.corpus_pictures import picture

INK = (0.0, *(0.01 * number for number in range(1, 20)))
COLUMNS = ("color", "sketch_xdog", "mask", "region_map")


def sample_page(text: str = "") -> Page:
    """`text` stands wherever the corpus' own text is shown."""
    samples = tuple(_sample(number, text) for number in range(3))
    color = samples[0].layers[0].picture
    duplicate = RejectExample(text or "a.png", "", color, "e" * 64, color)
    rows = pa.table(
        {
            "group": [text or "ann", text or "ann", "bea"],
            "width": [64, 64, 96],
            "height": [48, 48, 48],
            "rating": [text or "g", "g", None],
            "score": [1.0, 5.0, None],
        }
    )
    tags = pa.table({"tag": [text or "smile", "hat"], "count": [3, 1]})
    document = {
        "snapshot": 4,
        "digest": text or "d" * 64,
        "created": "2030-01-02T03:04:05+00:00",
        "rows": {text or "train": 2, "validation": 1},
        "rejects": {text or "near-duplicate": 1, "unreadable": 1},
        "bytes": 123_456,
        "sources": [text or "pictures"],
    }
    buckets = {("train", text or "768x768"): 300, ("train", "832x704"): 2}
    return Page(
        uri=f"shelf/{text or 'toy'}",
        document=document,
        columns=COLUMNS,
        samples=samples,
        facts=(
            ColumnFacts(text or "color", f"op {text}", text or "abc", ((text or "sigma", text or 1),), 3, 1, 999),
            ColumnFacts("sketch_xdog", "xdog-rasc 3", "def", (), 20, 0, 999, ColumnLook("sketch_xdog", 20, 0.0, INK)),
            ColumnFacts("mask", "alpha 2", "fed", (), 20, 0, 99, ColumnLook("mask", 20, 0.9)),
        ),
        rejects=(
            RejectReason(text or "near-duplicate", 1, text, (duplicate,)),
            RejectReason("unreadable", 1, "", (RejectExample("b.png", text or "the file is empty", None),)),
        ),
        failures=(FailureCount("mask", text or "timeout", 2, (text or "0000: timeout: 60 s",)),),
        charts=tuple(charts_of(Survey(rows, tags, 1, 1), buckets, {"buckets": {"sizes": [key[1] for key in buckets]}})),
        groups=(GroupStrip(text or "ann", 2, (color or b"", color or b"")),),
        shards_read=1,
        shards=1,
    )


def _sample(number: int, text: str) -> Sample:
    pixels = picture(number, width=64 if number < 2 else 96)
    labels = np.arange(pixels.shape[0] * pixels.shape[1], dtype=np.uint16).reshape(pixels.shape[:2]) % 7
    layers = (
        Layer("color", "color", thumb(encode_png(pixels), 64)),
        Layer("sketch_xdog", "sketch", thumb(encode_png(pixels[..., 0]), 64)),
        Layer("mask", "mask", None, f"failed: {text}" if text else "none"),
        Layer("region_map", "regions", thumb(encode_png(labels), 64, "regions")),
    )
    known = {
        "id": f"{number}" * 64,
        "source": text or f"pictures/p{number}.png",
        "group": text or ("ann", "ann", "bea")[number],
        "split": ("train", "train", "validation")[number],
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "tags": [text or "smile"] + (["hat"] if number == 1 else []),
        "bucket": "768x768",
        "caption": text or None,
        "score": 1.0,
    }
    return Sample(dict.fromkeys(ROW_SCHEMA.names) | known, layers)
