"""`irodori weights add`, and what `list` shows of it."""

import json
from pathlib import Path

import pytest

from jobs.cli import run
from model.weights.catalogue import CATALOGUE
from tests.jobs.command import irodori, one_line
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
