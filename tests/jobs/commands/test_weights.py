"""`irodori weights` as it is called."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jobs.cli import run
from model.families.v1.network import V1
from model.families.v1.released_keys import to_published
from model.families.v1.sizes import V1_SIZES
from model.weights.catalogue import CATALOGUE
from tests.jobs.command import irodori, one_line
from tests.jobs.test_cli import HEAVY
from tests.pipelines.weights.weight_helpers import HEAD, head_file


def test_a_file_is_refused_added_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, file = str(tmp_path / "store"), str(head_file(tmp_path))
    assert run(["weights", "add", HEAD, file, "--store", store]) == 1
    assert "--accept-other-sha256" in one_line(capsys)
    assert run(["weights", "add", HEAD, file, "--store", store, "--accept-other-sha256", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    listed = json.loads(irodori("weights", "list", "--store", store, "--json").stdout)
    networks = {network["name"]: network for network in listed["networks"]}
    assert set(networks) == set(CATALOGUE)
    assert networks[HEAD]["stored"] == record
    assert networks["hed"]["stored"] is None
    assert networks["hed"]["command"] == f"irodori weights get hed --store {store}"


def test_the_list_tells_people_what_is_there_and_how_to_have_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IRODORI_WEIGHTS", str(tmp_path))
    assert run(["weights", "add", HEAD, str(head_file(tmp_path)), "--accept-other-sha256"]) == 0
    assert "NOT the published one" in capsys.readouterr().out
    assert run(["weights", "list"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{tmp_path} holds 1 of the networks below")
    assert "not there: irodori weights get hed\n" in told
    assert "(NOT the published file)" in told


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        (("add", "isnet", "a.pth"), 2, "did you mean isnetis"),
        (("get", "hedd"), 2, "did you mean hed?"),
        (("got", "hed"), 2, "did you mean get"),
        (("add", "isnetis", "https://example.org/a.pth"), 2, "download other files first"),
        (("add", "isnetis", "a.pth"), 1, "there is no a.pth"),
        (("inspect", "a.safetensors"), 1, "a.safetensors: there is no such file"),
        (("convert", "a.bmp", "--out", "out"), 2, "a folder, or a file that ends in"),
        (("inspect", "."), 1, "no folder of diffusers"),
        (("export", "absent", "--out", "a.safetensors"), 1, "absent holds no checkpoint"),
        (("convert", "absent", "--out", "out"), 2, "a folder, or a file that ends in"),
        (("convert", "a.ckpt", "--out", "https://example.org/out"), 1, "a.ckpt: there is no such file"),
        (("export", "absent", "--out", "hf://a/b/c.safetensors"), 1, "absent holds no checkpoint"),
        (("get", "isnetis"), 1, "irodori weights add isnetis hf://skytnt/anime-seg/isnetis.ckpt"),
    ],
)
def test_wrong_calls_are_answered_in_one_line(
    call: tuple[str, ...],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("IRODORI_WEIGHTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run(["weights", *call]) == code
    assert said in one_line(capsys)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["inspect", "a.safetensors"], "there is no such file"),
        (["inspect", "a.bmp"], "a folder, or a file that ends in"),
        (["inspect", "empty"], "no folder of diffusers"),
        (["convert", "a.ckpt", "--out", "out"], "there is no such file"),
        (["convert", "here.ckpt", "--out", "."], "is there and not empty"),
        (["convert", "here.ckpt", "--out", "https://example.org/a"], "a path or an s3:// address"),
        (["export", "absent", "--out", "a.safetensors"], "absent holds no checkpoint"),
        (["export", "checkpoint", "--out", "a.ckpt"], "the released layout is a .safetensors file"),
        (["export", "checkpoint", "--out", "checkpoint/model.safetensors"], "is there already"),
    ],
)
def test_what_is_seen_at_once_is_said_before_torch_is_imported(call: list[str], said: str, tmp_path: Path) -> None:
    for folder in ("checkpoint", "empty"):
        (tmp_path / folder).mkdir()
    for name in ("here.ckpt", "checkpoint/config.json", "checkpoint/model.safetensors"):
        (tmp_path / name).touch()
    call = ["weights", *call]
    code = f"import sys; from jobs.cli import run; run({call}); sys.exit(str([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert said in done.stderr
    assert done.stderr.endswith("[]\n"), done.stderr


def test_a_released_file_is_inspected_converted_and_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with torch.device("meta"):
        expected = to_published(V1(V1_SIZES["tiny"]))
    source, out, back = (str(tmp_path / name) for name in ("v-name.safetensors", "out", "back.safetensors"))
    save_file({key: torch.full(tensor.shape, 0.5) for key, tensor in expected.items()}, source)
    assert run(["weights", "inspect", source]) == 0
    told = capsys.readouterr().out
    assert "v1, released layout, tiny size of v1" in told
    assert "prediction type   cannot be known from the weights: give --prediction-type" in told
    assert "sketch encoder    complete, 42 entries" in told
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


def test_what_is_missing_and_unknown_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with torch.device("meta"):
        expected = to_published(V1(V1_SIZES["tiny"]))
    gone = "control_encoder.model.0.bias"
    tensors = {key: torch.zeros(tensor.shape) for key, tensor in expected.items() if key != gone}
    save_file(tensors | {f"extra.{place:02}": torch.zeros(1) for place in range(20)}, tmp_path / "a.safetensors")
    assert run(["weights", "inspect", str(tmp_path / "a.safetensors")]) == 0
    told = capsys.readouterr().out
    assert f"missing: {gone}" in told
    assert "unmatched         20: extra.00, extra.01" in told
    assert "extra.11 and 8 more (--json lists them)" in told
    assert run(["weights", "inspect", str(tmp_path / "a.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unmatched"] == [f"extra.{place:02}" for place in range(20)]


def test_a_network_of_the_catalogue_is_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["weights", "inspect", str(head_file(tmp_path))]) == 0
    assert f"the network {HEAD} of the catalogue" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["list", "add", "get", "inspect", "convert", "export"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["weights", command, "--help"]) == 0
    assert f"irodori weights {command}" in capsys.readouterr().out
