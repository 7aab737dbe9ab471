"""Every planned sample is dealt out once, and a feeder gives the same samples from any start, on any workers."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from dataprep.pictures import decode
from dataprep.reader import CorpusReader
from dataprep.sample_plan import SamplePlan
from dataprep.sample import model_reference
from pipelines.build import run_build
from pipelines.build_tasks import in_process
from pipelines.draws import draw
from pipelines.recipes import StageRecipe, stage_recipe
from pipelines.settings import SettingsError
from pipelines.shares import Shares
from pipelines.train_data import Batch, Feeder, columns, sample_settings, stage_seed
from tests.corpus_pictures import SMALL, write_pictures

RECIPE = replace(
    stage_recipe("v1.noisy"), batch_size=8, micro_batch=2, width=32, height=32, styles=("xdog",), reference_drop=0.5
)
LATENT, TOKENS, REFERENCE = (2, 4, 4), (3, 5), 16


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> CorpusReader:
    source = write_pictures(tmp_path_factory.mktemp("source"), 10)
    out = str(tmp_path_factory.mktemp("corpus"))
    run_build([str(source)], out, replace(SMALL, validation_share=0.0), engine=in_process)
    return CorpusReader(out, "train", columns(RECIPE))


@contextmanager
def feeder(
    reader: CorpusReader, workers: int, rank: int, images_seen: int, recipe: StageRecipe = RECIPE
) -> Iterator[Feeder]:
    shares = Shares.of(recipe, workers)
    sizes = {"reference_size": REFERENCE, "latent_shape": LATENT, "token_shape": TOKENS}
    feeding = Feeder(reader, recipe, shares, rank, images_seen, **sizes)
    try:
        yield feeding
    finally:
        feeding.close()


def taken(reader: CorpusReader, workers: int, rank: int, images_seen: int, count: int) -> list[Batch]:
    with feeder(reader, workers, rank, images_seen) as feeding:
        return [feeding.next() for _ in range(count)]


def steps(reader: CorpusReader, workers: int, images_seen: int, count: int) -> list[dict[str, torch.Tensor]]:
    """The samples of `count` global batches, all ranks together, in the order of their ordinals."""
    micros = Shares.of(RECIPE, workers).accumulation
    ranks = [taken(reader, workers, rank, images_seen, count * micros) for rank in range(workers)]
    return [
        joined([batch for rank in ranks for batch in rank[step * micros : (step + 1) * micros]])
        for step in range(count)
    ]


def joined(batches: list[Batch]) -> dict[str, torch.Tensor]:
    pictures = {
        name: torch.cat([getattr(batch, name) for batch in batches]) for name in ("sketch", "color", "reference")
    }
    drawn = {name: torch.cat([getattr(batch.draws, name) for batch in batches]) for name in vars(batches[0].draws)}
    return pictures | drawn


def check_equal(found: list[dict[str, torch.Tensor]], truth: list[dict[str, torch.Tensor]]) -> None:
    for ours, theirs in zip(found, truth, strict=True):
        for name, tensor in theirs.items():
            assert torch.equal(ours[name], tensor), name


@pytest.mark.parametrize("micro", [1, 3, 64])
@pytest.mark.parametrize("workers", [1, 2, 4, 8, 24])
def test_shares_deal_out_every_ordinal_exactly_once(workers: int, micro: int) -> None:
    shares = Shares.of(replace(RECIPE, batch_size=24, micro_batch=micro), workers)
    dealt = [
        ordinal
        for start in (0, 24, 48)
        for rank in range(workers)
        for part in shares.ordinals(start, rank)
        for ordinal in part
    ]
    assert sorted(dealt) == list(range(72))
    assert all(len(part) == shares.micro_batch for part in shares.ordinals(0, 0))


@pytest.mark.parametrize(("batch", "micro", "workers", "told"), [(16, 8, 3, "3 workers"), (12, 4, 2, "micro_batch=4")])
def test_a_batch_that_cannot_be_dealt_out_equally_is_refused(batch: int, micro: int, workers: int, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        Shares.of(replace(RECIPE, batch_size=batch, micro_batch=micro), workers)


def test_two_and_four_workers_see_what_one_sees(reader: CorpusReader) -> None:
    alone = steps(reader, 1, 0, 3)
    check_equal(steps(reader, 2, 0, 3), alone)
    check_equal(steps(reader, 4, 0, 3), alone)


def test_a_restart_goes_on_at_the_exact_sample_on_any_number_of_workers(reader: CorpusReader) -> None:
    undisturbed = steps(reader, 1, 0, 4)
    check_equal(steps(reader, 1, 2 * RECIPE.batch_size, 2), undisturbed[2:])
    check_equal(steps(reader, 2, 3 * RECIPE.batch_size, 1), undisturbed[3:])


def test_rows_follow_the_sample_plan_through_epochs(reader: CorpusReader) -> None:
    plan, settings = SamplePlan(len(reader), stage_seed(RECIPE)), sample_settings(RECIPE, REFERENCE)
    seen = torch.cat([step["reference"] for step in steps(reader, 1, 0, 5)])
    rows = [plan.row_of(ordinal) for ordinal in range(40)]
    for ordinal, row in enumerate(rows):
        truth = model_reference(decode(reader.row(row)["color"]).rgb, settings)
        np.testing.assert_array_equal(seen[ordinal].numpy(), truth)
    assert Counter(rows) == {row: 4 for row in range(10)}


def test_random_numbers_are_those_of_the_samples_ordinals(reader: CorpusReader) -> None:
    truth = draw(stage_seed(RECIPE), range(8, 16), LATENT, TOKENS, 0.5, 0.0)
    found = steps(reader, 2, 8, 1)[0]
    for name, tensor in vars(truth).items():
        assert torch.equal(found[name], tensor), name


def test_the_same_row_is_augmented_anew_each_time(reader: CorpusReader) -> None:
    plan = SamplePlan(len(reader), stage_seed(RECIPE))
    colors = torch.cat([step["color"] for step in steps(reader, 1, 0, 5)])
    first = [ordinal for ordinal in range(40) if plan.row_of(ordinal) == 0]
    assert len({colors[ordinal].numpy().tobytes() for ordinal in first}) == len(first)


def test_stages_and_seeds_see_samples_in_orders_of_their_own() -> None:
    seeds = {
        stage_seed(replace(stage_recipe(stage), seed=seed)) for stage in ("v1.noisy", "v1.refine") for seed in (0, 1)
    }
    assert len(seeds) == 4


def test_waiting_for_samples_is_counted(reader: CorpusReader) -> None:
    with feeder(reader, 1, 0, 0) as feeding:
        feeding.next()
        assert feeding.waited_s > 0


def test_a_closed_feeder_leaves_no_thread(reader: CorpusReader) -> None:
    with feeder(reader, 1, 0, 0) as feeding:
        feeding.next()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("samples")]


def test_what_goes_wrong_with_a_sample_is_raised_where_it_is_taken(reader: CorpusReader) -> None:
    recipe = replace(RECIPE, styles=("drawn",))
    with feeder(reader, 1, 0, 0, recipe) as feeding, pytest.raises(RuntimeError, match="no sketch of the styles drawn"):
        feeding.next()
