"""CSV with a header: fields in quotes, line breaks within them, empty cells as unknown."""

import csv
from collections.abc import Iterator

from dataprep.sources.tables.lines import BoundedStream, open_bounded
from dataprep.sources.tables.row import BadRow, TableRow


def csv_rows(uri: str) -> Iterator[TableRow]:
    """The rows of a table with commas, counted from the header on; a file that ends in .gz is unpacked."""
    with open_bounded(uri) as stream:
        reader = csv.reader(_text_lines(stream))  # a field has at most 128 KiB: the module's own limit
        header: list[str] | None = None
        number = 0
        while True:
            number += header is not None
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield f"row {number}", BadRow(f"not CSV: {error}")
                continue
            if cells is None:
                return
            if header is None:
                header = [name.strip() for name in cells]
            elif len(cells) > len(header):
                yield f"row {number}", BadRow(f"it has {len(cells)} cells, the header {len(header)}")
            else:
                yield f"row {number}", {name: cell or None for name, cell in zip(header, cells, strict=False)}


def _text_lines(stream: BoundedStream) -> Iterator[str]:
    """Empty lines are left out, and one that is too long is an empty one: a field could not hold it."""
    for _, line in stream.lines():
        yield "" if line is None else line.decode("utf-8", "replace") + "\n"
