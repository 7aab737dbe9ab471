"""`irodori weights` as it is called."""

import json
from pathlib import Path

import pytest

from jobs.cli import run
from model.catalogue import CATALOGUE
from tests.jobs.command import irodori, one_line
from tests.pipelines.weight_helpers import HEAD, head_file


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
    assert run(["weights", *call]) == code
    assert said in one_line(capsys)
