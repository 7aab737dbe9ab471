"""What lies where in a tar or zip archive, from its headers alone, and one member's bytes by one range read.

Archives that were joined end to end are read to the last byte: a tar goes on behind its end mark (as with
`tar --ignore-zeros`), and before a zip another one may stand. What cannot be read is a last, refused member without a
name, which says at which byte. Nothing is ever unpacked to disk. An archive is hostile until shown otherwise: a link, a
device, a name that leaves the archive, a member larger than MOST_BYTES or than the archive, overlapping zip members
(the way to a bomb that needs no nesting: D. Fifield, "A better zip bomb", WOOT 2019) and encryption become members that
are `refused`. Deflated members are inflated to the size that the directory states and not one byte further.
"""

import io
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import pairwise

from dataprep.sources.items import MOST_BYTES, RefusedItem, printable
from dataprep.storage import store as storage
from dataprep.storage.store import FileEntry

TAR, ZIP = ".tar", ".zip"
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
_MOST_AT_ONCE = 64 << 20  # of headers: a directory of some half a million zip members
_BLOCK = 64 << 10  # read ahead: small members and their side files come with their headers
_MOST_ZEROS = 256 << 20  # behind the end mark of a tar, before another one
_MOST_ZIPS = 1000  # joined end to end
_PACKED_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd
_COMPRESSED = "a compressed tar cannot be read by parts; unpack it to a plain .tar"
_ZIP_END, _ZIP_END_BYTES = b"PK\5\6", 22  # the record at the end of a zip, without the comment that follows it
_LOCAL_HEADER, _MOST_EXTRA = 30, 65_535  # bytes before a zip member's name; of what may follow the name
_OUTSIDE = re.compile(r"^([/\\]|[A-Za-z]:)|(^|[/\\])\.\.([/\\]|$)")


@dataclass(frozen=True)
class Member:
    """One file of an archive. For a zip `offset` and `size` span its local header too, and `packed` is the size in the
    archive, `method` 0 (stored) or 8 (deflated). `part` counts the archives that were joined to this one."""

    name: str
    offset: int = 0
    size: int = 0
    length: int = 0  # of the content
    method: int | None = None
    packed: int = 0
    crc: int = 0
    refused: str | None = None
    part: int = 0

    def place(self) -> dict[str, int]:
        """What `member_bytes` needs, as JSON."""
        tar = {"offset": self.offset, "size": self.size}
        if self.method is None:
            return tar
        return tar | {"length": self.length, "method": self.method, "packed": self.packed, "crc": self.crc}


class Archive:
    """A tar or zip archive, of which headers and small members are read by blocks."""

    def __init__(self, entry: FileEntry) -> None:
        self.uri, self.version = entry.uri, f"{entry.size}:{entry.version}"
        self._file = _RangeReader(entry)

    def members(self) -> Iterator[Member]:
        """The files in their order. What makes the rest unreadable is a last, refused member without a name."""
        name = self.uri.lower()
        if name.endswith(COMPRESSED_TARS):
            yield Member("", refused=_COMPRESSED)
            return
        try:
            yield from _zip_members(self._file) if name.endswith(ZIP) else _tar_members(self._file)
        except RefusedItem as error:
            yield Member("", refused=str(error))

    def read(self, member: Member) -> bytes:
        """The content of a small member. Raises RefusedItem."""
        if member.refused:
            raise RefusedItem(member.refused)
        self._file.seek(member.offset)
        return content(self._file.read(member.size), member.place())


def member_bytes(archive: str, place: dict[str, int]) -> bytes:
    """The content of a member, by one range read. Raises RefusedItem where the bytes are not what was stated."""
    if place["size"] > MOST_BYTES + _LOCAL_HEADER + 2 * _MOST_EXTRA:
        raise RefusedItem(f"the member has {place['size']:,} bytes, more than the {MOST_BYTES:,} that are read")
    return content(storage.read_range(archive, place["offset"], place["size"]), place)


def content(data: bytes, place: dict[str, int]) -> bytes:
    """The content of a member from the bytes at its place."""
    if "method" not in place:
        if len(data) != place["size"]:
            raise RefusedItem("the archive ends inside this member")
        return data
    if data[:4] != b"PK\3\4" or len(data) < _LOCAL_HEADER:
        raise RefusedItem("there is no zip member where the directory says")
    start = _LOCAL_HEADER + sum(struct.unpack("<HH", data[26:30]))
    packed = data[start : start + place["packed"]]
    if len(packed) != place["packed"]:
        raise RefusedItem("the archive ends inside this member")
    inflated = _inflated(packed, place["length"]) if place["method"] else packed
    if len(inflated) != place["length"] or zlib.crc32(inflated) != place["crc"]:
        raise RefusedItem("the member is not what the zip directory states (size or checksum)")
    return inflated


def _inflated(packed: bytes, length: int) -> bytes:
    """At most one byte more than `length`, whatever the data would grow to."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, length + 1)
    except zlib.error as error:
        raise RefusedItem(f"the member cannot be inflated: {error}") from error


class _RangeReader:
    """An archive as a file for reading headers: blocks are fetched by range, and no single read is large."""

    def __init__(self, entry: FileEntry) -> None:
        self.uri, self.size = entry.uri, entry.size
        self._at, self._start, self._block = 0, 0, b""

    def first(self, size: int) -> "_RangeReader":
        """The first bytes of it, as a file of their own."""
        return self if size == self.size else _RangeReader(FileEntry(self.uri, size))

    def read(self, size: int = -1) -> bytes:
        left = max(0, self.size - self._at)
        size = left if size is None or size < 0 else min(size, left)
        if not size:
            return b""
        if size > _MOST_AT_ONCE:
            raise RefusedItem(f"its headers ask for {size:,} bytes at once")
        if not self._start <= self._at <= self._at + size <= self._start + len(self._block):
            self._start, self._block = self._at, storage.read_range(self.uri, self._at, max(size, _BLOCK))
        data = self._block[self._at - self._start :][:size]
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing stays open between reads."""


def _tar_members(file: _RangeReader) -> Iterator[Member]:
    """The members of a tar, and of those that were joined to it."""
    if file.read(8).startswith(_PACKED_MAGIC):
        raise RefusedItem(_COMPRESSED)
    start: int | None = 0
    part = 0
    while start is not None:
        end = yield from _one_tar(file, start, part)
        if end == start and part:
            raise RefusedItem(f"what stands behind its end, from byte {end:,} on, is no tar archive and is not read")
        file.seek(end)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0") or file.tell() < end + tarfile.BLOCKSIZE:
            raise RefusedItem(f"the tar archive is cut or damaged at byte {end:,}; what follows is lost")
        start, part = _behind_zeros(file, end + tarfile.BLOCKSIZE), part + 1


def _one_tar(file: _RangeReader, start: int, part: int) -> Generator[Member, None, int]:
    """The members up to the first block that is no header; returns where that is."""
    end = start
    file.seek(start)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:  # type: ignore[call-overload]
            while (info := tar.next()) is not None:
                tar.members.clear()  # it would keep them all
                if not info.isdir():
                    yield _tar_member(info, file.size, part)
                if tar.offset <= end:
                    raise RefusedItem(f"the tar archive goes in circles at byte {end:,}")
                end = tar.offset
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise RefusedItem(f"not a whole tar archive ({error}); what follows byte {end:,} is lost") from error
    return end


def _behind_zeros(file: _RangeReader, start: int) -> int | None:
    """Where the first block stands that is not all zeros; None where there is none up to the end."""
    at = start
    file.seek(at)
    while block := file.read(_BLOCK if at == start else 16 * _BLOCK):
        filled = len(block) - len(block.lstrip(b"\0"))
        if filled < len(block):
            return at + filled - filled % tarfile.BLOCKSIZE
        at += len(block)
        if at - start > _MOST_ZEROS and at < file.size:
            raise RefusedItem(
                f"behind its end, from byte {start:,} on, stand more than {_MOST_ZEROS >> 20} MiB of zeros; "
                f"what may follow byte {at:,} is not read"
            )
    return None


def _tar_member(info: tarfile.TarInfo, archive_bytes: int, part: int) -> Member:
    name = printable(info.name.removeprefix("./"))
    kinds = {"a link": info.issym() or info.islnk(), "a sparse file": info.issparse()}
    kinds |= {"a device or pipe": not info.isreg() and not any(kinds.values())}
    why = next((kind for kind, found in kinds.items() if found), None)
    why = why and f"{why}, not a plain file"
    if info.size < 0 or info.offset_data + info.size > archive_bytes:
        why = why or "the archive ends inside this member"
    why = why or _untrusted(name, info.size)
    return Member(name, info.offset_data, info.size, info.size, refused=why, part=part)


def _zip_members(file: _RangeReader) -> Iterator[Member]:
    """The members of a zip after those of the zips that it was joined to."""
    behind, lost = _behind_zip(file), ""
    zips = [_one_zip(file, file.size)]
    while end := _zip_before(file, zips[-1]):
        if len(zips) == _MOST_ZIPS:
            lost = f"more than {_MOST_ZIPS:,} zip archives are joined; the members before byte {end:,} are not read"
            break
        try:
            zips.append(_one_zip(file, end))
        except RefusedItem:
            lost = f"what stands before its first member, up to byte {end:,}, is no whole zip archive and is not read"
            break
    infos = [(part, info) for part, some in enumerate(reversed(zips)) for info in some if not info.is_dir()]
    starts = sorted(info.header_offset for _, info in infos)
    ends = dict(pairwise(starts)) | {start: start for start, next_ in pairwise(starts) if start == next_}
    for part, info in infos:
        yield _zip_member(info, ends.get(info.header_offset, file.size), file.size, part)
    for why in (lost, behind):
        if why:
            yield Member("", refused=why)


def _one_zip(file: _RangeReader, size: int) -> list[zipfile.ZipInfo]:
    """The directory of the zip that ends within the first `size` bytes."""
    try:
        with zipfile.ZipFile(file.first(size)) as archive:  # type: ignore[arg-type]
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error) as error:
        raise RefusedItem(f"not a whole zip archive: {error}") from error


def _zip_before(file: _RangeReader, infos: list[zipfile.ZipInfo]) -> int:
    """Where a zip ends that stands before these members; 0 where there is none (a program may, that unpacks itself)."""
    start = min((info.header_offset for info in infos), default=0)
    file.seek(0)
    return start if start and file.read(4) == b"PK\3\4" else 0


def _behind_zip(file: _RangeReader) -> str:
    """What is not read because it stands behind the end record and its comment; nothing in most zips."""
    file.seek(max(0, file.size - _ZIP_END_BYTES))
    if (last := file.read()).startswith(_ZIP_END) and last.endswith(b"\0\0"):
        return ""
    start = max(0, file.size - _ZIP_END_BYTES - 65_535)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(_ZIP_END)
    if at < 0 or at + _ZIP_END_BYTES > len(tail):
        return ""
    after = at + _ZIP_END_BYTES + int.from_bytes(tail[at + 20 : at + 22], "little")
    if not tail[after:].strip(b"\0"):
        return ""
    return f"what stands behind its end, from byte {start + after:,} on, belongs to no member and is not read"


def _zip_member(info: zipfile.ZipInfo, end: int, archive_bytes: int, part: int) -> Member:
    """The member whose bytes lie before `end`, where the next one (or what is after the last one) begins."""
    name, start = printable(info.filename.removeprefix("./")), info.header_offset
    least = _LOCAL_HEADER + len(info.orig_filename.encode("utf-8", "replace")) + info.compress_size
    why = None
    if info.flag_bits & 0x1:
        why = "encrypted"
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        why = f"packed by method {info.compress_type}; stored and deflated members are read"
    elif stat.S_ISLNK(info.external_attr >> 16):
        why = "a link, not a plain file"
    elif start < 0 or start + _LOCAL_HEADER + info.compress_size > archive_bytes:
        why = "the archive ends inside this member"
    elif start + _LOCAL_HEADER + info.compress_size > end:
        why = "overlaps another member"
    return Member(
        name,
        offset=start,
        size=max(0, min(end - start, least + _MOST_EXTRA)),
        length=info.file_size,
        method=info.compress_type,
        packed=info.compress_size,
        crc=info.CRC,
        refused=why or _untrusted(name, max(info.file_size, info.compress_size)),
        part=part,
    )


def _untrusted(name: str, length: int) -> str | None:
    if _OUTSIDE.search(name):
        return "its name leaves the archive"
    if length > MOST_BYTES:
        return f"it states {length:,} bytes, more than the {MOST_BYTES:,} that are read"
    return None
