"""One run at a time holds an output; a dead holder is recognised, and one that was replaced finds out."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from dataprep.storage.store import join, list_files, write_whole
from pipelines.common.errors import PipelineError
from pipelines.training.state import lock
from pipelines.training.state.lock import Holder, check_free, is_held, locked
from tests.faults import Survived


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.s3)])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.getfixturevalue("s3_prefix") if request.param == "s3" else str(tmp_path / "out")


def put(out: str, holder: Holder, number: int = 1) -> str:
    """The file of a holder, as that one would have written it."""
    uri = join(out, lock.FOLDER, f"{number:08d}.json")
    write_whole(uri, json.dumps(asdict(holder)).encode())
    return uri


def test_the_second_is_refused_with_who_the_first_is_and_comes_in_after_it(out: str) -> None:
    with locked(out) as token:
        assert is_held(out, token)
        words = rf"is being written by another run \(process {os.getpid()} on .*wait for its end, stop it"
        with pytest.raises(PipelineError, match=words), locked(out):
            pass
        with pytest.raises(PipelineError, match=words):
            check_free(out)
        assert is_held(out, token)
    check_free(out)
    with locked(out) as another:
        assert not is_held(out, token)
        assert is_held(out, another)
    assert list_files(join(out, lock.FOLDER)) == []


def test_a_holder_on_this_machine_is_dead_as_soon_as_its_process_is(out: str, survived: Survived) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started_s = psutil.Process(child.pid).create_time()
        holder = replace(Holder.this_process(), pid=child.pid, started_s=started_s)
        put(out, holder)
        with pytest.raises(PipelineError, match=f"process {child.pid}"), locked(out):
            pass
        child.kill()
    with locked(out) as token:
        assert not is_held(out, holder.token)
        assert len(list_files(join(out, lock.FOLDER))) == 1
        survived("lock of a killed run", work="training", lost=0, doubled=0 if is_held(out, token) else 1)


def test_another_process_under_the_same_number_is_not_the_holder(out: str) -> None:
    put(out, replace(Holder.this_process(), started_s=1.0))
    with locked(out) as token:
        assert is_held(out, token)


def test_a_holder_elsewhere_lives_while_it_gives_signs_of_life(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(out, replace(Holder.this_process(), host="far", place="far away"))
    with pytest.raises(PipelineError, match=r"on far.*if it is dead already, run this again in \d+ s"), locked(out):
        pass
    monkeypatch.setattr(lock, "STALE_S", 0.0)
    with locked(out) as token:
        assert is_held(out, token)


def test_the_file_is_renewed_until_another_has_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = str(tmp_path)
    monkeypatch.setattr(lock, "RENEW_S", 0.02)
    with locked(out) as token:
        (entry,) = list_files(join(out, lock.FOLDER))
        deadline = time.monotonic() + 10
        while list_files(join(out, lock.FOLDER))[0].version == entry.version:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        put(out, replace(Holder.this_process(), token="another"), number=2)
        assert not is_held(out, token)
    assert is_held(out, "another")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_lock_that_says_nothing_holds_nothing(tmp_path: Path, text: str) -> None:
    write_whole(str(tmp_path / lock.FOLDER / "00000001.json"), text.encode())
    with locked(str(tmp_path)) as token:
        assert is_held(str(tmp_path), token)
