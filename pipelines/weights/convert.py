"""Checkpoints out of weights that were trained elsewhere, and back: `irodori weights convert` and `export`.

Converted are Stable Diffusion 2.x and its finetunes (Waifu Diffusion 1.4), in LDM's or diffusers' layout, with a fresh
sketch encoder, whose hints are zero: the network then equals the Stable Diffusion that it came from, with reference
tokens where that one had those of a text. And the released ColorizeDiffusion v1 files. Everything is strict: a key too
many or too few, another shape, noise schedule or prediction than was asked for ends it before anything is written.
"""

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from dataprep.documents import DocumentError, parse_json
from dataprep.storage.store import is_s3, upload_directory
from model.backbone.sketch_encoder import SketchEncoder
from model.checkpoint import CONFIG, CheckpointMetadata, load_checkpoint, save_checkpoint, save_metadata
from model.conversion.kinds import Part, Sizes, maker
from model.conversion.stable_diffusion_keys import autoencoder_layout, shaped, to_ldm_autoencoder
from model.diffusion.noise import PredictionType
from model.errors import ModelError
from model.families.family import Family, ReleasedKeys
from model.families.registry import all_families, family
from model.frozen.codec import load_codec
from model.frozen.config import CODECS
from model.weights.foreign_files import open_weights
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from pipelines.common.versions import code_version
from pipelines.recipes.stages import stage_names
from pipelines.weights.checkpoints import fetch_checkpoint
from pipelines.weights.inspection import Inspection, differing_settings, inspect
from pipelines.weights.intake import conformed
from pipelines.weights.locate import check_new_checkpoint, check_new_file
from pipelines.weights.store import combined_sha256, weights_name

_PREDICTION = {"eps": "epsilon", "v": "v"}  # as ModelSpec names them
_SAME_SCHEDULE = 1e-4  # of a cumulative alpha, which files in half precision may be off


@dataclass(frozen=True)
class Export:
    """What `export` wrote."""

    address: str
    entries: int
    has_autoencoder: bool
    metadata: CheckpointMetadata


def convert(
    address: str,
    out: str,
    prediction_type: PredictionType | None = None,
    use_ema: bool = False,
    sizes: Sizes | None = None,
) -> CheckpointMetadata:
    """Make the checkpoint directory `out` of the weights at `address`; what the checkpoint says of itself.

    sizes: of the networks that are looked for, a family's without. prediction_type is needed where neither the file nor
    settings beside it say it. use_ema: take the moving average that an LDM file keeps beside the weights. A bundled
    autoencoder comes along. Raises SettingsError, PipelineError, ModelError or DataError, and then leaves nothing
    behind.
    """
    check_new_checkpoint(out)
    with tempfile.TemporaryDirectory(prefix="irodori-weights-") as scratch:
        found = inspect(address, Path(scratch), sizes)
        made, published = _check_kind(found)
        config: Any = (sizes or made.sizes)[str(found.kind and found.kind.size)]
        _check_complete(found, published, use_ema)
        predicts = _prediction(found, prediction_type)
        _check_noise_schedule(found, config, published)
        model = _network(found, made, config, use_ema)
        assert found.kind is not None
        # A size that the family does not publish counts as trained at the side of its largest.
        side = made.trained_side.get(str(found.kind.size), max(made.trained_side.values()))
        metadata = CheckpointMetadata(
            family=made.name,
            stage=published.starts_from[found.kind.family],
            size=str(found.kind.size),
            scaling_factor=_scaling_factor(config),
            codec=config.codec,
            image_encoder=config.image_encoder,
            code_version=code_version(),
            prediction_type=predicts,
            source=found.source.address,
            source_sha256=_source_sha256(found),
            width=side,
            height=side,
        )
        with _whole_directory(out) as folder:
            saved = save_checkpoint(folder, model, metadata)
            if ours := _exported_as(found, saved):
                saved = ours
                save_metadata(folder, saved)
            _keep_autoencoder(found, folder)
    return saved


def export(checkpoint: str, out: str, use_ema: bool = False, schedule: bool = True) -> Export:
    """Write a checkpoint as one new file (a path or on S3) in the released layout, with the autoencoder beside it.

    schedule: with the 12 constants of the noise schedule that released files hold. Raises SettingsError, PipelineError,
    ModelError or DataError.
    """
    check_new_file(out)
    folder = fetch_checkpoint(checkpoint)
    model, metadata = load_checkpoint(folder, ema=use_ema)
    published = _published(metadata.family)
    if metadata.noise_schedule != "stable-diffusion":
        raise PipelineError(
            f"{checkpoint}: it was trained under the noise schedule {metadata.noise_schedule}; what reads the released "
            "layout knows that of Stable Diffusion alone"
        )
    tensors = {published.name(name, model.config): tensor for name, tensor in model.state_dict().items()}
    bundled = folder / weights_name("sd-vae")
    if bundled.is_file():
        tensors |= to_ldm_autoencoder(open_weights(bundled).read())
    if schedule:
        tensors |= published.constants()
    notes = {"format": "pt", "modelspec.prediction_type": _PREDICTION[metadata.prediction_type]}
    notes["irodori.checkpoint"] = json.dumps(_header(metadata, use_ema))
    with _whole_file(out) as path:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, notes)
    return Export(out, len(tensors), bundled.is_file(), metadata)


def _header(metadata: CheckpointMetadata, use_ema: bool) -> dict[str, Any]:
    """What an exported file says of itself: no address, for it goes to others."""
    names = ("stage", "size", "width", "height", "prediction_type", "scaling_factor", "source_sha256", "code_version")
    weights = metadata.ema_sha256 if use_ema else metadata.weights_sha256
    return {name: getattr(metadata, name) for name in names} | {"weights_sha256": weights}


def _exported_as(found: Inspection, saved: CheckpointMetadata) -> CheckpointMetadata | None:
    """What `saved` was before it was exported, where the file says so and still holds those weights; else None."""
    header = found.source.files[""].metadata if "" in found.source.files else {}
    try:
        recorded = parse_json(header.get("irodori.checkpoint", "{}"), found.source.address)
        if recorded.get("weights_sha256") != saved.weights_sha256 or recorded["stage"] not in stage_names():
            return None
        return replace(saved, stage=recorded["stage"], width=int(recorded["width"]), height=int(recorded["height"]))
    except (DocumentError, ValueError, TypeError, AttributeError, KeyError):  # not written by `export`
        return None


def _check_kind(found: Inspection) -> tuple[Family, ReleasedKeys]:
    """The family to make a checkpoint of, and its published names; PipelineError that names the kind of others."""
    kind, address = found.kind, found.source.address
    if kind is None:
        what = f"the network {found.network}: irodori weights add" if found.network else "no diffusion model known here"
        raise PipelineError(f"{address} is {what}")
    if kind.layout == "irodori":
        raise PipelineError(f"{address} is a checkpoint of irodori already")
    made = maker(kind.family)
    if made is None or kind.variant:
        known = "; ".join(other.keys.described for other in all_families() if other.keys)
        raise PipelineError(f"{address} is of family {kind}: {known}")
    if kind.size is None:
        raise PipelineError(
            f"{address} is of family {kind}, but its UNet has the shapes of no size ({', '.join(made[0].sizes)})"
        )
    return made


def _published(name: str) -> ReleasedKeys:
    """How a family's weights are published. Raises PipelineError where they are not."""
    keys = family(name).keys
    if keys is None:
        raise PipelineError(f"the family {name} has no published layout to export to")
    return keys


def _check_complete(found: Inspection, published: ReleasedKeys, use_ema: bool) -> None:
    """ModelError with everything that does not match, at once."""
    parts = {part.name: part for part in found.parts}
    needed = set(published.needed) | ({"moving average"} if use_ema else set())
    if use_ema and "moving average" not in parts:
        raise ModelError(f"{found.source.address}: holds no moving average (model_ema.) for --use-ema")
    problems = []
    for part in parts.values():
        if part.state == "complete" or (part.state == "absent" and part.name not in needed):
            continue
        if part.name == "moving average" and not use_ema:
            continue
        missing = () if part.name == "noise schedule" else part.missing  # some files keep a few of its constants
        wrong = (("missing", missing), ("wrong shapes", part.wrong))
        problems += [f"{part.name}, {what}: {', '.join(keys)}" for what, keys in wrong if keys]
    if found.unmatched:
        problems.append(f"unknown: {', '.join(found.unmatched)}")
    if problems:
        raise ModelError(f"{found.source.address}: the keys do not match ({'; '.join(problems)})")


def _prediction(found: Inspection, given: PredictionType | None) -> PredictionType:
    known = found.prediction_type
    if known is None and given is None:
        raise SettingsError(f"{found.source.address}: whether it predicts eps or v {found.prediction_from}")
    if known and given and known != given:
        address, where = found.source.address, found.prediction_from
        raise SettingsError(f"--prediction-type {given}: {address} predicts {known}, as {where} says")
    answer = given or known
    assert answer is not None
    return answer


def _check_noise_schedule(found: Inspection, config: Any, published: ReleasedKeys) -> None:
    """Other heads, noise or scale than ours would load without a word and colour wrongly."""
    differing = differing_settings(found.source, config)
    ours = published.constants()["alphas_cumprod"]
    if "alphas_cumprod" in found.source.tensors:
        theirs = found.source.read({"alphas_cumprod": "found"})["found"]
        if theirs.shape != ours.shape or not bool(((theirs.float() - ours).abs() < _SAME_SCHEDULE).all()):
            differing.append("alphas_cumprod of another noise schedule")
    if differing:
        raise ModelError(f"{found.source.address}: no v1 is like this: {'; '.join(differing)}")


def _network(found: Inspection, made: Family, config: Any, use_ema: bool) -> nn.Module:
    with torch.device("meta"):
        model = made.build(config)
    expected = model.state_dict()
    parts = {part.name: part for part in found.parts}
    wanted = _keys(parts.values(), made.keys.parts if made.keys else (), use_ema)
    tensors = {name: shaped(tensor, expected[name].shape) for name, tensor in found.source.read(wanted).items()}
    if "sketch encoder" not in parts:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            fresh = SketchEncoder(config).state_dict()
        tensors |= {f"sketch_encoder.{name}": tensor for name, tensor in fresh.items()}
    model.load_state_dict(conformed(expected, tensors, found.source.address), assign=True)
    return model


def _keys(parts: Iterable[Part], trained: Iterable[str], use_ema: bool) -> dict[str, str]:
    """Key in the source -> our name, for the trained network's parts. The average covers the UNet alone."""
    tables = {part.name: part.table for part in parts}
    if use_ema:
        tables["unet"] = tables["moving average"]
    return {key: ours for name in trained for key, ours in tables.get(name, {}).items()}


def _scaling_factor(config: Any) -> float:
    return CODECS[config.codec].scaling_factor or load_codec(config.codec).scaling_factor


def _source_sha256(found: Inspection) -> str:
    """Of the file; of several, one hash for all."""
    return combined_sha256(found.source.sha256())


def _keep_autoencoder(found: Inspection, folder: Path) -> None:
    """The bundled autoencoder as `sd-vae.safetensors`, under diffusers' names, in the precision that it came in."""
    part = next((part for part in found.parts if part.name == "autoencoder" and part.state == "complete"), None)
    if part is None:
        return
    tensors = autoencoder_layout(found.source.read(part.table))
    broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ModelError(f"{found.source.address}: {broken[0]} of the autoencoder holds NaN or infinity")
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / weights_name("sd-vae"))


@contextmanager
def _whole_directory(out: str) -> Iterator[Path]:
    """A folder that becomes `out` when the block ends well, whole; on S3 its config.json comes last."""
    if is_s3(out):
        with tempfile.TemporaryDirectory(prefix="irodori-weights-") as scratch:
            folder = Path(scratch) / "checkpoint"
            yield folder
            first, last = Path(scratch) / "first", Path(scratch) / "last"
            last.mkdir()
            shutil.move(folder / CONFIG, last / CONFIG)
            folder.rename(first)
            upload_directory(first, out)
            upload_directory(last, out)
        return
    target = Path(out)
    folder = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        yield folder
        if target.exists():
            target.rmdir()
        os.rename(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _whole_file(out: str) -> Iterator[Path]:
    """A file that becomes `out` when the block ends well."""
    if is_s3(out):
        with tempfile.TemporaryDirectory(prefix="irodori-weights-") as scratch:
            folder, _, name = out.rpartition("/")
            yield Path(scratch) / name
            upload_directory(Path(scratch), folder)
        return
    target = Path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
