"""Nodes that go away and drivers that race, on real clusters in processes of their own: nothing is lost or doubled."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dataprep.corpus_tools.info import open_snapshot, verify
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from tests.corpus_pictures import SMALL, write_pictures
from tests.faults import Survived
from tests.pipelines.corpus_build.fault_operators import write_drills
from tests.pipelines.corpus_build.rows_compared import row_ids, rows_compared
from tests.pipelines.corpus_build.test_faults_operators import DRILLED

pytestmark = [pytest.mark.drill, pytest.mark.ray]

PICTURES = 48
TIMEOUT_S = 240


def start(module: str, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"tests.pipelines.corpus_build.{module}", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_node_that_is_removed_in_mid_build_costs_nothing(tmp_path: Path, survived: Survived) -> None:
    source, out = write_drills(tmp_path / "source", dict.fromkeys(range(PICTURES), "slow"), PICTURES), tmp_path / "out"
    build = start("build_on_two_nodes", source, out)
    printed, errors = build.communicate(timeout=TIMEOUT_S)
    assert build.returncode == 0, errors[-2000:]
    answer = json.loads(printed.splitlines()[-1])
    on_second, tries = answer["tries"]
    shards = len(list(out.glob("data/*/*")))
    assert answer["removed"]
    assert answer["removed"][0] < shards  # the build was not over
    assert on_second > 0
    assert tries > shards  # the scan's part and each shard once, and what was under way on the node again
    undisturbed = run_build([str(source)], str(tmp_path / "undisturbed"), DRILLED, engine=in_process)
    survived("node taken away", work="corpus build", **rows_compared(out, undisturbed.out))
    assert answer["digest"] == undisturbed.digest
    assert len(row_ids(out)) == len(set(row_ids(out))) == PICTURES
    assert verify(str(out)) == []


def test_of_two_drivers_on_one_corpus_at_least_one_wins_and_a_loser_says_so(tmp_path: Path, survived: Survived) -> None:
    sources = [write_pictures(tmp_path / f"source{n}", 40, first=n * 10) for n in range(2)]
    out = tmp_path / "out"
    builds = [start("build_process", source, out, "1") for source in sources]
    printed = [build.communicate(timeout=TIMEOUT_S) for build in builds]
    winners = [answer.split()[-1] for build, (answer, _) in zip(builds, printed, strict=True) if build.returncode == 0]
    losers = [errors for build, (_, errors) in zip(builds, printed, strict=True) if build.returncode != 0]
    assert winners
    assert all("another build committed snapshot" in errors for errors in losers)
    assert open_snapshot(str(out)).digest in winners
    assert len(row_ids(out)) == len(set(row_ids(out))) == 40
    assert verify(str(out)) == []
    for source in sources:  # whoever lost goes on from there
        digest = run_build([str(source)], str(out), SMALL, engine=in_process).digest
        undisturbed = run_build([str(source)], f"{out}-{source.name}", SMALL, engine=in_process)
        survived("two builds of one corpus", work="corpus build", **rows_compared(out, undisturbed.out))
        assert digest == undisturbed.digest
