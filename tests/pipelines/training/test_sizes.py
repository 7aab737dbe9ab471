"""Steps of changing shapes train as equal ones do, however they are dealt out and loaded; what was replaced is told."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from dataprep.corpus.reader import CorpusReader
from jobs.cli import run
from model.checkpoint import load_checkpoint
from model.families.v1.network import V1
from pipelines.common.errors import PipelineError
from pipelines.recipes.stage_recipe import with_length
from pipelines.training.batch_shares import Loader
from pipelines.training.feeder import sample_plans
from pipelines.training.stage import TrainReport, plan_stage, read_history, train_stage
from tests.corpus_pictures import harm_cell
from tests.pipelines.training.train_helpers import Bench, losses, quick_recipe

pytestmark = pytest.mark.ray

CLASS_TOKEN = "v1.cls-0.1"  # the network that is told least, so that its own kind is trained and sampled here too
RANDOM: dict[str, Any] = {
    "stage": CLASS_TOKEN,
    "sizes": "random",
    "size_range": (48, 80),
    "sample_images": 10**6,
    "images": 40,
}
HARMED = 5


@pytest.fixture(scope="module")
def harmed(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The corpus of the bench, with one colour picture cut off."""
    corpus = str(shutil.copytree(bench.corpus, tmp_path_factory.mktemp("harmed") / "corpus"))
    place = CorpusReader(corpus, "train", ["color"], facts=False).place(HARMED)
    harm_cell(dict(place.files)["color"], place.position, lambda data: data[: len(data) // 2])
    return corpus


def trained(bench: Bench, corpus: str, out: Path, workers: int, loader: Loader) -> TrainReport:
    plan = plan_stage(quick_recipe(**RANDOM), corpus, str(out), None, workers, loader)
    return train_stage(plan, log_file=bench.folder / "train.log", tracking_uri=bench.store)


@pytest.fixture(scope="module")
def two(bench: Bench, harmed: str, tmp_path_factory: pytest.TempPathFactory) -> TrainReport:
    """A run of random sizes on two workers that load in threads."""
    return trained(bench, harmed, tmp_path_factory.mktemp("sizes") / "two", 2, "threads")


@pytest.mark.drill
def test_random_sizes_on_two_workers_with_threads_equal_one_worker_with_ray_tasks(
    bench: Bench, harmed: str, two: TrainReport, tmp_path: Path
) -> None:
    one = trained(bench, harmed, tmp_path / "one", 1, "ray")
    assert losses(one.out) == pytest.approx(losses(two.out), rel=0, abs=1e-5)
    histories = [read_history(report.out) for report in (one, two)]
    told, as_told = ([record for record in history if "replaced" in record] for history in histories)
    assert told == as_told
    check_replaced(harmed, [found for record in told for found in record["replaced"]])
    assert one.replaced == two.replaced == sum(len(record["replaced"]) for record in told)


def check_replaced(corpus: str, found: list[dict[str, Any]]) -> None:
    reader = CorpusReader(corpus, "train", ["color"], facts=False)
    plan, _ = sample_plans(with_length(quick_recipe(**RANDOM), [len(reader)]), reader.index)
    assert [entry["ordinal"] for entry in found] == [n for n in range(40) if plan.row_of(n) == HARMED]
    assert len(found) >= 3
    assert {entry["row"] for entry in found} == {reader.ids[HARMED]}
    assert all("truncated" in entry["reason"] and entry["by"] in reader.ids for entry in found)


@pytest.mark.drill
def test_a_class_token_stage_trains_samples_and_is_loaded_as_what_it_is(two: TrainReport) -> None:
    model, metadata = load_checkpoint(Path(two.checkpoint))
    assert isinstance(model, V1)
    assert metadata.stage == CLASS_TOKEN
    assert model.config.reference_tokens == quick_recipe(CLASS_TOKEN).method.reference_tokens
    assert len(list(Path(two.out, "samples").glob("*-0000000*.png"))) == 8


def test_a_stage_of_buckets_is_as_long_as_its_buckets_need(bench: Bench, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"sizes": "buckets", "images": 0, "epochs": 3, "batch_size": 8}
    plan = plan_stage(quick_recipe(**changes), bench.corpus, str(tmp_path / "out"), None, 1)
    rows = CorpusReader(bench.corpus, "train", [], facts=True).index
    assert rows.buckets == ("768x768",)
    assert plan.recipe.length.images == -(-3 * len(rows) // 8) * 8


def test_loading_as_tasks_without_a_free_cpu_is_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="a CPU beside those of the 2 workers"):
        trained(bench, bench.corpus, tmp_path / "out", 2, "ray")


def test_an_unknown_loader_is_named(bench: Bench, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*bench.arguments(tmp_path / "out"), "--loader", "tasks"]) == 2
    assert "there is no loader 'tasks'" in capfd.readouterr().err
