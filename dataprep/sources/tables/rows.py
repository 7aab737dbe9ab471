"""The rows of a table of any kind, and what its columns are."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from dataprep.errors import DataError
from dataprep.sources.items import Row, refused_row
from dataprep.sources.tables.csv_text import csv_rows
from dataprep.sources.tables.json_text import json_rows
from dataprep.sources.tables.parquet_rows import parquet_columns, parquet_rows
from dataprep.sources.tables.row import BadRow, TableRow

PARQUET, CSV, JSON = (".parquet",), (".csv", ".csv.gz"), (".jsonl", ".jsonl.gz", ".json", ".json.gz")
SUFFIXES = (*PARQUET, *JSON, *CSV)
PATH, FILE_NAME = "path", "file_name"  # the columns that name a picture, ours and Hugging Face's
_ROWS_LOOKED_AT = 20


def is_table(name: str) -> bool:
    return name.endswith(SUFFIXES)


def table_rows(uri: str, is_wanted: Callable[[str], bool] = lambda _: True) -> Iterator[TableRow]:
    """Each row with its place. Of Parquet only the wanted columns are read. Raises DataError for what is no table."""
    if uri.endswith(PARQUET):
        return parquet_rows(uri, is_wanted)
    return csv_rows(uri) if uri.endswith(CSV) else json_rows(uri)


def table_columns(uri: str) -> list[str]:
    """The columns that the footer or the first rows of a table name; none where it cannot be read as one."""
    try:
        if uri.endswith(PARQUET):
            return parquet_columns(uri)
        names: dict[str, None] = {}
        for _, row in islice(table_rows(uri), _ROWS_LOOKED_AT):
            names |= {} if isinstance(row, BadRow) else dict.fromkeys(row)
    except DataError:
        return []
    return list(names)


def renamed(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row with our names for the columns that Hugging Face calls `file_name` and `text`."""
    if PATH in entry or FILE_NAME not in entry:
        return entry
    caption = {} if "caption" in entry or "text" not in entry else {"caption": entry["text"]}
    return {**entry, PATH: entry[FILE_NAME], **caption}


def refused_line(uri: str, place: str, why: str) -> Row:
    """The candidate that becomes a reject in the place of a row that cannot be used."""
    return refused_row(f"{uri}#{place}", f"{place}: {why}")
