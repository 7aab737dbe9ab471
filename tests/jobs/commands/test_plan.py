"""`irodori plan` as it is called."""

import json
import time
from pathlib import Path

import pytest

from tests.jobs.command import irodori

CLUSTER = str(Path(__file__).parents[3] / "ray_cluster.yaml")


@pytest.mark.seconds
def test_a_corpus_is_forecast_for_people_and_for_programs() -> None:
    call = ("plan", "plain", "--rows", "6000000", "--cluster", CLUSTER, "--price", "cpu_worker=2")
    told = irodori(*call).stdout
    assert "plain, 6,000,000 rows, on 20 x cpu_worker (c7i.16xlarge)" in told
    assert "assumed: log-normal, median 1.0" in told
    document = json.loads(irodori(*call, "--json").stdout)
    assert document["totals"]["cost"] == pytest.approx(2 * document["totals"]["machine_hours"])
    assert {"scan", "columns"} == {phase["name"] for phase in document["phases"]}


def test_a_stage_is_forecast_on_the_gpus() -> None:
    told = irodori("plan", "v1.noisy", "--rows", "1000000", "--cluster", CLUSTER).stdout
    assert "4 x gpu_worker" in told
    assert "5 epochs of 1,000,000 training rows" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plain2", "--rows", "5"), "did you mean plain"),
        (("v1.nosy", "--rows", "5"), "did you mean v1.noisy"),
        (("plain", "--rows", "5", "--megapixels", "danboru"), "did you mean danbooru"),
        (("plain", "--rows", "5", "--megapixels", "-1"), "no positive number"),
        (("plain", "--rows", "5", "--price", "there=1"), "no worker group 'there'"),
        (("plain", "--rows", "5", "--store", "tape"), "s3 or disk"),
        (("plain", "--rows", "0"), "rows"),
    ],
)
def test_wrong_calls_are_answered_at_once_with_what_is_near(arguments: tuple[str, ...], said: str) -> None:
    started = time.monotonic()
    assert said in irodori("plan", *arguments, code=2).stderr
    assert time.monotonic() - started < 30  # the bar is 1.5 s on a quiet machine


def test_a_cluster_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("a: 1")
    assert (
        "no cluster file" in irodori("plan", "plain", "--rows", "5", "--cluster", "c.yaml", cwd=tmp_path, code=1).stderr
    )


@pytest.mark.seconds
def test_a_recipe_of_a_paper_is_forecast_for_the_rows_that_the_paper_counts() -> None:
    told = irodori("plan", "danbooru-6m", "--cluster", CLUSTER).stdout
    assert "danbooru-6m, 6,000,000 rows, on 20 x cpu_worker (c7i.16xlarge)" in told
    assert "and 4 x gpu_worker (p5.48xlarge) of 192 CPUs, 8 GPUs: estimate, " in told
    on_cores = json.loads(irodori("plan", "rasc-40k", "--set", "networks.device=cpu", "--json").stdout)
    assert on_cores["rows"] == 41_969
    assert on_cores["totals"]["gpu_hours"] == 0
    assert "--rows N is needed" in irodori("plan", "plain", code=2).stderr
