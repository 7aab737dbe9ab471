"""Text of tables as bytes: bounded lines of a stream that may be packed, and the encodings that a mark names.

What would unpack to more than MOST_RATIO times its size is no table but a bomb, and an error that names the limit. A
line of more than MOST_LINE_BYTES is passed over and costs itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dataprep.errors import DataError
from dataprep.storage import store as storage

MOST_LINE_BYTES = 16 << 20
MOST_RATIO = 200  # JSON lines and CSV pack to a tenth or a thirtieth
LEAST_LIMIT = 64 << 20  # bytes that any packed file may unpack to
_READ = 1 << 20
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@contextmanager
def open_bounded(uri: str) -> Iterator["BoundedStream"]:
    """The bytes of a file in their order; one that ends in .gz is unpacked."""
    filesystem, path = storage.arrow_filesystem(uri)
    with storage.explained(uri):
        size = filesystem.get_file_info(path).size or 0
        with filesystem.open_input_stream(path, compression="detect") as stream:
            yield BoundedStream(stream, uri, max(LEAST_LIMIT, MOST_RATIO * size) if uri.endswith(".gz") else None)


class BoundedStream:
    """A stream that gives no more than `most` bytes, if there is such a limit, and no byte order mark."""

    def __init__(self, stream: Any, uri: str, most: int | None) -> None:
        self.uri = uri
        self._stream, self._most, self._given = stream, most, 0

    def read(self) -> bytes:
        """The next MiB; nothing at the end. Raises DataError beyond the limit, and for UTF-16."""
        block: bytes = self._stream.read(_READ)
        if not self._given:
            if block.startswith(_UTF16_MARKS):
                raise DataError(f"{self.uri}: this text is UTF-16. Save it as UTF-8.")
            block = block.removeprefix(_UTF8_MARK)
        self._given += len(block)
        if self._most is not None and self._given > self._most:
            raise DataError(
                f"{self.uri}: it unpacks to more than {self._most:,} bytes, {MOST_RATIO} times its size; that is no "
                "table, and it is not read. Take it away, or unpack it."
            )
        return block

    def lines(self) -> Iterator[tuple[int, bytes | None]]:
        """(number, line) of the lines that are not empty; None for one that is too long."""
        number, rest, is_skipped = 1, b"", False
        while block := self.read():
            if not rest and not is_skipped and block.isspace():
                number += block.count(b"\n")
                continue
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                is_long = is_skipped or len(line) > MOST_LINE_BYTES
                if is_long or line.strip():
                    yield number, None if is_long else line
                number, is_skipped = number + 1, False
            if len(rest) > MOST_LINE_BYTES:
                rest, is_skipped = b"", True
        if is_skipped or rest.strip():
            yield number, None if is_skipped else rest


def decoded(data: bytes) -> str:
    """Text of a small file: UTF-8 with or without a mark, or UTF-16 with one; what is neither is shown as it can be."""
    if data.startswith(_UTF16_MARKS):
        return data.decode("utf-16", "replace")
    return data.removeprefix(_UTF8_MARK).decode("utf-8", "replace")
