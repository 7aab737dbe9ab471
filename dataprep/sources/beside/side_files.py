"""Files beside a picture of a folder that say what is known of it, as download and training tools write them.

`a.png.json` (gallery-dl) and `a.json` (img2dataset) are facts or a Danbooru post; `a.txt`, `a.caption` and `a.png.txt`
are its caption, and its tags too where they are words with commas between them, as kohya's scripts want them. A file
that several pictures share by their name is given to none of them, and counted.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from posixpath import basename, dirname

from dataprep.errors import DataError
from dataprep.sources.beside.pairing import SideFileError
from dataprep.sources.facts import FactReader, comma_words
from dataprep.sources.items import Row, is_picture, stem_of
from dataprep.sources.tables.lines import decoded
from dataprep.sources.webdataset import MOST_SIDE_BYTES, side_facts
from dataprep.storage import store as storage
from dataprep.storage.store import FileEntry

_JSON, _TEXT = (".json",), (".txt", ".caption")
_READERS, _AT_ONCE = 16, 512
_KOHYA_FOLDER = re.compile(r"\d+_.+")  # how often a picture is repeated, and its class
_MOST_WORDS = 4  # of one tag
_LEAST_TAGS, _LEAST_TAGS_OF_KOHYA = 3, 1


class SideFiles:
    """The side files of a listing."""

    def __init__(self, listed: Mapping[str, FileEntry], reader: FactReader) -> None:
        self._listed, self._reader = listed, reader
        self._pictures: Counter[str] | None = None  # of each stem; counted when it is first asked for

    def facts(self, pictures: Iterable[str]) -> Iterator[Row]:
        """The facts of each picture, in order; small files are read several at a time."""
        remaining = ((uri, self._files(uri)) for uri in pictures)
        with ThreadPoolExecutor(_READERS) as pool:
            while some := list(islice(remaining, _AT_ONCE)):
                read = pool.map(self._facts, *zip(*((uri, files) for uri, files in some if files), strict=True))
                yield from (next(read) if files else {} for _, files in some)

    def is_one(self, uri: str) -> bool:
        """Whether the file has the name of a picture."""
        stem = stem_of(uri)
        return uri.endswith((*_JSON, *_TEXT)) and (stem in self._listed or self._count(stem) > 0)

    def kinds(self, pictures: Iterable[str]) -> list[str]:
        """The suffixes of the side files that some of these pictures have."""
        names = (name + suffix for uri in pictures for name in (uri, stem_of(uri)) for suffix in (*_JSON, *_TEXT))
        return sorted({f".{name.rpartition('.')[2]}" for name in names if name in self._listed})

    def _files(self, uri: str) -> dict[str, FileEntry]:
        found = {"json": self._file(uri, _JSON), "txt": self._file(uri, _TEXT)}
        return {kind: entry for kind, entry in found.items() if entry is not None}

    def _facts(self, uri: str, files: Mapping[str, FileEntry]) -> Row:
        texts = {kind: self._read(entry) for kind, entry in files.items()}
        facts = side_facts(texts, stem_of(uri), self._reader)
        if not facts.get("tags") and isinstance(text := texts.get("txt"), str):
            facts["tags"] = tags_of_text(text, basename(dirname(uri)))
        return facts

    def _file(self, uri: str, suffixes: tuple[str, ...]) -> FileEntry | None:
        stem = stem_of(uri)
        for name in (uri, stem):
            for suffix in suffixes:
                entry = self._listed.get(name + suffix)
                if entry is not None and (name == uri or self._count(stem) == 1):
                    return entry
                if entry is not None:
                    why = SideFileError("several pictures have its name")
                    self._reader.notes.unreadable(f"{suffix} file", why, entry.uri)
        return None

    def _count(self, stem: str) -> int:
        if self._pictures is None:
            self._pictures = Counter(stem_of(uri) for uri in self._listed if is_picture(uri))
        return self._pictures[stem]

    @staticmethod
    def _read(entry: FileEntry) -> str | SideFileError:
        if entry.size > MOST_SIDE_BYTES:
            return SideFileError(f"a side file of {entry.size:,} bytes is not read")
        try:
            return decoded(storage.read_bytes(entry.uri, MOST_SIDE_BYTES))
        except DataError as error:
            if storage.is_s3(entry.uri) and not storage.is_wrong_address(error):
                raise
            return SideFileError(str(error))


def tags_of_text(text: str, folder: str) -> list[str] | None:
    """The tags of a caption file that lists them, and not of one that is a sentence."""
    tags = comma_words(text)
    least = _LEAST_TAGS_OF_KOHYA if _KOHYA_FOLDER.fullmatch(folder) else _LEAST_TAGS
    if len(tags) < least or "\n" in text.strip():
        return None
    is_list = all(len(tag.split()) <= _MOST_WORDS and not tag.endswith((".", "!", "?")) for tag in tags)
    return tags if is_list else None
