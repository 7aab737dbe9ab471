"""What version 0.1 wrote, as its users have it on their disks: the present version reads it all and goes on from it.

The files and how they were made: tests/assets/written_by_0_1/README.md. Most of it goes through the command line, whose
calls and documents are promised; what is inside may move.
"""

import gzip
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dataprep.corpus.reader import CorpusReader
from dataprep.corpus.snapshot import open_snapshot
from dataprep.pictures.decode import decode, decode_png
from jobs.cli import run
from model.checkpoint import load_checkpoint, read_metadata
from model.families.v1.sizes import V1_SIZES
from pipelines import lineage
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from pipelines.recipes.corpora import CORPUS_RECIPES
from pipelines.recipes.stages import stage_recipe
from pipelines.training.parents import start_network

KEPT = Path(__file__).parent / "assets" / "written_by_0_1"
SMALL = ["width=64", "height=64", "images=32", "warmup_images=0", "checkpoint_images=32"]
SMALL += ["sample_images=32", "validate_images=32"]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that tests may work in, elsewhere than where it was written."""
    return Path(shutil.copytree(KEPT, tmp_path_factory.mktemp("old") / "irodori"))


@pytest.fixture
def here(old: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(old)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{old}/mine.db")
    return old


@pytest.fixture
def small_size(old: Path) -> Iterator[None]:
    """The tiny size as small as that of the checkpoints, which were made for these tests."""
    network = read_metadata(old / "runs" / "noisy" / "checkpoint").network
    assert network is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(V1_SIZES, "tiny", network)
        yield


def document(capfd: pytest.CaptureFixture[str], *call: str) -> Any:
    """What the call prints with `--json`."""
    capfd.readouterr()
    assert run([*call, "--json"]) == 0
    return json.loads(capfd.readouterr().out)


# ---- the corpus -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snapshot", [1, 2])
def test_a_snapshot_opens_and_is_whole(here: Path, capfd: pytest.CaptureFixture[str], snapshot: int) -> None:
    written = json.loads((here / "corpus" / "snapshots" / f"{snapshot}.json").read_text())
    found = document(capfd, "corpus", "info", f"corpus@{snapshot}")
    assert (found["digest"], found["rows"], found["rejects"]) == (written["digest"], written["rows"], {"unreadable": 1})
    assert document(capfd, "corpus", "verify", f"corpus@{snapshot}") == {"damages": []}


def test_the_reader_gives_every_row_with_its_pictures_and_facts(here: Path) -> None:
    rows = [
        reader.row(index)
        for split in ("train", "validation")
        for reader in [
            CorpusReader(str(here / "corpus"), split, ["color", "sketch_drawn", "sketch_xdog", "region_map"])
        ]
        for index in range(len(reader))
    ]
    assert len(rows) == 16
    for row in rows:
        height, width = decode(row["color"]).rgb.shape[:2]
        assert decode_png(row["sketch_xdog"]).shape == decode_png(row["region_map"]).shape[:2] == (height, width)
    (drawn,) = (row for row in rows if row["caption"] == "two shapes")
    assert (drawn["tags"], decode_png(drawn["sketch_drawn"]).shape) == (["circle", "square"], (72, 72))


def test_a_build_goes_on_from_it_and_renews_only_where_the_pictures_lie(here: Path) -> None:
    shutil.copytree("corpus", "built")
    before = open_snapshot("built")
    demo = CORPUS_RECIPES["demo"]
    recipe = replace(demo, validation_share=0.4, shard_rows=16, regions=replace(demo.regions, threshold=99))
    at_own_size = replace(recipe, xdog=replace(recipe.xdog, long_side=0))  # as version 0.1 filtered them
    report = run_build(["pictures/drawings", "pictures/files"], "built", at_own_size, engine=in_process)
    assert (report.digest, report.snapshot) == (before.digest, 3)
    assert (set(report.computed), report.rejects) == ({"row"}, {"unreadable": 1})
    report = run_build(["pictures/drawings", "pictures/files"], "built", recipe, engine=in_process)
    assert (report.snapshot, set(report.computed)) == (4, {"sketch_xdog", "region_map"})
    assert open_snapshot("built", 3).digest == before.digest


# ---- checkpoints ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["noisy", "refine"])
def test_a_checkpoint_is_loaded_with_every_weight_and_inspected(
    here: Path, capfd: pytest.CaptureFixture[str], stage: str
) -> None:
    folder = here / "runs" / stage / "checkpoint"
    model, metadata = load_checkpoint(folder)
    assert (metadata.stage, metadata.images_seen) == (f"v1.{stage}", 32)
    kept = load_file(folder / "model.safetensors")
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == {
        name: tuple(value.shape) for name, value in kept.items()
    }
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    found = document(capfd, "weights", "inspect", str(folder))
    assert (found["family"], found["layout"], found["prediction_type"]) == ("v1", "irodori", metadata.prediction_type)


def test_a_moving_average_is_loaded(here: Path) -> None:
    plain, average = (load_checkpoint(here / "runs" / "refine" / "checkpoint", ema=ema)[0] for ema in (False, True))
    pairs = zip(plain.state_dict().values(), average.state_dict().values(), strict=True)
    assert any(not torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("name", ["result", "injected"])
def test_a_picture_is_made_again_from_its_provenance_with_equal_pixels(
    here: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    moved = ["--sketch", "line.png", "--reference", "colors.png", "--checkpoint", "runs/refine"]
    made = document(capfd, "colorize", "--replay", f"coloured/{name}.png", "--out", f"{name}-again.png", *moved)
    assert (made["equal"], made["largest"]) == (True, 0)
    then, now = (decode((here / file).read_bytes()).rgb for file in (f"coloured/{name}.png", f"{name}-again.png"))
    np.testing.assert_array_equal(then, now)


@pytest.mark.ray
def test_a_score_is_what_it_was(ray_engine: None, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    call = ["--checkpoint", "runs/refine", "--corpus", "corpus", "--protocol", "known-answer", "--out", "score-again"]
    now = document(capfd, "evaluate", *call, "--limit", "2", "--steps", "2")
    then = json.loads((here / "score" / "scores.json").read_text())
    assert now.keys() >= then.keys()
    assert now["scores"].keys() >= then["scores"].keys()
    for name, score in then["scores"].items():
        assert now["scores"][name] == (None if score is None else pytest.approx(score, rel=1e-3)), name


# ---- training -------------------------------------------------------------------------------------------------------


def train(stage: str, out: str, *more: str) -> int:
    settings = [f"--set={setting}" for setting in SMALL]
    return run(["train", stage, "--corpus", "corpus", "--out", out, *settings, *more])


def test_a_run_that_was_finished_is_complete_and_another_recipe_is_refused(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train("v1.noisy", "runs/noisy") == 0
    assert "was complete already, 32 images" in capfd.readouterr().out
    assert train("v1.noisy", "runs/noisy", "--set=seed=5") == 1
    assert "seed: 0 -> 5" in capfd.readouterr().err


def test_its_recipe_is_the_recipe_of_a_run_that_goes_on(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A run that was stopped has a recipe and no lineage: the same command is accepted, and resolves the same."""
    (here / "stopped").mkdir()
    shutil.copy(here / "runs" / "noisy" / "recipe.json", here / "stopped")
    assert train("v1.noisy", "stopped", "--dry-run") == 0
    resolved = json.loads(capfd.readouterr().out)
    written = json.loads((here / "stopped" / "recipe.json").read_text())
    assert {key: resolved[key] for key in written if key in resolved} == {
        key: value for key, value in written.items() if key in resolved
    }
    assert "batch_size" in resolved


def test_a_stage_starts_from_a_checkpoint_as_its_parent(
    here: Path, small_size: None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train("v1.refine", "next", "--from", "runs/noisy", "--dry-run") == 0
    assert json.loads(capfd.readouterr().out)["stage"] == "v1.refine"
    recipe = stage_recipe("v1.refine", "tiny").changed(width=64, height=64)
    folder = here / "runs" / "noisy" / "checkpoint"
    started, kept = start_network(recipe, folder).state_dict(), load_file(folder / "model.safetensors")
    assert all(torch.equal(value, kept[name]) for name, value in started.items())


# ---- where things come from -----------------------------------------------------------------------------------------


def chain(capfd: pytest.CaptureFixture[str], *where: str) -> tuple[list[str], int]:
    """The kinds of the nodes, and how many edges there are."""
    found = document(capfd, "lineage", *where)
    return sorted(node["kind"] for node in found["nodes"]), len(found["edges"])


KINDS = ["checkpoint", "checkpoint", "corpus", "evaluation", "source", "source"]


def test_the_chain_beside_an_output_is_read(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert chain(capfd, "score")[0] == KINDS


def test_the_mlflow_store_tells_the_same_chain_and_takes_a_new_run(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "mlflow.db").write_bytes(gzip.decompress((here / "mlflow.db.gz").read_bytes()))
    move_artifacts(here)
    store = f"sqlite:///{here / 'mlflow.db'}"
    run_id = json.loads((here / "score" / "lineage.json").read_text())["run_id"]
    assert chain(capfd, run_id, "--tracking-uri", store) == chain(capfd, "score")
    with lineage.run("evaluation", "known-answer", "more", store, {"seed": 0}) as more:
        more.log_metrics({"psnr": 20.0})
        more.finish(lineage.Node("more", "evaluation", "known-answer"), [lineage.Input("checkpoint", "runs/refine")])
    assert chain(capfd, "more")[0] == KINDS
    assert more.run_id is not None
    experiments = {mlflow.MlflowClient(store).get_run(number).info.experiment_id for number in (run_id, more.run_id)}
    assert len(experiments) == 1


def move_artifacts(here: Path) -> None:
    """As MLflow's users do when a store has moved: its database names the folder of artifacts by its address."""
    with closing(sqlite3.connect(here / "mlflow.db")) as database, database:
        found = database.execute("SELECT artifact_location FROM experiments WHERE name = 'irodori'").fetchone()[0]
        was = found[: found.index("mlflow-artifacts")]
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (was, f"{here}/"))
