"""What all commands `irodori weights` have in common: wrong calls and help."""

import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli import run
from tests.jobs.command import one_line
from tests.jobs.test_cli import HEAVY


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        (("add", "isnet", "a.pth"), 2, "did you mean isnetis"),
        (("got", "hed"), 2, "did you mean get"),
        (("add", "isnetis", "https://example.org/a.pth"), 2, "download or copy it first"),
        (("add", "isnetis", "a.pth"), 1, "there is no a.pth"),
        (("inspect", "a.safetensors"), 1, "a.safetensors: there is no such file"),
        (("convert", "a.bmp", "--out", "out"), 2, "a folder, or a file that ends in"),
        (("inspect", "."), 1, "no folder of diffusers"),
        (("convert", "absent", "--out", "out"), 2, "a folder, or a file that ends in"),
        (("convert", "a.ckpt", "--out", "https://example.org/out"), 2, "no store https"),
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
        (["convert", "here.ckpt", "--out", "https://example.org/a"], "no store https"),
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


@pytest.mark.parametrize("command", ["list", "add", "get", "inspect", "convert", "export"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["weights", command, "--help"]) == 0
    assert f"irodori weights {command}" in capsys.readouterr().out
