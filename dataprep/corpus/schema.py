"""The Arrow schemas of everything that the corpus keeps, in one place.

A shard's `row` file holds what is known about its pictures; each derived column is a file of its own, {id, value,
error}, rows in the same order. A null value means that the picture has none (no mask, no drawn sketch); a null value
with an `error` means that the operator failed on it.
"""

import pyarrow as pa

STRINGS = pa.list_(pa.string())

# One picture. `source` is an address and so no part of the digest; pixel_hash and phash are of pictures.identity.
ROW_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # sha256 of the source bytes
        pa.field("source", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("split", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("pixel_hash", pa.string(), nullable=False),
        pa.field("phash", pa.uint64(), nullable=False),
        pa.field("tags", STRINGS, nullable=False),
        pa.field("rating", pa.string()),  # as the source says it: g, s, q or e on Danbooru
        pa.field("score", pa.float32()),  # what the source's visitors gave it
        pa.field("caption", pa.string()),
        pa.field("bucket", pa.string(), nullable=False),  # WxH of dataprep.samples.buckets
        pa.field("assembly", pa.string()),  # JSON of dataprep.pictures.assembled.Assembly
    ]
)

# One source item before it is read; `key` names it and the version of the bytes behind it. What the source merely says
# about the picture (group to caption) is no part of the key: new tags make nothing be read again.
LISTING_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("tags", STRINGS, nullable=False),
        pa.field("rating", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("caption", pa.string()),
        pa.field("sketch_uri", pa.string()),
        pa.field("mask_uri", pa.string()),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)

# What the scan learned about one source item; `item` is the key of its listing, `reason` says why it is no row.
SCAN_SCHEMA = pa.schema(
    [
        LISTING_SCHEMA.field("key").with_name("item"),
        *(field for field in LISTING_SCHEMA if field.name != "key"),
        pa.field("id", pa.string()),
        pa.field("sketch_id", pa.string()),  # sha256 of the drawn sketch's bytes; where a mask file comes, of both
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("contrast", pa.int16()),  # dataprep.plan.filters.measure
        pa.field("chroma", pa.int16()),
        pa.field("drawing", pa.float32()),  # probabilities of dataprep.plan.scan.Content; null where no filter asks
        pa.field("unsafe", pa.float32()),
        pa.field("lossless", pa.bool_()),
        pa.field("notes", STRINGS),  # what was left out to read it: dataprep.pictures.ancillary.NOTES
        pa.field("pixel_hash", pa.string()),
        pa.field("phash", pa.uint64()),
        pa.field("assembly", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("message", pa.string()),
    ]
)

REJECT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),  # null where not one byte could be read
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),  # for a duplicate: the id that was kept
    ]
)

# The table beside a snapshot: one line per shard and column; paths are relative to the corpus.
FILE_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("column", pa.string(), nullable=False),
        pa.field("fingerprint", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("failed", pa.int64(), nullable=False),  # rows whose value could not be computed
        pa.field("reasons", pa.string(), nullable=False),  # why, as sorted JSON {reason: rows}
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("cells", pa.string(), nullable=False),  # order-free sum of the cell hashes, dataprep.corpus.digest
    ]
)

# The other table beside a snapshot: where each picture lies, sorted by id. The reader opens this instead of all shards.
INDEX_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("bucket", pa.string(), nullable=False),
        pa.field("sketch_id", pa.string()),
    ]
)


def column_schema(column: str) -> pa.Schema:
    """The schema of one derived column's files: {id, <column>, error}."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field(column, pa.binary()),
            pa.field("error", pa.string()),
        ]
    )


def file_schema(column: str) -> pa.Schema:
    return ROW_SCHEMA if column == "row" else column_schema(column)
