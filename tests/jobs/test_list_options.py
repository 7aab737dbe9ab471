"""Several values after one option, as a shell writes them."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer.main

from jobs.cli import app, run
from jobs.list_options import repeat_list_options


def repeated(command: str, call: str) -> str:
    group: Any = typer.main.get_command(app)
    for name in command.split():
        group = group.commands[name]
    return " ".join(repeat_list_options(group.params, call.split()))


@pytest.mark.parametrize(
    ("command", "call", "parsed"),
    [
        ("colorize", "--sketch a b c --out o", "--sketch a --sketch b --sketch c --out o"),
        ("colorize", "--sketch=a b --pair --out o", "--sketch=a --sketch b --pair --out o"),
        ("colorize", "--sketch a --reference r q --seed 3", "--sketch a --reference r --reference q --seed 3"),
        ("colorize", "--set a=1 b=2", "--set a=1 --set b=2"),
        ("colorize", "--out o b", "--out o b"),
        ("colorize", "--pair b", "--pair b"),
        ("colorize", "--sketch a -- b", "--sketch a -- b"),
        ("train", "v1.noisy --set a=1 b=2", "v1.noisy --set a=1 --set b=2"),
        ("train", "--set a=1 v1.noisy", "--set a=1 v1.noisy"),
        ("train", "--set a=1 v1.noisy b=2", "--set a=1 v1.noisy b=2"),
        ("plan", "plain --rebuild mask color --rows 5", "plain --rebuild mask --rebuild color --rows 5"),
        ("corpus build", "--source a b --out o", "--source a --source b --out o"),
        ("corpus merge", "one two --out o", "one two --out o"),
        ("colorize", "--sketch", "--sketch"),
    ],
)
def test_each_further_value_stands_behind_its_option(command: str, call: str, parsed: str) -> None:
    assert repeated(command, call) == parsed


def test_a_shells_list_of_sketches_is_coloured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], checkpoint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"")
    call = ["colorize", "--sketch", "a.png", "b.png", "c.png", "--checkpoint", checkpoint, "--out", "o", "--dry-run"]
    assert run(call) == 0
    assert [picture["sketch"] for picture in json.loads(capsys.readouterr().out)["pictures"]] == [
        "a.png", "b.png", "c.png"
    ]  # fmt: skip
