"""Writes TensorFlow.js models as npm packages bundle them: what minifiers make of a literal, with 8-bit weights."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MODULE = "!function(){{var c={{exports:{{}}}};t({{1:[function(a,n,i){{n.exports={}}},{{}}]}},[1])}}();\n"


@dataclass(frozen=True)
class Quantized:
    """A tensor as it is stored: smallest value, step, and 8-bit numbers of steps."""

    low: float
    step: float
    steps: np.ndarray

    def values(self) -> np.ndarray:
        return self.low + self.step * self.steps.astype(np.float64)


def quantized(values: np.ndarray) -> Quantized:
    low = float(values.min())
    step = float(values.max() - low) / 255 or 1.0
    return Quantized(low, step, np.rint((values - low) / step).astype(np.uint8))


def write_bundle(folder: Path, topology: Mapping[str, Any], tensors: Mapping[str, Quantized], shards: int = 2) -> None:
    folder.mkdir(parents=True)
    data = b"".join(tensor.steps.tobytes() for tensor in tensors.values())
    names = [f"group1-shard{place}of{shards}" for place in range(1, shards + 1)]
    size = -(-len(data) // shards)
    for place, name in enumerate(names):
        text = base64.b64encode(data[place * size : (place + 1) * size]).decode()
        (folder / f"{name}.min.js").write_text(MODULE.format(json.dumps(text)))
    manifest = [{"paths": names, "weights": [described(name, tensor) for name, tensor in tensors.items()]}]
    write_module(folder / "model.min.js", {"modelTopology": topology, "weightsManifest": manifest})


def described(name: str, tensor: Quantized) -> dict[str, Any]:
    steps = {"min": tensor.low, "scale": tensor.step, "dtype": "uint8"}
    return {"name": name, "shape": list(tensor.steps.shape), "dtype": "float32", "quantization": steps}


def write_module(path: Path, value: Any) -> None:
    """`value` as a minifier writes it: names without quotes, !0 and !1, no zero before a point."""
    text = re.sub(r'"([A-Za-z_]\w*)":', r"\1:", json.dumps(value, separators=(",", ":")))
    text = re.sub(r"(?<=[:,\[])true", "!0", re.sub(r"(?<=[:,\[])false", "!1", text))
    path.write_text(MODULE.format(re.sub(r"(?<=[:,\[])(-?)0(?=\.\d)", r"\1", text)))
