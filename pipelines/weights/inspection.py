"""What a weight file or folder is and holds: `irodori weights inspect`, and what `convert` relies on.

Keys, shapes and number formats are read from headers; what an address is, is never taken from its name. What a file
cannot say, such as whether the network predicts eps or v, is looked for in the settings that were published beside it,
and else said to be unknown.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from dataprep.documents import DocumentError, parse_json
from model.checkpoint import read_metadata
from model.conversion.kinds import (
    UNET_FOLDER,
    VAE_FOLDER,
    Kind,
    Part,
    Sizes,
    checkpoint_parts,
    kind_of,
    maker,
    parts_of,
    text_encoder_keys,
    unmatched,
)
from model.diffusion.noise import BETA_END, BETA_START, TIMESTEPS, PredictionType
from model.errors import ModelError
from model.families.registry import family
from model.frozen.config import CODECS
from model.weights.catalogue import CATALOGUE
from model.weights.foreign_files import WeightFile, open_weights, precisions
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import read_yaml
from pipelines.weights.intake import used_tensors
from pipelines.weights.locate import nothing_in, place
from pipelines.weights.store import build_network

_DIFFUSERS_FILES = tuple(
    f"diffusion_pytorch_model{end}" for end in (".safetensors", ".bin", ".fp16.safetensors", ".fp16.bin")
)
_OURS = ("model.safetensors", "ema.safetensors", *(f"{network}.safetensors" for network in ("sd-vae", "ViT-H-14")))
_SETTINGS = (f"{UNET_FOLDER}config.json", f"{VAE_FOLDER}config.json", "scheduler/scheduler_config.json", "config.json")
_MOST_SETTINGS_BYTES = 2**20
_SAYS: dict[Any, PredictionType] = {"epsilon": "eps", "eps": "eps", "v_prediction": "v", "v": "v"}


@dataclass(frozen=True, eq=False)
class Source:
    """Weights as they were found: files by the prefix that their keys get, and parsed settings by their own names."""

    address: str
    files: Mapping[str, WeightFile]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """All keys with their prefixes, on the meta device."""
        return {prefix + key: tensor for prefix, file in self.files.items() for key, tensor in file.tensors.items()}

    def read(self, keys: Mapping[str, str]) -> dict[str, torch.Tensor]:
        """The numbers of these keys, each under the name that `keys` gives it."""
        found = {}
        for prefix, file in self.files.items():
            own = [key.removeprefix(prefix) for key in keys if key.removeprefix(prefix) in file.tensors]
            wanted = [key for key in own if prefix + key in keys]
            found.update({keys[prefix + key]: tensor for key, tensor in file.read(wanted).items()})
        return found

    def sha256(self) -> dict[str, str]:
        """The hash of each file, by its prefix and name."""
        from model.weights.reading import sha256

        return {prefix + file.path.name: sha256(file.path) for prefix, file in self.files.items()}


@dataclass(frozen=True)
class Inspection:
    """Everything that can be told of weights. `network`: the entry of the catalogue that they are, where they are one;
    `prediction_from`: what says so, or why it cannot be known."""

    source: Source
    kind: Kind | None
    network: str | None
    parts: tuple[Part, ...]
    unmatched: tuple[str, ...]
    prediction_type: PredictionType | None
    prediction_from: str

    def document(self) -> dict[str, Any]:
        """As `irodori weights inspect --json` prints it."""
        tensors, kind = self.source.tensors, self.kind
        return {
            "address": self.source.address,
            "sha256": self.source.sha256(),
            "formats": sorted({file.format for file in self.source.files.values()}),
            "family": str(kind) if kind else None,
            "layout": kind.layout if kind else None,
            "size": kind.size if kind else None,
            "network": self.network,
            "prediction_type": self.prediction_type,
            "prediction_type_from": self.prediction_from,
            "entries": len(tensors),
            "numbers": sum(tensor.numel() for tensor in tensors.values()),
            "precision": precisions(tensors.values()),
            "text_encoder_entries": len(text_encoder_keys(tensors)),
            "parts": [
                {**asdict(part), "table": None, "state": part.state, "entries": len(part.table) - len(part.missing)}
                for part in self.parts
            ],
            "unmatched": list(self.unmatched),
        }


def inspect(address: str, scratch: Path, sizes: Sizes | None = None) -> Inspection:
    """What is at an address: a file or folder as a path, file://, s3:// or hf://OWNER/REPOSITORY[/FILE].

    Remote files are copied to `scratch`. sizes: of the networks that are looked for, a family's without. Raises
    SettingsError, PipelineError, DataError or ModelError.
    """
    return inspect_source(open_source(address, scratch), sizes)


def inspect_source(source: Source, sizes: Sizes | None = None) -> Inspection:
    """What an opened source is."""
    tensors, network = source.tensors, None
    parts: tuple[Part, ...] = ()
    kind: Kind | None
    if "family" in source.settings.get("config.json", {}):  # a checkpoint of ours
        metadata = read_metadata(source.files[""].path.parent)
        kind = Kind(metadata.family, "irodori", metadata.size)
        parts = tuple(checkpoint_parts(family(metadata.family), metadata.network, tensors))
    elif (kind := kind_of(tensors, sizes)) is None:
        network = _network(source)
    elif kind.size and not kind.variant and (made := maker(kind.family)):
        parts = tuple(parts_of(kind, (sizes or made[0].sizes)[kind.size], tensors))
    known = bool(parts) or network is not None
    stray = unmatched(parts, tensors) if parts else () if known else tuple(sorted(tensors))
    return Inspection(source, kind, network, parts, stray, *(_prediction(source, kind) if kind else (None, "")))


def open_source(address: str, scratch: Path) -> Source:
    """Open the file, the folder of diffusers, or the checkpoint directory at an address."""
    folder, file, bring = place(address, scratch)
    if file:
        return _open_file(f"{folder}/{file}", file, bring)
    settings = _read_settings(_SETTINGS, bring)
    if "family" in settings.get("config.json", {}):
        found = {name: path for name in _OURS if (path := bring(name))}
        files = {"" if name == _OURS[0] else f"{Path(name).stem}/": open_weights(path) for name, path in found.items()}
    else:
        paths = {part: _first(bring, part) for part in (UNET_FOLDER, VAE_FOLDER)}
        files = {part: open_weights(path) for part, path in paths.items() if path}
    if not files:
        raise nothing_in(folder)
    return Source(folder, files, settings)


def _open_file(address: str, file: str, bring: Callable[[str], Path | None]) -> Source:
    path = bring(file)
    if path is None:
        raise PipelineError(f"{address}: there is no such file")
    opened = open_weights(path)
    is_unet = "conv_in.weight" in opened.tensors and "time_embedding.linear_1.weight" in opened.tensors
    beside = (str(Path(file).with_suffix(".yaml")), "config.json")
    settings = {
        "yaml" if name.endswith(".yaml") else name: value for name, value in _read_settings(beside, bring).items()
    }
    if is_unet and "config.json" in settings:
        settings[UNET_FOLDER + "config.json"] = settings["config.json"]
    return Source(address, {UNET_FOLDER if is_unet else "": opened}, settings)


def _first(bring: Callable[[str], Path | None], part: str) -> Path | None:
    return next((path for name in _DIFFUSERS_FILES if (path := bring(part + name))), None)


def _read_settings(names: tuple[str, ...], bring: Callable[[str], Path | None]) -> dict[str, Any]:
    """The settings files that are there, parsed; nothing but mappings. Raises ModelError."""
    found = {}
    for name in names:
        path = bring(name)
        if path is None:
            continue
        try:
            if path.stat().st_size > _MOST_SETTINGS_BYTES:
                raise ValueError("too large for settings")
            value = read_yaml(path) if name.endswith(".yaml") else parse_json(path.read_bytes(), str(path))
        except (OSError, ValueError, DocumentError) as error:
            raise ModelError(f"{path}: not readable as settings ({' '.join(str(error).split())[:200]})") from error
        if not isinstance(value, dict):
            raise ModelError(f"{path}: settings are names with values, and this is {type(value).__name__}")
        found[name] = value
    return found


def _inside(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _prediction(source: Source, kind: Kind) -> tuple[PredictionType | None, str]:
    """What the network predicts, and what says so. Raises ModelError where two say different things."""
    stated: dict[str, Any] = {}
    if "family" in source.settings.get("config.json", {}):
        stated["config.json"] = source.settings["config.json"].get("prediction_type")
    scheduler = source.settings.get("scheduler/scheduler_config.json")
    if scheduler is not None:
        stated["scheduler_config.json"] = scheduler.get("prediction_type", "epsilon")  # diffusers' default
    params = _inside(source.settings, "yaml", "model", "params")
    if isinstance(params, dict) and (kind.family.startswith("stable-diffusion") or "parameterization" in params):
        stated["the .yaml beside it"] = params.get("parameterization", "eps")  # latent-diffusion's default, not v1's
    for file in source.files.values():
        if "modelspec.prediction_type" in file.metadata:
            stated["the file's own metadata"] = file.metadata["modelspec.prediction_type"]
    for where, value in stated.items():
        if not isinstance(value, str) or value not in _SAYS:
            raise ModelError(f"{source.address}: {where} says that it predicts {value!r:.40}; eps or v is needed")
    answers = {_SAYS[value] for value in stated.values()}
    if len(answers) > 1:
        raise ModelError(f"{source.address}: {' and '.join(stated)} say different things of what it predicts")
    if answers:
        return answers.pop(), next(iter(stated))
    return None, "cannot be known from the weights: give --prediction-type"


def differing_settings(source: Source, config: Any) -> list[str]:
    """What published settings say that shapes do not, where it is not so in ours: heads, noise schedule, scale."""
    heads = [width // config.head_width for width in config.channels]
    params = _inside(source.settings, "yaml", "model", "params") or {}
    unet, vae = (source.settings.get(part + "config.json", {}) for part in (UNET_FOLDER, VAE_FOLDER))
    scheduler = source.settings.get("scheduler/scheduler_config.json", {})
    scale = CODECS[config.codec].scaling_factor
    per_level = unet.get("attention_head_dim")
    wanted: list[tuple[str, Any, Any]] = [
        ("attention_head_dim", [per_level] * len(heads) if isinstance(per_level, int) else per_level, heads),
        ("num_head_channels", _inside(params, "unet_config", "params", "num_head_channels"), config.head_width),
        ("scaling_factor", vae.get("scaling_factor"), scale),
        ("scale_factor", _inside(params, "scale_factor"), scale),
        ("linear_start", _inside(params, "linear_start"), BETA_START),
        ("linear_end", _inside(params, "linear_end"), BETA_END),
        ("beta_start", scheduler.get("beta_start"), BETA_START),
        ("beta_end", scheduler.get("beta_end"), BETA_END),
        ("beta_schedule", scheduler.get("beta_schedule"), "scaled_linear"),
        ("num_train_timesteps", scheduler.get("num_train_timesteps"), TIMESTEPS),
        ("rescale_betas_zero_snr", scheduler.get("rescale_betas_zero_snr"), False),
    ]
    return [f"{name} {found} instead of {ours}" for name, found, ours in wanted if found is not None and found != ours]


def _network(source: Source) -> str | None:
    """The network of the catalogue whose keys and shapes these are."""
    tensors = source.tensors
    for name, entry in CATALOGUE.items():
        if entry.companions:
            continue  # their networks follow from files beside them; `weights add` takes those
        used = used_tensors(entry, tensors)
        with torch.device("meta"):
            expected = build_network(name, {}).state_dict()
        if used.keys() == expected.keys() and all(used[key].shape == expected[key].shape for key in used):
            return name
    return None
