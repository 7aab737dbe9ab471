"""What a source holds: addresses first, bytes only when one item is read.

A source is an address on disk or S3. What it is, is seen from what lies there; the first line that fits counts:

| the address is                              | kind            | an item is                                        |
|---------------------------------------------|-----------------|---------------------------------------------------|
| a file `*.parquet`, `*.jsonl`, `*.csv`, ... | index table     | a line: `path` and what is known (`index_table`)  |
| a file `*.tar`, `*.zip`                     | shard           | a picture member with its side files (`webdataset`) |
| a folder with `color/` and `sketch/`        | official layout | pictures of one name in color/ sketch/ mask/      |
|                                             |                 | (`official_layout`)                               |
| a folder with a table that has the columns  | Danbooru dump   | a post whose file lies in `original/` or `512px/` |
| of posts, in `metadata/` or beside tars     |                 | or is a member `<id>.<ext>` of a tar (`danbooru`) |
| any other folder                            | tree            | a picture file with what lies beside it, a line   |
|                                             |                 | of an `index.jsonl` or of Hugging Face's          |
|                                             |                 | `metadata.jsonl`, a colouring of an               |
|                                             |                 | `assembled.json`, a member of a shard             |
|                                             |                 | (`folder_tree`)                                   |

Listing is a pure function of the source and the selection: the same order every time, on disk and on S3, and no item
depends on how many are wanted. `list_batches` gives Arrow tables of some ten thousand items, so that a source of
millions is never held as Python objects; `list_items` and `read_item` are for one at a time. What is not taken is
counted by its reason; what cannot be trusted (a link in a tar, a member that leaves its archive, a line that is no
JSON) is an item that is `refused` when it is read, and so becomes a reject with that reason. `Notes` say what a source
was read as, and count the facts that could not be read.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataprep.sources.folder_tree import ASSEMBLED, INDEX
    from dataprep.sources.items import RefusedItem, SourceData, SourceItem
    from dataprep.sources.listing import list_batches, list_items
    from dataprep.sources.reading import read_item
    from dataprep.sources.selection import Selection

__all__ = [
    "ASSEMBLED",
    "INDEX",
    "RefusedItem",
    "Selection",
    "SourceData",
    "SourceItem",
    "list_batches",
    "list_items",
    "read_item",
]

_HOMES = {
    "items": ("RefusedItem", "SourceData", "SourceItem"),
    "listing": ("list_batches", "list_items"),
    "reading": ("read_item",),
    "selection": ("Selection",),
    "folder_tree": ("ASSEMBLED", "INDEX"),
}


def __getattr__(name: str) -> Any:
    """Names are fetched when they are used: the settings of a selection must not load a decoder."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"dataprep.sources.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
