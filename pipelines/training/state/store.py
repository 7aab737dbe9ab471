"""The states of a run on disk or on S3: written whole, described by hashes, and the newest whole one found again.

Below an output, `states/<images seen>/` holds the files of one state and, written last, `state.json` with the bytes and
sha256 of each. On disk a state is made under a temporary name, synced and renamed; on S3 a folder without its document
is no state. Two are kept, so that one which was damaged afterwards leaves another to go on from. Hashing takes half a
second for each GB (SHA-256 at 2 GB/s a core, the files of a state side by side). States of version 0.1, in the folders
`ray/checkpoint_*` of Ray Train, have no hashes; they are found behind those of today.
"""

import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from safetensors import SafetensorError

from dataprep.documents import parse_document
from dataprep.errors import DataError
from dataprep.storage.store import (
    delete_files,
    download_directory,
    exists,
    flush_to_disk,
    is_s3,
    join,
    list_files,
    list_folder,
    read_bytes,
    remove,
    upload_directory,
    write_whole,
)
from model.weights.reading import sha256
from pipelines.common.errors import PipelineError
from pipelines.training.state.history import HISTORY, parsed_history

FOLDER, DOCUMENT, FORMAT = "states", "state.json", 1
KEPT = 2  # whole states
_EARLIER = "ray"  # where Ray Train kept them
_NAME, _EARLIER_NAME = re.compile(r"\d{12}"), re.compile(r"checkpoint_.+")
_PARTIAL = ".partial"
_NEEDED = ("optimizer.safetensors", HISTORY)  # of a state without a document


class _File(TypedDict):
    """A file of a state as it was written."""

    bytes: int
    sha256: str


class _Described(TypedDict):
    """What DOCUMENT says of a state."""

    format: int
    images_seen: int
    files: dict[str, _File]


@dataclass(frozen=True)
class Kept:
    """A state that is there: its address, the images seen where its name says so, and what is wrong with it at first
    sight ("" where nothing is): a file that is missing, or of another size than was written."""

    uri: str
    images_seen: int | None
    problem: str = ""


class StateStore:
    """The states of the run whose output is `out`. `damaged`: addresses of those that were found not to be whole."""

    def __init__(self, out: str) -> None:
        self.out, self.folder = out, join(out, FOLDER)
        self.damaged: set[str] = set()

    def kept(self) -> list[Kept]:
        """All states, the newest first, each looked at without reading its weights."""
        newest, earlier = _folders(self.folder, _NAME), join(self.out, _EARLIER)
        oldest = _folders(earlier, _EARLIER_NAME)
        return [Kept(join(self.folder, name), int(name), _problem(join(self.folder, name))) for name in newest] + [
            Kept(join(earlier, name), None, _problem_without_document(join(earlier, name))) for name in oldest
        ]

    def images_seen(self) -> int:
        """Of the newest state that is whole at first sight; 0 where there is none."""
        state = next((state for state in self.kept() if not state.problem), None)
        if state is None or state.images_seen is not None:
            return 0 if state is None else state.images_seen or 0
        # Of version 0.1: no name says it.
        damaged = f"{state.uri}: {HISTORY} is damaged"
        history = parsed_history(read_bytes(join(state.uri, HISTORY)), damaged)
        if not history:
            raise PipelineError(f"{damaged}: it is empty")
        return int(history[-1]["images_seen"])

    def write(self, images_seen: int, fill: Callable[[Path], None]) -> str:
        """Keep what `fill` writes into an empty folder as the state at `images_seen`; the address.

        A state of the same name is replaced, and all but the newest KEPT whole states are deleted. Raises PipelineError
        where it cannot be written, which names the place and leaves nothing there.
        """
        target = join(self.folder, f"{images_seen:012d}")
        try:
            if is_s3(self.out):
                _write_s3(target, images_seen, fill)
            else:
                _write_disk(Path(target), images_seen, fill)
        except (OSError, SafetensorError, DataError) as error:
            made_in = f", or in {tempfile.gettempdir()} where it is made" if is_s3(self.out) else ""
            raise PipelineError(
                f"{target}: the state at {images_seen:,} images cannot be written ({_reason(error)}). "
                f"Make room there{made_in}, then run the same command again: it goes on from the last state there"
            ) from error
        self.damaged.discard(target)
        self._prune()
        return target

    def retire(self, state: Kept) -> None:
        """Delete a state from which no run can go on."""
        _delete(state.uri)

    def sweep(self) -> None:
        """Remove what a write that was killed left behind; the output must be locked."""
        if not is_s3(self.out) and os.path.isdir(self.folder):
            for entry in os.scandir(self.folder):
                if entry.name.endswith(_PARTIAL):
                    shutil.rmtree(entry.path)

    @contextmanager
    def fetched(self, state: Kept) -> Iterator[Path]:
        """A state as a local folder, whole: PipelineError where a file is not what was written."""
        if state.problem:
            raise PipelineError(f"{state.uri}: {state.problem}")
        if not is_s3(state.uri):
            check_files(Path(state.uri))
            yield Path(state.uri)
            return
        with tempfile.TemporaryDirectory(prefix="irodori-state-") as folder:
            download_directory(state.uri, Path(folder))
            check_files(Path(folder))
            yield Path(folder)

    def _prune(self) -> None:
        """Delete all states but the newest whole ones; those of version 0.1 stay."""
        own = [state for state in self.kept() if state.images_seen is not None]
        whole = [state.uri for state in own if not state.problem and state.uri not in self.damaged]
        for state in own:
            if state.uri not in whole[:KEPT]:
                _delete(state.uri)


def all_damaged(out: str, problems: Mapping[str, str]) -> PipelineError:
    """What to say where no state can be gone on from: address -> what is wrong with it."""
    found = "; ".join(f"{uri.removeprefix(out).lstrip('/')}: {problem}" for uri, problem in problems.items())
    return PipelineError(
        f"no state in {out} is whole ({found}). Put one back from a copy, or delete "
        f"{join(out, FOLDER)} to begin again from the start"
    )


def check_files(folder: Path) -> None:
    """Whether a state's files are those that were written, byte by byte; nothing is known of those of version 0.1.

    Raises PipelineError that names the file.
    """
    if not (folder / DOCUMENT).exists():
        return
    document = _document((folder / DOCUMENT).read_bytes(), str(folder))
    with ThreadPoolExecutor(len(document)) as threads:
        found = threads.map(sha256, [folder / name for name in document])
        for (name, described), hashed in zip(document.items(), found, strict=True):
            if hashed != described["sha256"]:
                raise PipelineError(f"{folder}: {name} is damaged: its sha256 is not the one it was written with")


def _folders(uri: str, name: re.Pattern[str]) -> list[str]:
    """The names of the folders in one, the last first; on S3 some servers list those that are empty, which are none."""
    found = sorted((folder for folder in list_folder(uri)[0] if name.fullmatch(folder)), reverse=True)
    return [folder for folder in found if list_files(join(uri, folder))] if is_s3(uri) else found


def _problem(uri: str) -> str:
    if not exists(join(uri, DOCUMENT)):
        return f"{DOCUMENT} is missing"
    try:
        document = _document(read_bytes(join(uri, DOCUMENT)), uri)
    except (PipelineError, DataError) as error:
        return str(error).removeprefix(f"{uri}: ").removeprefix(f"{uri}/")
    sizes = {entry.uri.removeprefix(f"{uri}/"): entry.size for entry in list_files(uri)}
    for name, described in document.items():
        if name not in sizes:
            return f"{name} is missing"
        if sizes[name] != described["bytes"]:
            return f"{name} has {sizes[name]:,} bytes instead of {described['bytes']:,}"
    return ""


def _problem_without_document(uri: str) -> str:
    names = {entry.uri.removeprefix(f"{uri}/") for entry in list_files(uri)}
    weights = () if "model/model.safetensors" in names else ("trained.safetensors",)
    return next((f"{name} is missing" for name in (*_NEEDED, *weights) if name not in names), "")


def _document(data: bytes, folder: str) -> Mapping[str, _File]:
    """The files of a state by name; DocumentError or PipelineError for what is no such document."""
    damaged = f"{folder}: {DOCUMENT} is damaged"
    stored = parse_document(data, _Described, damaged)
    if stored["format"] != FORMAT:
        raise PipelineError(f"{folder}: {DOCUMENT} is of format {stored['format']}, which another version wrote")
    named = Path(folder).name
    if not stored["files"] or (_NAME.fullmatch(named) and stored["images_seen"] != int(named)):
        raise PipelineError(f"{damaged}: it describes another state")
    return stored["files"]


def _describe(folder: Path, images_seen: int) -> bytes:
    """The document of the files in a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(max(len(paths), 1)) as threads:
        hashes = list(threads.map(sha256, paths))
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": hashed}
        for path, hashed in zip(paths, hashes, strict=True)
    }
    return json.dumps({"format": FORMAT, "images_seen": images_seen, "files": files}, indent=2).encode()


def _write_disk(target: Path, images_seen: int, fill: Callable[[Path], None]) -> None:
    """Made under another name, synced, described, and only then named."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _aside(target)
    partial.mkdir()
    try:
        fill(partial)
        (partial / DOCUMENT).write_bytes(_describe(partial, images_seen))
        for path in (*partial.rglob("*"), partial):
            flush_to_disk(path)
        if target.exists():  # made before, or damaged: a folder cannot be renamed onto another that holds files
            _delete(str(target))
        os.rename(partial, target)
        flush_to_disk(target.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_s3(target: str, images_seen: int, fill: Callable[[Path], None]) -> None:
    """Made on the local disk; without its document a folder is no state, so that goes first and comes last."""
    with tempfile.TemporaryDirectory(prefix="irodori-state-") as scratch:
        fill(Path(scratch))
        document = _describe(Path(scratch), images_seen)
        _delete(target)
        upload_directory(Path(scratch), target)
        write_whole(join(target, DOCUMENT), document)


def _delete(uri: str) -> None:
    """Delete a state so that one which is half deleted is taken for none."""
    if is_s3(uri):
        remove(join(uri, DOCUMENT))
        delete_files([entry.uri for entry in list_files(uri)])
        return
    aside = _aside(Path(uri))
    os.rename(uri, aside)
    shutil.rmtree(aside)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}{_PARTIAL}")


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.strip().splitlines()[0]
