"""Training a stage: the same numbers however a batch is dealt out, what is refused, what is left behind."""

import json
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import save_file

from dataprep.corpus_tools.info import info
from dataprep.pictures.decode import decode_png
from dataprep.storage.store import exists, join, list_files
from jobs.cli import run
from model.checkpoint import load_checkpoint, read_metadata
from model.families.v1.network import V1
from pipelines.common.errors import PipelineError
from pipelines.lineage import find_chain
from pipelines.training.stage import TrainReport, read_history
from pipelines.weights.checkpoints import fetch_checkpoint
from pipelines.weights.frozen import bundled_networks
from tests.pipelines.training.train_helpers import BATCH, QUICK, Bench, losses, quick_recipe

pytestmark = pytest.mark.ray

TOLERANCE = 1e-5
REFINE: dict[str, Any] = {"stage": "v1.refine", "images": 2 * BATCH}
HALF: dict[str, Any] = {"precision": "bf16", "images": 2 * BATCH, "checkpoint_images": BATCH}


@pytest.fixture(scope="module")
def parent(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed run, as another folder whose checkpoint brings a network that the tiny size has no use for."""
    folder = tmp_path_factory.mktemp("parent")
    shutil.copytree(undisturbed / "checkpoint", folder / "checkpoint")
    shutil.copy(undisturbed / "lineage.json", folder)
    save_file({"a": torch.rand(3)}, folder / "checkpoint" / "sd-vae.safetensors")
    return folder


@pytest.fixture(scope="module")
def refined(bench: Bench, parent: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainReport:
    """Two steps of `v1.refine` from `parent`."""
    return bench.train(tmp_path_factory.mktemp("refined") / "out", workers=1, parent=str(parent), **REFINE)


@pytest.fixture(scope="module")
def on_s3(bench: Bench, s3_bucket: str) -> TrainReport:
    """Two steps in bf16 whose output is on S3."""
    return bench.train(f"{s3_bucket}/training/bf16", workers=1, **HALF)


def refused(arguments: list[str], capfd: pytest.CaptureFixture[str], code: int) -> str:
    """The one line that a refused command says."""
    assert run(arguments) == code
    said = capfd.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    return said


# ---- the numbers --------------------------------------------------------------------------------------------------


def test_one_worker_that_accumulates_agrees_with_two(bench: Bench, undisturbed: Path, tmp_path: Path) -> None:
    plan = bench.plan(tmp_path / "out", workers=1, micro_batch=2)
    assert (plan.shares.workers, plan.shares.micro_batch, plan.shares.accumulation) == (1, 2, 4)
    bench.train(tmp_path / "out", workers=1, micro_batch=2, sample_images=10**6)
    assert losses(tmp_path / "out") == pytest.approx(losses(undisturbed), rel=0, abs=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "micro_batch"), [(1, 8), (2, 4), (2, 2)])
def test_however_a_batch_is_dealt_out_the_losses_agree(
    bench: Bench, undisturbed: Path, tmp_path: Path, workers: int, micro_batch: int
) -> None:
    bench.train(tmp_path / "out", workers=workers, micro_batch=micro_batch, sample_images=10**6)
    assert losses(tmp_path / "out") == pytest.approx(losses(undisturbed), rel=0, abs=TOLERANCE)


def test_the_weights_move_and_every_record_says_where_it_is(undisturbed: Path) -> None:
    history = read_history(str(undisturbed))
    steps = [record for record in history if "loss" in record]
    assert [record["images_seen"] for record in steps] == [BATCH * (step + 1) for step in range(8)]
    rate = quick_recipe().optimizer.learning_rate
    assert all(record["gradient_norm"] > 0 and record["learning_rate"] == rate for record in steps)
    held_out = [record for record in history if "validation_loss" in record]
    assert [record["images_seen"] for record in held_out] == [0, 32, 64]
    assert held_out[-1]["validation_loss"] < held_out[0]["validation_loss"] - 0.01


@pytest.mark.s3
def test_bf16_trains_samples_and_keeps_fp32_masters(on_s3: TrainReport, undisturbed: Path) -> None:
    assert on_s3.images_seen == 2 * BATCH
    model, _ = load_checkpoint(fetch_checkpoint(on_s3.checkpoint))
    weights = next(model.parameters())
    assert weights.dtype.is_floating_point
    assert not weights.equal(weights.bfloat16().float())
    assert len([file for file in list_files(join(on_s3.out, "samples")) if "/0-0000000" in file.uri]) == 2
    assert losses(on_s3.out) == pytest.approx(losses(undisturbed)[:2], abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["v1.cls-0.1", "v1.proj-0.1"])  # the first also with random sizes: test_sizes.py
def test_class_token_stages_train_sample_and_are_loaded_as_what_they_are(
    bench: Bench, tmp_path: Path, stage: str
) -> None:
    report = bench.train(tmp_path / "out", workers=2, stage=stage, images=2 * BATCH, sample_images=2 * BATCH)
    model, metadata = load_checkpoint(Path(report.checkpoint))
    assert isinstance(model, V1)
    assert (metadata.stage, model.config.reference_tokens) == (stage, quick_recipe(stage).method.reference_tokens)
    assert len(list((tmp_path / "out" / "samples").glob("*-0000000*.png"))) == 8


# ---- what is left behind ------------------------------------------------------------------------------------------


def test_a_checkpoint_says_what_it_is_and_where_it_comes_from(bench: Bench, undisturbed: Path) -> None:
    metadata, facts = read_metadata(undisturbed / "checkpoint"), info(bench.corpus)
    assert (metadata.family, metadata.stage, metadata.size) == ("v1", "v1.noisy", "tiny")
    assert (metadata.parent, metadata.images_seen) == (None, QUICK["images"])
    assert (metadata.corpus_snapshot, metadata.corpus_digest) == (facts["snapshot"], facts["digest"])
    assert (metadata.width, metadata.height) == (64, 64)
    assert json.loads((undisturbed / "checkpoint" / "recipe.json").read_text())["batch_size"] == BATCH


def test_fixed_pairs_are_sampled_at_each_interval(undisturbed: Path) -> None:
    names = sorted(path.name for path in (undisturbed / "samples").iterdir())
    wanted = ("000000000", "000000032", "000000064", "reference", "sketch")
    assert names == [f"{pair}-{part}.png" for pair in range(4) for part in wanted]
    first, last = (decode_png((undisturbed / "samples" / f"0-{at}.png").read_bytes()) for at in wanted[:3:2])
    assert first.shape == (64, 64, 3)
    assert (first != last).any()


def test_a_network_that_came_with_the_parent_stays_with_what_is_trained_from_it(
    bench: Bench, parent: Path, refined: TrainReport, tmp_path: Path
) -> None:
    assert (
        bundled_networks(refined.checkpoint)
        == bundled_networks(str(parent / "checkpoint"))
        == bench.plan(tmp_path / "another", workers=1, parent=str(parent), **REFINE).frozen
    )
    other = Path(shutil.copytree(parent, tmp_path / "other"))
    save_file({"a": torch.rand(3)}, other / "checkpoint" / "sd-vae.safetensors")
    with pytest.raises(PipelineError, match="frozen_weights"):
        bench.plan(refined.out, workers=1, parent=str(other), **REFINE)


def test_refinement_continues_its_parent_and_the_chain_holds_both(
    undisturbed: Path, parent: Path, refined: TrainReport
) -> None:
    metadata = read_metadata(Path(refined.checkpoint))
    assert (metadata.stage, metadata.parent) == ("v1.refine", str(parent / "checkpoint"))
    chain = find_chain(refined.out)
    assert [node.kind for node in chain.nodes] == ["source", "corpus", "checkpoint", "checkpoint"]
    assert (str(parent / "checkpoint"), refined.checkpoint) in chain.edges  # where it lies now, not where it was made
    learned, begins_with = read_history(str(undisturbed))[-1], read_history(refined.out)[0]
    assert (learned["images_seen"], begins_with["images_seen"]) == (QUICK["images"], 0)
    assert begins_with["validation_loss"] == pytest.approx(learned["validation_loss"], abs=TOLERANCE)


@pytest.mark.s3
def test_an_output_on_s3_holds_the_checkpoint_and_is_complete_the_second_time(bench: Bench, on_s3: TrainReport) -> None:
    out = on_s3.out
    assert (on_s3.checkpoint, on_s3.already_complete) == (f"{out}/checkpoint", False)
    assert load_checkpoint(fetch_checkpoint(out))[1].images_seen == 2 * BATCH
    assert exists(join(out, "samples", "0-000000016.png"))
    assert exists(join(out, "states", f"{2 * BATCH:012d}", "state.json"))
    assert not list_files(join(out, ".lock")) + list_files(join(out, ".ray"))
    again = bench.train(out, workers=1, **HALF)
    assert (again.already_complete, again.loss) == (True, on_s3.loss)


# ---- what is refused, before anything starts ----------------------------------------------------------------------


def test_the_same_command_after_the_end_says_that_it_was_complete(
    bench: Bench, undisturbed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(bench.arguments(undisturbed)) == 0
    assert "was complete already, 64 images" in capfd.readouterr().out


def test_an_output_of_another_recipe_is_refused_with_the_difference(
    bench: Bench, undisturbed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = refused(bench.arguments(undisturbed, images=32, reference_drop=0.2), capfd, 1)
    assert "images: 64 -> 32" in said
    assert "reference_drop: 0.1 -> 0.2" in said
    assert "batch_size" not in said


def test_an_output_that_holds_something_else_is_refused(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    assert "holds no training run" in refused(bench.arguments(bench.corpus), capfd, 1)


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ([], 2, "v1.refine continues v1.noisy: give its output with --from"),
        (
            ["--from", "REFINED"],
            1,
            "is a v1 v1.refine tiny checkpoint; v1.refine at this size continues v1 v1.noisy tiny",
        ),
        (["--from", "CORPUS"], 1, "holds no checkpoint"),
    ],
    ids=["no parent", "a parent of another stage", "no checkpoint there"],
)
def test_a_stage_without_its_parent_names_what_it_needs(
    bench: Bench,
    undisturbed: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    given: list[str],
    code: int,
    words: str,
) -> None:
    places = {"REFINED": str(_relabelled(undisturbed, tmp_path, stage="v1.refine")), "CORPUS": bench.corpus}
    arguments = bench.arguments(tmp_path / "out", stage="v1.refine") + [places.get(part, part) for part in given]
    assert words in refused(arguments, capfd, code)
    assert not (tmp_path / "out").exists()


def test_a_batch_that_cannot_be_dealt_out_is_a_wrong_call(
    bench: Bench, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = refused(bench.arguments(tmp_path / "out", workers=3), capfd, 2)
    assert "batch_size=8 cannot be dealt out equally to 3 workers" in said


def test_a_dry_run_prints_the_recipe_and_starts_nothing(
    bench: Bench, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    assert run([*bench.arguments(tmp_path / "out"), "--dry-run"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert {key: document[key] for key in QUICK} == QUICK
    assert document["dealt_out"] == {"workers": 2, "micro_batch": 4, "accumulation": 1}
    assert not (tmp_path / "out").exists()
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before


def _relabelled(run_output: Path, folder: Path, **changes: Any) -> Path:
    """A copy of a run's checkpoint that says something else of itself."""
    copy = folder / "relabelled"
    copy.mkdir()
    for file in (run_output / "checkpoint").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | changes))
    return copy
