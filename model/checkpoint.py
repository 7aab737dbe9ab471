"""A checkpoint is a directory that says what it is: config.json beside model.safetensors, and ema.safetensors where a
moving average of the weights was kept.

Written whole or not at all (a temporary directory, synced, then a rename), and never with weights that are not finite.
Loading trusts nothing but the metadata: family, the file's sha256, every key and every number are checked, and what
does not fit is one clear ModelError.
"""

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from model.diffusion.noise import NoiseSchedule, PredictionType
from model.diffusion.sampling_settings import SamplingSettings
from model.errors import ModelError
from model.families.registry import family
from model.finite import check_weights
from model.setting import EPSILON, check_range
from model.typed_entries import check_types, json_entries
from model.weights.reading import load_strictly, read_tensors, sha256

WEIGHTS = "model.safetensors"
EMA = "ema.safetensors"
CONFIG = "config.json"
MOST_CONFIG_BYTES = 1 << 20
MOST_SIDE = 1 << 16  # pixels
# Of SamplingSettings: what a checkpoint may say of itself.
OWN_SAMPLING = ("sampler", "spacing", "steps", "guidance_scale")


@dataclass(frozen=True, kw_only=True)
class CheckpointMetadata:
    """Where the weights come from and how they are meant to be used.

    width and height: the size in pixels that it was trained at, which is also the default to colour at. sketch_polarity
    "lines-positive": background -1, lines +1. sampling: values of OWN_SAMPLING with which its pictures come out best,
    which stand where a call sets none. parent: address of the checkpoint it started from. codec, image_encoder:
    ids of the frozen networks, "" where the family has none; scaling_factor: of the codec's latents. source and
    source_sha256: the file that a converted checkpoint was made of. ema_decay: of the moving average beside the
    weights, None where it is unknown or there is none. weights_sha256, ema_sha256 ("" where there is none) and network
    (the family's configuration) are filled in when it is saved.
    """

    stage: str
    size: str
    family: str = "v1"
    code_version: str = ""
    scaling_factor: float = 1.0
    codec: str = ""
    image_encoder: str = ""
    prediction_type: PredictionType = "eps"
    noise_schedule: NoiseSchedule = "stable-diffusion"
    sketch_polarity: str = "lines-positive"
    sampling: Any = field(default_factory=dict, hash=False)
    parent: str | None = None
    source: str | None = None
    source_sha256: str | None = None
    ema_decay: float | None = None
    corpus_snapshot: int | None = None
    corpus_digest: str | None = None
    images_seen: int = 0
    width: int = 512
    height: int = 512
    network: Any = None
    weights_sha256: str = ""
    ema_sha256: str = ""

    def own_sampling(self, base: SamplingSettings | None = None) -> SamplingSettings:
        """How it is sampled from where a call sets nothing; `base` (default: the defaults) decides what it leaves open.

        Raises ValueError for what is no setting.
        """
        return replace(base or SamplingSettings(), **self.sampling)


def save_checkpoint(
    directory: Path,
    model: nn.Module,
    metadata: CheckpointMetadata,
    ema: Mapping[str, torch.Tensor] | None = None,
) -> CheckpointMetadata:
    """Write the checkpoint, replacing one that is there; returns the metadata as saved.

    model: of the metadata's family, with its `config`. ema: the moving average of its weights under the same names.
    Raises ModelError for weights that are not finite: no such checkpoint is ever written.
    """
    directory = Path(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        metadata = replace(
            metadata,
            network=model.config,
            weights_sha256=_save(model.state_dict(), temporary / WEIGHTS),
            ema_sha256=_save(ema, temporary / EMA) if ema is not None else "",
        )
        save_metadata(temporary, metadata)
        for file in temporary.iterdir():
            _flush_to_disk(file)
        _flush_to_disk(temporary)
        _move_into_place(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return metadata


def save_metadata(directory: Path, metadata: CheckpointMetadata) -> None:
    """Write what a checkpoint says of itself, whose weights are there."""
    (Path(directory) / CONFIG).write_text(json.dumps(asdict(metadata), indent=2) + "\n")


def _save(tensors: Mapping[str, torch.Tensor], path: Path) -> str:
    """Writes a safetensors file of finite tensors; returns its sha256."""
    check_weights(tensors, path.name)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    return sha256(path)


def _move_into_place(temporary: Path, directory: Path) -> None:
    old = temporary.with_name(temporary.name + ".old")
    if directory.exists():
        os.rename(directory, old)  # a directory cannot be renamed onto another that holds files
    os.rename(temporary, directory)
    _flush_to_disk(directory.parent)
    shutil.rmtree(old, ignore_errors=True)


def _flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_checkpoint(directory: Path, ema: bool = False) -> tuple[nn.Module, CheckpointMetadata]:
    """The model in evaluation mode on the CPU, and its metadata; ModelError when anything does not fit.

    ema: with the moving average of its weights instead, which it must hold.
    """
    directory = Path(directory)
    metadata = read_metadata(directory)
    wanted = expected_sha256(metadata, directory, ema)
    weights = directory / (EMA if ema else WEIGHTS)
    tensors = read_tensors(weights)
    if (found := sha256(weights)) != wanted:
        raise ModelError(f"{weights}: damaged, its sha256 is {found[:12]}… and not {wanted[:12]}…")
    assert metadata.network is not None
    model = family(metadata.family).build(metadata.network)
    load_strictly(model, tensors, weights)
    return model.eval(), metadata


def expected_sha256(metadata: CheckpointMetadata, directory: Path | str, ema: bool) -> str:
    """Of the weights, or of their moving average; ModelError when the checkpoint in `directory` holds none."""
    if ema and not metadata.ema_sha256:
        raise ModelError(f"{directory}: holds no moving average of its weights ({EMA})")
    return metadata.ema_sha256 if ema else metadata.weights_sha256


def read_metadata(directory: Path) -> CheckpointMetadata:
    """The metadata alone, checked; ModelError when the directory is no checkpoint of a registered family."""
    path = Path(directory) / CONFIG
    try:
        with path.open("rb") as file:
            stored = file.read(MOST_CONFIG_BYTES + 1)
    except FileNotFoundError as error:
        within = next((folder for folder in path.parent.glob(f"*/{CONFIG}")), None)
        hint = f"; there is one in {within.parent}" if within else ""
        raise ModelError(f"{directory}: not a checkpoint, {CONFIG} is missing{hint}") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error})") from error
    return metadata_of(stored, directory)


def metadata_of(config: bytes, address: Path | str) -> CheckpointMetadata:
    """The metadata that the contents of a config.json give, checked. Raises ModelError, which names the address."""
    path = f"{address}/{CONFIG}"
    if len(config) > MOST_CONFIG_BYTES:
        raise ModelError(f"{path}: more than {MOST_CONFIG_BYTES:,} bytes are no description of a checkpoint")
    try:
        stored = json_entries(config)
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from error
    name = stored.get("family")
    if not isinstance(name, str):
        raise ModelError(f"{path}: its entries do not describe a checkpoint (its family is {name!s:.40})")
    try:
        kind = family(name)
    except ModelError as error:
        raise ModelError(f"{address}: a checkpoint of family {name!r:.40}; {error}") from error
    try:
        if absent := [entry for entry in ("stage", "size", "network") if entry not in stored]:
            raise ValueError(f"no {', '.join(absent)}")
        if unknown := stored.keys() - {entry.name for entry in fields(CheckpointMetadata)}:
            raise ValueError(f"unknown entries {', '.join(sorted(unknown)):.80}")
        check_types(CheckpointMetadata, stored)
        metadata = CheckpointMetadata(**{**stored, "network": kind.config(stored["network"])})
        _check_numbers(metadata)
        _check_sampling(metadata)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ModelError(f"{path}: its entries do not describe a {name} checkpoint ({error})") from error
    return metadata


def _check_sampling(metadata: CheckpointMetadata) -> None:
    """ValueError for settings that no call could give either."""
    if not isinstance(metadata.sampling, dict):
        raise ValueError("sampling should be a mapping of settings")
    if unknown := metadata.sampling.keys() - set(OWN_SAMPLING):
        raise ValueError(f"sampling has unknown entries {', '.join(sorted(unknown)):.80}")
    check_types(SamplingSettings, metadata.sampling, "sampling")
    metadata.own_sampling()


def _check_numbers(metadata: CheckpointMetadata) -> None:
    """ValueError for numbers that no training leaves."""
    for side in ("width", "height"):
        check_range(side, getattr(metadata, side), 1, MOST_SIDE)
    check_range("images_seen", metadata.images_seen, 0)
    check_range("scaling_factor", metadata.scaling_factor, EPSILON)
    check_range("ema_decay", metadata.ema_decay or 0.0, 0, 1)
