"""File names as tables spell them: with `./`, with backslashes, in the other Unicode normal form."""

import posixpath
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from urllib.parse import unquote

from dataprep.sources.facts import Unreadable, text
from dataprep.storage.store import FileEntry

_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")


def path_of(value: Any, name: str) -> str | None:
    """The path that a cell of the column `name` holds, if any. Raises Unreadable with the reason for anything else."""
    try:
        path = text(value)
    except Unreadable:
        raise Unreadable(f"{name} must be a word, not {str(value)[:60]!r}") from None
    if path is None or not path.strip():
        return None
    if path.startswith("file://"):
        path = unquote(path.removeprefix("file://"))
    if "://" in path and not path.startswith("s3://"):
        raise Unreadable(f"{path[:200]} is neither a path nor an s3:// address")
    if path.startswith("s3://") and not all(path.removeprefix("s3://").partition("/")[::2]):
        raise Unreadable(f"{path[:200]} lacks a bucket or a name")
    is_relative = not path.startswith(("/", "s3://"))
    if "\0" in path or (is_relative and ".." in path.replace("\\", "/").split("/")):
        raise Unreadable(f"{path[:200]!r} is not a path inside the folder of the index")
    return path


def spellings(path: str) -> Iterator[str]:
    """What a path may mean, the nearest first: itself, where backslashes may belong to the name; tidied; and tidied in
    each Unicode normal form."""
    literal = (path,) if "\\" in path else ()
    yield from dict.fromkeys((*literal, tidy(path), *(unicodedata.normalize(form, tidy(path)) for form in _FORMS)))


def tidy(path: str) -> str:
    """The path without `./` and with slashes, as it should have been written."""
    return path if path.startswith(("/", "s3://")) else posixpath.normpath(path.replace("\\", "/"))


def composed(name: str) -> str:
    """One spelling for all that mean the same: tidied, in NFC."""
    return unicodedata.normalize("NFC", tidy(name))


class FileNames:
    """The files of a listing by their names, however a table spells them."""

    def __init__(self, listed: Mapping[str, FileEntry]) -> None:
        self._listed = listed
        self._composed: dict[str, str] | None = None  # name in NFC -> address, made when it is first asked for

    def named(self, folder: str, value: Any, name: str) -> FileEntry | None:
        """The file that a cell of the column `name` names; None for an empty one. Raises Unreadable for a lost one."""
        path = path_of(value, name)
        if path is None:
            return None
        if (found := self.find(folder, path)) is None:
            raise Unreadable(f"there is no {path} in the folder")
        return found

    def find(self, folder: str, path: str) -> FileEntry | None:
        """The file that a path below the folder names."""
        for spelling in spellings(path):
            if (found := self._listed.get(f"{folder}/{spelling}")) is not None:
                return found
        if path.isascii() and folder.isascii():
            return None
        if self._composed is None:
            self._composed = {unicodedata.normalize("NFC", uri): uri for uri in self._listed if not uri.isascii()}
        uri = self._composed.get(unicodedata.normalize("NFC", f"{folder}/{tidy(path)}"))
        return None if uri is None else self._listed[uri]
