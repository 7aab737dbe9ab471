"""Reading weight files: safetensors only, strictly, every key that does not match is named."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from model.errors import ModelError
from model.finite import check_weights

ASSETS = Path(__file__).parents[1] / "assets"


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file on the CPU. Raises ModelError when it is missing or damaged."""
    if not path.is_file():
        raise ModelError(f"{path}: the weight file is missing")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error})") from error


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_strictly(module: nn.Module, tensors: Mapping[str, torch.Tensor], source: Path | str) -> None:
    """Load tensors into module; ModelError lists every missing, unknown and wrongly shaped key, or names the first
    tensor that is not finite."""
    check_tensors(module.state_dict(), tensors, source)
    check_weights(tensors, source)
    module.load_state_dict(tensors)


def check_tensors(
    expected: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor], source: Path | str
) -> None:
    """ModelError with every missing, unknown and wrongly shaped key, unless all are as expected (on any device)."""
    check_keys(expected, tensors, source)
    shapes = [
        f"{name} {list(tensor.shape)} instead of {list(expected[name].shape)}"
        for name, tensor in tensors.items()
        if tensor.shape != expected[name].shape
    ]
    if shapes:
        raise ModelError(f"{source}: wrong shapes: {'; '.join(shapes)}")


def check_keys(expected: Iterable[str], found: Iterable[str], source: Path | str) -> None:
    """ModelError with every missing and every unknown key, unless both sets are equal."""
    missing, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    problems = [f"{kind}: {', '.join(keys)}" for kind, keys in (("missing", missing), ("unknown", unknown)) if keys]
    if problems:
        raise ModelError(f"{source}: the keys do not match ({'; '.join(problems)})")
