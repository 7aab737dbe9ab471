"""Bytes at an address: a local path or `s3://bucket/prefix`, with the same few verbs and the same errors for both.

Everything is written whole or not at all: a temporary name and a rename on disk, one put on S3. `create_exclusive` is
the only compare-and-set that the corpus needs (a hard link on disk, `If-None-Match: *` on S3). The S3 server and how
long it is waited for are those of dataprep.storage.s3; failures become errors in dataprep.storage.failures.
"""

import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore import exceptions as aws
from pyarrow import fs

from dataprep.errors import DataError
from dataprep.storage import s3
from dataprep.storage.addresses import check_form
from dataprep.storage.addresses import is_s3 as is_s3
from dataprep.storage.failures import MISSING
from dataprep.storage.failures import explained as explained
from dataprep.storage.failures import is_wrong_address as is_wrong_address
from dataprep.storage.failures import patiently as patiently
from dataprep.storage.s3 import wait_out_outages as wait_out_outages

_DELETED_AT_ONCE = 1000  # the most that one S3 request takes
_SHOWN_NAME = 200  # bytes: with what is added less than the 255 of most file systems
_PARTIAL = ".partial"  # names that end so are unfinished writes: never listed, never read

_BROKEN_OFF = (aws.ResponseStreamingError, aws.IncompleteReadError, aws.ReadTimeoutError)
_BEYOND_END = {"416", "InvalidRange"}
_EXISTS_ALREADY = {"412", "PreconditionFailed", "409", "ConditionalRequestConflict"}


@dataclass(frozen=True, order=True, slots=True)
class FileEntry:
    """One file of a listing: address, size in bytes, and a mark that changes when the content does."""

    uri: str
    size: int
    version: str = ""  # modification time in ns on disk, ETag on S3
    modified_s: float = field(default=0.0, compare=False)  # seconds since 1970, by the store's clock


def join(uri: str, *parts: str) -> str:
    """`uri/part/part`; parts are relative and use '/'. Raises DataError for the empty address, which would be the
    root."""
    if not uri:
        check_form(uri)
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts)])


def read_bytes(uri: str, most: int | None = None) -> bytes:
    """The whole content. Raises DataError where there is nothing to read, or more than `most` bytes."""
    with explained(uri):
        if is_s3(uri):
            return _get(uri, most)
        _check_regular(uri)
        with open(uri, "rb") as file:
            _check_size(uri, os.fstat(file.fileno()).st_size, most)
            data = file.read(-1 if most is None else most + 1)
            _check_size(uri, len(data), most)
            return data


def read_range(uri: str, offset: int, length: int) -> bytes:
    """`length` bytes from `offset` on, in one request; fewer where the file ends before."""
    if offset < 0 or length < 0:
        raise ValueError(f"offset and length cannot be negative, got {offset} and {length}")
    if not length:
        return b""
    with explained(uri):
        if not is_s3(uri):
            _check_regular(uri)
            with open(uri, "rb") as file:
                file.seek(offset)
                return file.read(length)
        try:
            return _get(uri, Range=f"bytes={offset}-{offset + length - 1}")
        except aws.ClientError as error:
            if s3.code(error) in _BEYOND_END:
                return b""
            raise


def file_entry(uri: str) -> FileEntry | None:
    """The entry of one file, as a listing gives it; None where there is no such file."""
    with explained(uri):
        if not is_s3(uri):
            return _disk_entry(uri) if os.path.isfile(uri) else None
        if not s3.bucket_and_key(uri)["Key"]:
            return None  # a whole bucket
        try:
            head = s3.client().head_object(**s3.bucket_and_key(uri))
        except aws.ClientError as error:
            if s3.code(error) in MISSING:
                return None
            raise
        return FileEntry(uri, head["ContentLength"], head["ETag"], head["LastModified"].timestamp())


def write_whole(uri: str, data: bytes) -> None:
    """Write or replace: a reader sees the old content or the new, never a part."""
    with explained(uri):
        if is_s3(uri):
            s3.client().put_object(**s3.bucket_and_key(uri), Body=data)
            return
        with _temporary(Path(uri), data) as temporary:
            os.replace(temporary, uri)


def create_exclusive(uri: str, data: bytes) -> bool:
    """Write only if nothing is there: True for the one caller who did, False for everybody else."""
    with explained(uri):
        if is_s3(uri):
            return _put_if_absent(uri, data)
        with _temporary(Path(uri), data) as temporary:
            try:
                os.link(temporary, uri)  # fails where the name exists, unlike a rename
            except FileExistsError:
                return False
            return True


def remove(uri: str) -> None:
    """Delete a file; nothing happens where there is none."""
    with explained(uri):
        if is_s3(uri):
            s3.client().delete_object(**s3.bucket_and_key(uri))
        else:
            Path(uri).unlink(missing_ok=True)


def exists(uri: str) -> bool:
    """Whether a file (not a directory) is at this address."""
    with explained(uri):
        if not is_s3(uri):
            return Path(uri).is_file()
        if not s3.bucket_and_key(uri)["Key"]:
            return False
        try:
            s3.client().head_object(**s3.bucket_and_key(uri))
        except aws.ClientError as error:
            if s3.code(error) in MISSING:
                return False
            raise
        return True


def list_files(uri: str, linked: bool = False) -> list[FileEntry]:
    """All files below `uri`, sorted by address; nothing there gives an empty list. Raises DataError for a folder that
    cannot be read. `linked`: also what lies in folders that are links, as sources want it; never for deleting."""
    with explained(uri):
        return sorted(_list_s3(uri) if is_s3(uri) else _list_disk(Path(uri), linked=linked))


def list_folder(uri: str) -> tuple[list[str], list[FileEntry]]:
    """What lies directly in a folder, sorted: the names of its folders, and its files. Nothing there gives two empty
    lists."""
    folders: list[str] = []
    files: list[FileEntry] = []
    with explained(uri):
        if is_s3(uri):
            where, prefix = s3.bucket_and_prefix(uri)
            for page in s3.client().get_paginator("list_objects_v2").paginate(**where, Prefix=prefix, Delimiter="/"):
                folders += [item["Prefix"][len(prefix) : -1] for item in page.get("CommonPrefixes", [])]
                files += _page_entries(where["Bucket"], page)
        elif os.path.isdir(uri):
            for entry in os.scandir(uri):
                if entry.is_dir():
                    folders.append(entry.name)
                elif not entry.name.endswith(_PARTIAL) and (file := _disk_entry(entry.path)):
                    files.append(file)
    return sorted(folders), sorted(files)


def list_unfinished(uri: str) -> list[FileEntry]:
    """What writers that were killed left below `uri` on disk, sorted by address; S3 shows no unfinished write."""
    with explained(uri):
        return [] if is_s3(uri) else sorted(_list_disk(Path(uri), unfinished=True))


def delete_files(uris: Sequence[str]) -> None:
    """Delete files, all on one store; those that are gone already are no error. Deleted in order, S3 by thousands."""
    for start in range(0, len(uris), _DELETED_AT_ONCE):
        some = uris[start : start + _DELETED_AT_ONCE]
        with explained(some[0]):
            if is_s3(some[0]):
                _delete_s3(some)
                continue
            for uri in some:
                remove(uri)


def delete_folder(uri: str) -> None:
    """Delete every file below `uri`, and on disk the folders that are empty then."""
    delete_files([entry.uri for entry in list_files(uri)])
    if not is_s3(uri):
        for folder, _, _ in os.walk(uri, topdown=False):
            with suppress(OSError):  # somebody else has put something there
                os.rmdir(folder)


def copy_file(source: str, target: str) -> None:
    """Copy one file, whole or not at all; from S3 to S3 the server copies, nothing passes through here."""
    if not (is_s3(source) and is_s3(target)):
        write_whole(target, read_bytes(source))
        return
    where = s3.bucket_and_key(target)
    with explained(source):
        s3.client().copy(s3.bucket_and_key(source), where["Bucket"], where["Key"])


def arrow_filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """The address as pyarrow wants it, for reading parts of Parquet files; wrap its use in `explained`."""
    with explained(uri):
        if not is_s3(uri):
            if os.path.exists(uri):
                _check_regular(uri)
            return fs.LocalFileSystem(), uri
        return s3.arrow_filesystem(), uri.removeprefix("s3://")


def download_directory(uri: str, local: Path) -> Path:
    """A local directory with the files of `uri`: copied to `local` from S3, the directory itself where it is local."""
    check_form(uri)
    if not is_s3(uri):
        if not Path(uri).is_dir():
            raise DataError(f"{uri}: there is no such directory.")
        return Path(uri)
    entries = list_files(uri)
    if not entries:
        raise DataError(f"{uri}: there is nothing at this address.")
    for entry in entries:
        target = _target(local, entry.uri, uri)
        target.parent.mkdir(parents=True, exist_ok=True)
        where = s3.bucket_and_key(entry.uri)
        with explained(entry.uri):
            s3.client().download_file(where["Bucket"], where["Key"], str(target))
    return local


def _target(local: Path, key: str, folder: str) -> Path:
    """Where an object goes: S3 keys may hold what would lead out of the directory."""
    inside = key.removeprefix(folder.rstrip("/") + "/")
    if inside.startswith("/") or ".." in inside.split("/"):
        raise DataError(f"{key}: this name leads out of the directory that is downloaded to. Rename the object.")
    return local / inside


def upload_directory(local: Path, uri: str, last: str = "") -> None:
    """Copy every file below `local` to `uri`, each whole or not at all, in sorted order; `last`: the name of one that
    says that the others are there, and follows them."""
    check_form(uri)
    if not is_s3(uri) and local.resolve() == Path(uri).resolve():
        return
    for entry in sorted(list_files(str(local)), key=lambda entry: os.path.basename(entry.uri) == last):
        target = join(uri, os.path.relpath(entry.uri, local))
        with explained(target):
            if is_s3(uri):
                where = s3.bucket_and_key(target)
                s3.client().upload_file(entry.uri, where["Bucket"], where["Key"])
                continue
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            temporary = _unfinished_name(Path(target))
            try:
                shutil.copyfile(entry.uri, temporary)
                flush_to_disk(temporary)
                os.replace(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, would survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_reachable(uri: str) -> None:
    """Ask before work starts: DataError in one line for a dead endpoint, a wrong credential or a missing bucket.

    A server that answers is from now on waited for when it is away (`wait_out_outages`).
    """
    with explained(uri):
        if is_s3(uri):
            s3.client().list_objects_v2(Bucket=s3.bucket_and_key(uri)["Bucket"], MaxKeys=1)
            wait_out_outages()
        elif Path(uri).is_file():
            raise DataError(f"{uri}: this is a file where a directory is needed.")


@contextmanager
def _temporary(target: Path, data: bytes) -> Iterator[Path]:
    """A finished, synced file under a temporary name beside the target; gone afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _unfinished_name(target)
    try:
        with temporary.open("xb") as file:
            file.write(data)
        flush_to_disk(temporary)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _unfinished_name(target: Path) -> Path:
    """A name of its own beside the target, which it shows where there is room for both."""
    shown = target.name if len(os.fsencode(target.name)) <= _SHOWN_NAME else ""
    return target.with_name(f".{shown}.{uuid.uuid4().hex}{_PARTIAL}")


def _put_if_absent(uri: str, data: bytes) -> bool:
    try:
        s3.client().put_object(**s3.bucket_and_key(uri), Body=data, IfNoneMatch="*")
    except aws.ClientError as error:
        if s3.code(error) not in _EXISTS_ALREADY:
            raise
        # Where the request was repeated, it may be our own first one that is there.
        return error.response["ResponseMetadata"].get("RetryAttempts", 0) > 0 and _get(uri) == data
    return True


def _get(uri: str, most: int | None = None, attempts: int = s3.ATTEMPTS, **part: str) -> bytes:
    """The body of an object, or of a part of it; asked for again where it breaks off."""
    answer = s3.client().get_object(**s3.bucket_and_key(uri), **part)
    _check_size(uri, answer["ContentLength"], most)
    try:
        return bytes(answer["Body"].read())
    except _BROKEN_OFF:
        if attempts == 1:
            raise
        return _get(uri, most, attempts - 1, **part)


def _delete_s3(uris: Sequence[str]) -> None:
    where = [s3.bucket_and_key(uri) for uri in uris]
    keys = [{"Key": place["Key"]} for place in where]
    answer = s3.client().delete_objects(Bucket=where[0]["Bucket"], Delete={"Objects": keys, "Quiet": True})
    for refused in answer.get("Errors", []):
        raise DataError(f"s3://{where[0]['Bucket']}/{refused['Key']}: could not be deleted: {refused.get('Message')}")


def _list_disk(root: Path, unfinished: bool = False, linked: bool = False) -> Iterator[FileEntry]:
    listed = {Path(os.path.realpath(root))}
    for folder, folders, names in os.walk(root, onerror=_unlistable, followlinks=linked):
        if linked:
            folders[:] = [name for name in sorted(folders) if _is_unlisted(os.path.join(folder, name), listed)]
        for name in names:
            entry = _disk_entry(os.path.join(folder, name)) if name.endswith(_PARTIAL) == unfinished else None
            if entry is not None:
                yield entry


def _unlistable(error: OSError) -> None:
    """os.walk would take a folder that cannot be read for an empty one; one that is gone meanwhile is none."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        with explained(str(error.filename)):
            raise error


def _is_unlisted(folder: str, listed: set[Path]) -> bool:
    """Whether a folder is to be entered: a link only where it leads neither upwards nor to what is listed anyway."""
    if not os.path.islink(folder):
        return True
    target = Path(os.path.realpath(folder))
    upwards = target in Path(os.path.realpath(os.path.dirname(folder))).parents
    if upwards or not listed.isdisjoint({target, *target.parents}):
        return False
    listed.add(target)
    return True


def _disk_entry(path: str) -> FileEntry | None:
    """None where the file is gone: it may be renamed meanwhile. A dead link is listed too."""
    with suppress(FileNotFoundError):
        try:
            status = os.stat(path)
        except OSError:
            status = os.lstat(path)
        return FileEntry(path, status.st_size, str(status.st_mtime_ns), status.st_mtime)
    return None


def _list_s3(uri: str) -> Iterator[FileEntry]:
    where, prefix = s3.bucket_and_prefix(uri)
    for page in s3.client().get_paginator("list_objects_v2").paginate(**where, Prefix=prefix):
        yield from _page_entries(where["Bucket"], page)


def _page_entries(bucket: str, page: dict[str, Any]) -> Iterator[FileEntry]:
    for item in page.get("Contents", []):
        if not item["Key"].endswith("/"):
            yield FileEntry(
                f"s3://{bucket}/{item['Key']}", item["Size"], item["ETag"], item["LastModified"].timestamp()
            )


def _check_size(uri: str, size: int, most: int | None) -> None:
    if most is not None and size > most:
        raise DataError(f"{uri}: the file has {size:,} bytes, more than the {most:,} that are read.")


def _check_regular(uri: str) -> None:
    """Pipes and devices are never opened: they may wait or give bytes for ever."""
    mode = os.stat(uri).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DataError(f"{uri}: this is no regular file.")
