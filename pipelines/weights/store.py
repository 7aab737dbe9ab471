"""The weight store: a folder or s3:// prefix with the networks that learned operators take, each by name and sha256.

For a network of model.catalogue it holds `<name>.safetensors` (float32, under the network's own keys), companions as
`<name>.<companion>`, and `<name>.json`, which says where they came from and is written last. A build asks `stored` for
the hashes, which reads the json alone; its workers call `load_network`, which verifies every byte against them.
What is put in is checked by pipelines.weight_sources.
"""

import csv
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataprep.documents import DocumentError, parse_json, read_document
from dataprep.storage import s3
from dataprep.storage.store import explained, file_entry, is_s3, join, list_folder
from model.precision import AnyPrecision, dtype_of, spelled_out
from model.weights.catalogue import CATALOGUE, Published
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError, nearest

if TYPE_CHECKING:
    import torch
    from torch import nn

WEIGHTS = "IRODORI_WEIGHTS"
MOST_COMPANION_BYTES = 16 * 2**20
_MOST_RECORD_BYTES = 2**16
_OTHER = ":other"  # behind the hash of weights whose published hash is known and is another one


@dataclass(frozen=True)
class StoredWeights:
    """What `<name>.json` says. `sha256` stands for all that the network is built from: the hash of the safetensors, or
    where there are companions, of the hashes of all files. `known_sha256`: whether the source file's hash is the
    published one, None where none is known."""

    name: str
    sha256: str
    files: Mapping[str, str]  # file name in the store -> sha256
    source: str
    source_sha256: str
    known_sha256: bool | None
    licence: str
    format: str  # of the source: safetensors, torch, or "pip package"

    @property
    def recorded(self) -> str:
        """What a recipe records of them; `recorded_hashes` reads it."""
        return f"{self.name}={self.sha256}{_OTHER if self.known_sha256 is False else ''}"

    def text(self) -> bytes:
        """As `<name>.json` keeps it."""
        return json.dumps(asdict(self), indent=2).encode() + b"\n"


def recorded_hashes(notes: Iterable[str]) -> tuple[dict[str, str], set[str]]:
    """Name -> sha256 of the weights that a recipe notes, and the names of those that are not the published ones."""
    said = dict(note.split("=") for note in notes)
    others = {name for name, sha256 in said.items() if sha256.endswith(_OTHER)}
    return {name: sha256.removesuffix(_OTHER) for name, sha256 in said.items()}, others


def store_address(given: str | None = None) -> str:
    """The store: the one given, else $IRODORI_WEIGHTS, else a folder in the user's cache."""
    return absolute(given or os.environ.get(WEIGHTS) or str(cache_folder() / "weights"))


def cache_folder() -> Path:
    """Where this user's programs may keep what can be had again. Raises PipelineError where the user has no home."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "irodori"
    try:
        return Path.home() / ".cache" / "irodori"
    except RuntimeError as error:
        raise PipelineError(
            "this user has no home directory for weights: name a store by --store or IRODORI_WEIGHTS, "
            "or a folder for all caches by XDG_CACHE_HOME"
        ) from error


def published(name: str) -> Published:
    """The catalogue's entry. Raises SettingsError, naming the nearest, for a name that it lacks."""
    if name not in CATALOGUE:
        raise SettingsError(f"there is no network {name!r}: {nearest(name, CATALOGUE)}")
    return CATALOGUE[name]


def stored(name: str, store: str | None = None) -> StoredWeights:
    """What the store holds under `name`. Raises PipelineError, naming the command that mends it, where it does not."""
    found = find_stored(name, store)
    if found is None:
        raise PipelineError(f"the weights {name} are not in {store_address(store)}: {command_to_get(name, store)}")
    return found


def find_stored(name: str, store: str | None = None) -> StoredWeights | None:
    """What the store holds under `name`, None where it holds nothing. Raises PipelineError for a damaged record."""
    published(name)
    uri = join(store_address(store), f"{name}.json")
    if file_entry(uri) is None:
        return None
    try:
        record = read_document(uri, StoredWeights, _MOST_RECORD_BYTES)
        wanted = {weights_name(name), *(f"{name}.{companion}" for companion in published(name).companions)}
        fits = record.name == name and set(record.files) == wanted and record.sha256 == combined_sha256(record.files)
    except DocumentError:
        fits = False
    if not fits:
        raise PipelineError(f"{uri}: no record of these weights, or a damaged one: {command_to_get(name, store)}")
    return record


def stored_file(name: str, store: str | None = None) -> Path:
    """The store's weight file on this machine, verified; for what is loaded by another than `load_network`.

    Raises PipelineError, naming the command that mends it, where it is not there or damaged.
    """
    record, file = stored(name, store), weights_name(name)
    return _verified(store_address(store), file, record.files[file], name)


def all_stored(store: str | None = None) -> dict[str, StoredWeights]:
    """Everything of the catalogue that the store holds, by name."""
    _, files = list_folder(store_address(store))
    there = {file.uri.rpartition("/")[2] for file in files}
    return {name: stored(name, store) for name in CATALOGUE if f"{name}.json" in there}


def command_to_get(name: str, store: str | None = None) -> str:
    """The command that brings the weights, in one phrase."""
    entry, option = CATALOGUE[name], f" --store {store}" if store else ""
    if entry.package:
        return f"irodori weights get {name}{option}"
    address = entry.hub[0] if entry.hub else f"ADDRESS (published: {entry.elsewhere})"
    return f"irodori weights add {name} {address}{option}"


def combined_sha256(files: Mapping[str, str]) -> str:
    """One hash for all files: the file's own where there is but one."""
    if len(files) == 1:
        return next(iter(files.values()))
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in sorted(files.items())).encode()).hexdigest()


def load_network(
    name: str, sha256: str, store: str | None = None, device: str = "cpu", precision: AnyPrecision = "float32"
) -> "nn.Module":
    """The network in evaluation mode with the stored weights, one for each process; its parameters take no gradient.

    Half precision is used only where the network says that it holds (`half_precision`), else it stays float32. Raises
    PipelineError where the store's weights are others than `sha256`, or damaged.
    """
    return _loaded(name, sha256, store_address(store), device, precision)


@cache
def _loaded(name: str, sha256: str, store: str, device: str, precision: AnyPrecision) -> "nn.Module":

    from model.weights.reading import read_tensors

    record = stored(name, store)
    if record.sha256 != sha256:
        raise PipelineError(
            f"the weights {name} in {store} are {record.sha256[:12]}… and not {sha256[:12]}…, which are asked for"
        )
    files = {file: _verified(store, file, digest, name) for file, digest in record.files.items()}
    companions = {file: files[f"{name}.{file}"].read_bytes() for file in published(name).companions}
    path = files[weights_name(name)]
    network = _filled(name, companions, read_tensors(path), path).eval().requires_grad_(False)
    faster = getattr(network, "fused", None)  # the same function in fewer operations, under keys of its own
    network = network if faster is None else faster()
    dtype = dtype_of(precision if spelled_out(precision) in getattr(network, "half_precision", ()) else "fp32")
    return network.to(device, dtype)


def _filled(
    name: str, companions: Mapping[str, bytes], tensors: Mapping[str, "torch.Tensor"], path: Path
) -> "nn.Module":
    """The network with these tensors; initial values of 400 million parameters would take 10 s to draw."""
    import torch

    from model.weights.reading import check_tensors, load_strictly

    with torch.device("meta"):
        network = build_network(name, companions)
    check_tensors(network.state_dict(), tensors, path)
    # Copied to addresses that kernels like: those in the mapped file change the last bit, and cost time.
    network.load_state_dict({key: tensor.clone() for key, tensor in tensors.items()}, assign=True)
    if any(tensor.is_meta for module in network.modules() for tensor in _tensors_of(module)):
        network = build_network(name, companions)  # it has constants that no file holds
        load_strictly(network, tensors, path)
    return network


def _tensors_of(module: "nn.Module") -> "Iterator[torch.Tensor]":
    """A module's parameters, buffers, and tensors that it keeps beside them."""
    import torch

    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)
    yield from (value for value in vars(module).values() if isinstance(value, torch.Tensor))


def build_network(name: str, companions: Mapping[str, bytes]) -> "nn.Module":
    """The catalogue's network without weights, on torch's default device; companions by their published name."""
    module, _, function = published(name).network.partition(":")
    build = getattr(import_module(module), function)
    if not published(name).companions:
        network: nn.Module = build()
        return network
    network = build({file: parse_companion(file, data) for file, data in companions.items()})
    return network


def parse_companion(file: str, data: bytes) -> Any:
    """What a companion says: an object of a .json, rows as mappings of a .csv. Raises PipelineError."""
    try:
        if file.endswith(".json"):
            return parse_json(data, file)
        return list(csv.DictReader(data.decode().splitlines(), strict=True))
    except (DocumentError, ValueError, csv.Error) as error:
        raise PipelineError(f"{file}: not readable ({error})") from error


def weights_name(name: str) -> str:
    """The name of the weight file in the store."""
    return f"{name}.safetensors"


def _verified(store: str, file: str, sha256: str, name: str) -> Path:
    """The file on this machine with that content: the store's own on disk, a copy, kept by hash, of one on S3."""
    from model.weights.reading import sha256 as sha256_of

    uri, path = join(store, file), cache_folder() / "fetched" / sha256 / file if is_s3(store) else Path(store) / file
    if is_s3(store):
        with _one_at_a_time(path.parent):
            if not path.is_file() or sha256_of(path) != sha256:
                download(uri, path)
    elif not path.is_file():
        raise PipelineError(f"{uri}: this file of the store is missing: {command_to_get(name, store)}")
    if (found := sha256_of(path)) != sha256:
        raise PipelineError(
            f"{uri}: damaged, its sha256 is {found[:12]}… and not {sha256[:12]}…: {command_to_get(name, store)}"
        )
    return path


def download(uri: str, path: Path) -> None:
    """Copy an object of S3 to a local path, whole or not at all. Raises DataError."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        where = s3.bucket_and_key(uri)
        with explained(uri):
            s3.client().download_file(where["Bucket"], where["Key"], str(temporary))
        os.replace(temporary, path)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Processes of one machine that want the same file wait for the first, instead of all fetching it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
