"""`irodori weights inspect`."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jobs.cli import run
from model.families.v1.network import V1
from model.families.v1.released_keys import to_published
from model.families.v1.sizes import V1_SIZES
from tests.pipelines.weights.weight_helpers import HEAD, head_file


def test_what_is_missing_and_unknown_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with torch.device("meta"):
        expected = to_published(V1(V1_SIZES["tiny"]))
    gone = "control_encoder.model.0.bias"
    tensors = {key: torch.zeros(tensor.shape) for key, tensor in expected.items() if key != gone}
    save_file(tensors | {f"extra.{place:02}": torch.zeros(1) for place in range(20)}, tmp_path / "a.safetensors")
    assert run(["weights", "inspect", str(tmp_path / "a.safetensors")]) == 0
    shown = capsys.readouterr().out
    assert f"missing: {gone}" in shown
    assert "unmatched         20: extra.00, extra.01" in shown
    assert "extra.11 and 8 more (--json lists them)" in shown
    assert run(["weights", "inspect", str(tmp_path / "a.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unmatched"] == [f"extra.{place:02}" for place in range(20)]


def test_a_network_of_the_catalogue_is_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["weights", "inspect", str(head_file(tmp_path))]) == 0
    assert f"the network {HEAD} of the catalogue" in capsys.readouterr().out
