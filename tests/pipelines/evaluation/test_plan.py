"""What an evaluation is before it starts: its pairs follow from corpus and seed, and what cannot be done is refused."""

from pathlib import Path

import pytest

from dataprep.errors import DataError
from eval.errors import EvalError
from model.diffusion.sampling_settings import SamplingSettings
from model.errors import ModelError
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from pipelines.evaluation.plan import EvaluatePlan, plan_evaluation
from tests.pipelines.training.untrained import write_checkpoint

QUICK = SamplingSettings(steps=2)


def plan(
    checkpoint: str, corpus: str, protocol: str, out: Path, limit: int | None = None, seed: int = 0, ema: bool = False
) -> EvaluatePlan:
    return plan_evaluation(checkpoint, corpus, protocol, str(out), sampling=QUICK, limit=limit, seed=seed, ema=ema)


@pytest.mark.parametrize("protocol", ["self", "deformed-reference", "random-reference", "known-answer"])
def test_the_pairing_follows_from_corpus_and_seed_alone(
    checkpoint: str, corpus: str, tmp_path: Path, protocol: str
) -> None:
    first, again, other = (
        plan(checkpoint, corpus, protocol, tmp_path / str(seed), 4, seed).pairs for seed in (0, 0, 1)
    )
    assert len(first) == 4
    assert first == again != other


@pytest.mark.parametrize(("limit", "pairs"), [(4, 4), (5, 4), (3, 2), (2, 2)])
def test_known_answer_pairs_come_in_couples_and_never_more_than_asked(
    checkpoint: str, corpus: str, tmp_path: Path, limit: int, pairs: int
) -> None:
    assert len(plan(checkpoint, corpus, "known-answer", tmp_path, limit).pairs) == pairs


def test_without_a_limit_every_validation_row_is_used(checkpoint: str, corpus: str, tmp_path: Path) -> None:
    rows = {pair.sketch_id for pair in plan(checkpoint, corpus, "self", tmp_path).pairs}
    resolved = plan(checkpoint, corpus, "random-reference", tmp_path)
    assert {pair.sketch_id for pair in resolved.pairs} == rows
    assert all(pair.sketch_id != pair.reference_id for pair in resolved.pairs)
    assert resolved.columns == ("color", "sketch_drawn", "sketch_xdog")


def test_a_plan_writes_nothing(checkpoint: str, corpus: str, tmp_path: Path) -> None:
    plan(checkpoint, corpus, "self", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_evaluated_is_refused_before_work_starts(checkpoint: str, corpus: str, tmp_path: Path) -> None:
    nowhere, out = str(tmp_path / "nowhere"), tmp_path / "out"
    with pytest.raises(SettingsError, match="did you mean self"):
        plan(checkpoint, corpus, "selv", out)
    with pytest.raises(PipelineError, match="holds no checkpoint"):
        plan(nowhere, corpus, "self", out)
    with pytest.raises(DataError, match="no corpus here"):
        plan(checkpoint, nowhere, "self", out)
    with pytest.raises(ModelError, match="family 'rasc'"):
        plan(write_checkpoint(tmp_path / "rasc", family="rasc"), corpus, "self", out)
    with pytest.raises(ModelError, match="holds no moving average of its weights") as refused:
        plan(checkpoint, corpus, "self", out, ema=True)
    assert "\n" not in str(refused.value)
    with pytest.raises(PipelineError, match="these would be 96x64"):
        plan(write_checkpoint(tmp_path / "wide", 96, 64), corpus, "known-answer", out)


def test_known_answers_need_assembled_pictures(checkpoint: str, unassembled: str, tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="assembled drawings"):
        plan(checkpoint, unassembled, "known-answer", tmp_path / "out")
