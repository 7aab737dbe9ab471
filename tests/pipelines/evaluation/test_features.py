"""What is kept of sets: features for other distances, and beside the snapshot the statistics of the real pictures."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.evaluation.driver import made_up, made_up_plan
from dataprep.errors import DataError
from dataprep.storage.store import write_whole
from eval.metrics.sets.frechet import FRECHET_DISTANCE, FrechetStatistics
from eval.protocols.pairing import to_parquet
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.common.errors import PipelineError
from pipelines.evaluation import parts, real_statistics
from pipelines.evaluation.evaluate import evaluate, score_parts
from pipelines.evaluation.features import read_features, read_results
from pipelines.evaluation.plan import EvaluatePlan, _known_real, plan_evaluation, real_address
from pipelines.evaluation.tasks import PAIRING, part_tasks

PAIRS = 400


def written(plan: EvaluatePlan) -> EvaluatePlan:
    """The plan, with its parts measured: made up, without what the plan does not keep."""
    write_whole(f"{plan.out}/{PAIRING}", to_parquet(plan.pairs))
    for task in part_tasks(plan.key, dict(enumerate(parts.split(PAIRS))), 8, ""):
        made_up(task, plan.out)
    unkept = [view for view in FRECHET_DISTANCE.vectors if view not in plan.vectors]
    for number in range(len(parts.split(PAIRS))):
        uri = parts.part_uri(plan.out, number)
        table = parts.read_part(uri)
        kept = json.dumps([name for name in parts.vector_names(table) if name not in unkept])
        metadata = {**table.schema.metadata, parts.VECTORS: kept.encode()}
        parts.write_table(uri, table.drop_columns(unkept).replace_schema_metadata(metadata))
    return plan


def plan(folder: Path, name: str) -> EvaluatePlan:
    return replace(made_up_plan(PAIRS, str(folder / name)), corpus=str(folder / "corpus"), digest="d" * 64)


def test_statistics_of_real_pictures_are_kept_and_give_the_same_score_to_the_last_digit(tmp_path: Path) -> None:
    first = plan(tmp_path, "first")
    assert _known_real(first) == {}
    scores, styles = score_parts(written(first))
    assert styles == {"": PAIRS}
    uri = real_address(first, "efficientnet_lite0_320")
    assert Path(uri).parent == tmp_path / "corpus" / "statistics"
    assert real_statistics.read(uri).count == PAIRS

    second = plan(tmp_path, "second")
    second = replace(second, real=_known_real(second))
    assert second.real == {"efficientnet_lite0_320": uri}
    assert second.vectors == ("result@efficientnet_lite0_320",)
    assert second.settings["real_statistics"] == "efficientnet_lite0_320"
    again, _ = score_parts(written(second))
    assert [(item.name, item.value, item.interval) for item in again] == [
        (item.name, item.value, item.interval) for item in scores
    ]


def test_an_evaluation_goes_on_as_it_was_begun(tmp_path: Path) -> None:
    """Statistics that another one wrote meanwhile do not change what its parts hold."""
    begun, other = plan(tmp_path, "begun"), plan(tmp_path, "other")
    write_whole(f"{begun.out}/evaluation.json", json.dumps(begun.settings).encode())
    score_parts(written(other))
    assert _known_real(begun) == {}
    assert _known_real(plan(tmp_path, "third")).keys() == {"efficientnet_lite0_320"}


def test_other_pictures_sizes_or_networks_have_statistics_of_their_own(tmp_path: Path) -> None:
    known = plan(tmp_path, "out")
    changed = (
        replace(known, pairs=known.pairs[1:]),
        replace(known, width=256),
        replace(known, resize="squash"),
        replace(known, digest="e" * 64),
    )
    addresses = {real_address(one, "efficientnet_lite0_320") for one in (known, *changed)}
    assert len(addresses) == 5


def test_few_pictures_damaged_files_and_a_corpus_that_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = FrechetStatistics(4)
    few.update(np.ones((4, 4)))
    uri = str(tmp_path / "a.npz")
    real_statistics.keep(uri, few)
    assert not Path(uri).exists(), "of few pictures they would take more room than the features"
    few.update(np.ones((4, 4)))
    (tmp_path / "file").write_text("in the place of a folder")
    real_statistics.keep(str(tmp_path / "file" / "a.npz"), few)
    real_statistics.keep(uri, few)
    Path(uri).write_bytes(Path(uri).read_bytes()[:-30])
    with pytest.raises(DataError, match="is damaged; delete it"):
        real_statistics.read(uri)


@pytest.mark.ray
def test_kept_features_are_scored_again_without_colouring(
    ray_engine: None, checkpoint: str, corpus: str, store: str, tmp_path: Path
) -> None:
    def resolved(out: str, metrics: tuple[str, ...] | None = None, seed: int = 0, reuse: str = "") -> EvaluatePlan:
        return plan_evaluation(
            checkpoint,
            corpus,
            "random-reference",
            str(tmp_path / out),
            sampling=SamplingSettings(steps=1),
            metrics=metrics,
            seed=seed,
            keep_features=not reuse,
            small_sets=True,
            reuse=reuse,
        )

    kept = resolved("kept")
    first = evaluate(kept, log_file=tmp_path / "log", tracking_uri=store)
    features, count = read_features(kept.out), len(kept.pairs)
    assert {name: len(values) for name, values in features.items()} == dict.fromkeys(FRECHET_DISTANCE.vectors, count)
    again = resolved("again", reuse=kept.out)
    second = evaluate(again, log_file=tmp_path / "log", tracking_uri=store)
    assert second["scores"] == first["scores"]
    assert second["styles"] == first["styles"] == {"drawn": count}
    assert [row["sketch_id"] for row in read_results(again.out)] == [pair.sketch_id for pair in kept.pairs]
    with pytest.raises(PipelineError, match=r"other settings \(pairing: "):
        evaluate(resolved("other", seed=1, reuse=kept.out), log_file=tmp_path / "log", tracking_uri=store)
    with pytest.raises(PipelineError, match=r"seconds needs seconds, which .* did not keep"):
        evaluate(resolved("more", ("seconds",), reuse=kept.out), log_file=tmp_path / "log", tracking_uri=store)
    with pytest.raises(PipelineError, match="has no features: they are kept by --keep-features"):
        read_features(again.out)
    with pytest.raises(PipelineError, match="is no finished evaluation"):
        evaluate(resolved("none", reuse=str(tmp_path / "no")), log_file=tmp_path / "log", tracking_uri=store)
