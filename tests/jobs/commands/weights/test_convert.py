"""`irodori weights convert`: a released file inspected, converted and exported."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jobs.cli import run
from model.families.v1.network import V1
from model.families.v1.released_keys import to_published
from model.families.v1.sizes import V1_SIZES
from tests.jobs.command import one_line


def test_a_released_file_is_inspected_converted_and_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with torch.device("meta"):
        expected = to_published(V1(V1_SIZES["tiny"]))
    source, out, back = (str(tmp_path / name) for name in ("v-name.safetensors", "out", "back.safetensors"))
    save_file({key: torch.full(tensor.shape, 0.5) for key, tensor in expected.items()}, source)
    assert run(["weights", "inspect", source]) == 0
    shown = capsys.readouterr().out
    assert "v1, released layout, tiny size of v1" in shown
    assert "prediction type   cannot be known from the weights: give --prediction-type" in shown
    assert "sketch encoder    complete, 42 entries" in shown
    assert run(["weights", "convert", source, "--out", out]) == 2
    assert "give --prediction-type" in one_line(capsys)
    assert run(["weights", "convert", source, "--out", out, "--prediction-type", "w"]) == 2
    assert "'eps', 'v'" in one_line(capsys)
    assert run(["weights", "convert", source, "--out", out, "--prediction-type", "v"]) == 0
    assert f"{out}: v1 released, size tiny, predicts v" in capsys.readouterr().out
    assert run(["weights", "export", out, "--out", back]) == 0
    assert f"{back}: 738 entries, without autoencoder, predicts v" in capsys.readouterr().out
    assert run(["weights", "inspect", back, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["family"], document["layout"], document["size"]) == ("v1", "released", "tiny")
    assert (document["prediction_type"], document["unmatched"]) == ("v", [])
    assert {part["name"]: part["state"] for part in document["parts"]} == {
        "unet": "complete",
        "sketch encoder": "complete",
        "noise schedule": "complete",
    }
    (tmp_path / "run").mkdir()
    Path(out).rename(tmp_path / "run" / "checkpoint")
    assert run(["weights", "inspect", str(tmp_path / "run")]) == 0  # the output of a training holds its checkpoint so
    assert "v1, irodori layout" in capsys.readouterr().out
