"""Every planned sample is dealt out once, and a feeder gives the same samples from any start, on any workers."""

import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from dataprep.corpus.reader import CorpusReader
from dataprep.errors import DataError
from dataprep.pictures.decode import decode
from dataprep.samples.sample import model_reference
from dataprep.samples.sample_plan import SamplePlan, SecondRows, stage_rows
from model.batch import Draw, Needs
from pipelines.common.overrides import SettingsError
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.recipes.stages import stage_recipe
from pipelines.training.batch_shares import BatchShares, Loader
from pipelines.training.draws import draw
from pipelines.training.feeder import Fed, Feeder, rows_by_bucket, sample_plans, sample_settings, stage_seed
from tests.corpus_pictures import SMALL, harm_cell, write_pictures

REFERENCE = 16


class Noised:
    """A stage that asks for the pictures of v1, and for numbers of every kind, some of them of the sample's size."""

    needs = Needs(reference_size=REFERENCE)

    def draws(self, width: int, height: int) -> Sequence[Draw]:
        latents = (2, height // 8, width // 8)
        return (
            Draw("timesteps", "integers", below=1000),
            Draw("chances", "uniform", (2,)),
            Draw("noise", "normal", latents),
            Draw("posterior_noise", "normal", latents),
            Draw("token_noise", "normal", (3, 5)),
        )


RECIPE = stage_recipe("v1.noisy").changed(
    batch_size=8, micro_batch=2, width=32, height=32, styles=("xdog",), reference_drop=0.5
)
STAGE = Noised()
SETTINGS = sample_settings(RECIPE, STAGE.needs)
RANDOM = RECIPE.changed(sizes="random", size_range=(16, 48), size_multiple=8)
BUCKETS = RECIPE.changed(sizes="buckets", bucket_sizes=("32x32", "40x24", "24x40"))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> CorpusReader:
    source = write_pictures(tmp_path_factory.mktemp("source"), 10)
    out = str(tmp_path_factory.mktemp("corpus"))
    run_build([str(source)], out, replace(SMALL, validation_share=0.0), engine=in_process)
    return CorpusReader(out, "train", SETTINGS.columns())


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> CorpusReader:
    """Twenty rows of three aspects; the color of row 3 is cut off in the middle and row 4 has none."""
    source = tmp_path_factory.mktemp("source")
    for first, (width, height) in enumerate(((64, 48), (40, 72), (56, 56))):
        write_pictures(source, 9 - 2 * first, 100 * first, width=width, height=height)
    out = tmp_path_factory.mktemp("corpus")
    run_build([str(source)], str(out), replace(SMALL, validation_share=0.0), engine=in_process)
    reader = CorpusReader(str(out), "train", SETTINGS.columns())
    for row, harm in ((3, lambda data: data[: len(data) // 2]), (4, lambda data: None)):
        place = reader.place(row)
        harm_cell(dict(place.files)["color"], place.position, harm)
    return CorpusReader(str(out), "train", SETTINGS.columns())


@contextmanager
def feeder(
    reader: CorpusReader,
    workers: int,
    rank: int,
    images_seen: int,
    recipe: StageRecipe = RECIPE,
    loader: Loader = "threads",
) -> Iterator[Feeder]:
    shares = BatchShares.of(recipe.length, workers)
    feeding = Feeder(reader, recipe, STAGE, shares=shares, rank=rank, images_seen=images_seen, loader=loader)
    try:
        yield feeding
    finally:
        feeding.close()


def taken(
    reader: CorpusReader, workers: int, rank: int, images_seen: int, count: int, recipe: StageRecipe, loader: Loader
) -> list[Fed]:
    with feeder(reader, workers, rank, images_seen, recipe, loader) as feeding:
        return [feeding.next() for _ in range(count)]


def steps(
    reader: CorpusReader,
    workers: int,
    images_seen: int,
    count: int,
    recipe: StageRecipe = RECIPE,
    loader: Loader = "threads",
) -> list[dict[str, torch.Tensor]]:
    """The samples of `count` global batches, all ranks together, in the order of their ordinals."""
    micros = BatchShares.of(recipe.length, workers).accumulation
    ranks = [taken(reader, workers, rank, images_seen, count * micros, recipe, loader) for rank in range(workers)]
    return [
        joined([batch for rank in ranks for batch in rank[step * micros : (step + 1) * micros]])
        for step in range(count)
    ]


def joined(taken: list[Fed]) -> dict[str, torch.Tensor]:
    parts = [{**fed.batch.pictures, **fed.batch.draws} for fed in taken]
    assert parts[0].keys() == {"sketch", "color", "reference", *(asked.name for asked in STAGE.draws(8, 8))}
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def check_equal(found: list[dict[str, torch.Tensor]], truth: list[dict[str, torch.Tensor]]) -> None:
    for ours, theirs in zip(found, truth, strict=True):
        for name, tensor in theirs.items():
            assert torch.equal(ours[name], tensor), name


@pytest.mark.parametrize("micro", [1, 3, 64])
@pytest.mark.parametrize("workers", [1, 2, 4, 8, 24])
def test_shares_deal_out_every_ordinal_exactly_once(workers: int, micro: int) -> None:
    shares = BatchShares.of(RECIPE.changed(batch_size=24, micro_batch=micro).length, workers)
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
        BatchShares.of(RECIPE.changed(batch_size=batch, micro_batch=micro).length, workers)


@pytest.mark.parametrize("recipe", [RECIPE, RANDOM, BUCKETS], ids=lambda recipe: recipe.samples.sizes)
def test_two_and_four_workers_and_other_micro_batches_see_what_one_sees(
    mixed: CorpusReader, recipe: StageRecipe
) -> None:
    alone = steps(mixed, 1, 0, 3, recipe)
    check_equal(steps(mixed, 2, 0, 3, recipe), alone)
    check_equal(steps(mixed, 4, 0, 3, recipe), alone)
    check_equal(steps(mixed, 2, 0, 3, recipe.changed(micro_batch=4)), alone)


@pytest.mark.parametrize("recipe", [RECIPE, RANDOM, BUCKETS], ids=lambda recipe: recipe.samples.sizes)
def test_a_restart_goes_on_at_the_exact_sample_on_any_number_of_workers(
    mixed: CorpusReader, recipe: StageRecipe
) -> None:
    undisturbed = steps(mixed, 1, 0, 4, recipe)
    check_equal(steps(mixed, 1, 2 * RECIPE.length.batch_size, 2, recipe), undisturbed[2:])
    check_equal(steps(mixed, 2, 3 * RECIPE.length.batch_size, 1, recipe), undisturbed[3:])


@pytest.mark.parametrize("recipe", [RANDOM, BUCKETS], ids=lambda recipe: recipe.samples.sizes)
def test_every_step_has_one_shape_and_steps_differ(mixed: CorpusReader, recipe: StageRecipe) -> None:
    seen = set()
    for step in steps(mixed, 2, 0, 8, recipe):  # torch.cat has refused ranks of different shapes
        height, width = step["color"].shape[2:]
        assert step["sketch"].shape[2:] == (height, width)
        assert step["noise"].shape[1:] == step["posterior_noise"].shape[1:] == (2, height // 8, width // 8)
        assert step["reference"].shape[2:] == (REFERENCE, REFERENCE)
        seen.add((width, height))
    allowed = {(32, 32), (40, 24), (24, 40)}
    assert seen == allowed if recipe is BUCKETS else len(seen) > 3


def test_rows_of_a_step_are_those_of_nearest_aspect_and_all_are_seen(mixed: CorpusReader) -> None:
    plan, sizes = sample_plans(BUCKETS, mixed.index)
    aspects = {(64, 48): (40, 24), (40, 72): (24, 40), (56, 56): (32, 32)}
    for ordinal in range(3 * 48):
        row = mixed.row(plan.row_of(ordinal))
        assert sizes.size_of(ordinal) == aspects[row["width"], row["height"]]
    counts = Counter(plan.row_of(ordinal) for ordinal in range(stage_rows([9, 7, 5], 3, 8)))
    assert sorted(counts) == list(range(21))
    assert min(counts.values()) >= 3


def test_without_bucket_sizes_the_buckets_are_those_the_corpus_was_built_with(mixed: CorpusReader) -> None:
    buckets = rows_by_bucket(BUCKETS.changed(bucket_sizes=()), mixed.index)
    assert {name: len(rows) for name, rows in buckets.items()} == {"896x640": 9, "576x960": 7, "768x768": 5}


@pytest.mark.ray
@pytest.mark.parametrize("recipe", [RECIPE, BUCKETS], ids=lambda recipe: recipe.samples.sizes)
def test_ray_tasks_make_the_samples_that_threads_make(
    ray_engine: None, mixed: CorpusReader, recipe: StageRecipe
) -> None:
    check_equal(steps(mixed, 1, 8, 3, recipe, "ray"), steps(mixed, 1, 8, 3, recipe))


@pytest.mark.ray
def test_what_a_task_replaced_or_could_not_read_is_told_as_by_threads(
    ray_engine: None, mixed: CorpusReader, reader: CorpusReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = (
        [found for fed in taken(mixed, 1, 0, 0, 12, RECIPE, loader) for found in fed.replaced]
        for loader in ("ray", "threads")
    )
    assert there == here
    assert here
    elsewhere = CorpusReader(mixed.uri, "train", SETTINGS.columns())
    monkeypatch.setattr(elsewhere, "uri", elsewhere.uri + "-gone")
    with feeder(elsewhere, 1, 0, 0, loader="ray") as feeding, pytest.raises(DataError, match="there is no such file"):
        feeding.next()


@pytest.mark.parametrize("recipe", [RECIPE, BUCKETS], ids=lambda recipe: recipe.samples.sizes)
def test_a_row_that_cannot_be_used_is_replaced_by_rule_and_told(
    mixed: CorpusReader, recipe: StageRecipe, caplog: pytest.LogCaptureFixture
) -> None:
    plan, _ = sample_plans(recipe, mixed.index)
    batches = taken(mixed, 1, 0, 0, 24, recipe, "threads")
    replaced = {found.ordinal: found for fed in batches for found in fed.replaced}
    planned = {ordinal: plan.row_of(ordinal) for ordinal in range(48)}
    assert set(replaced) == {ordinal for ordinal, row in planned.items() if row in (3, 4)}
    assert len(replaced) >= 3
    for ordinal, found in replaced.items():
        assert found.row == mixed.ids[planned[ordinal]]
        assert ("truncated" if planned[ordinal] == 3 else "has no color") in found.reason
        standing_in = (plan.replacement_of(ordinal, attempt) for attempt in range(1, 8))
        assert found.by == mixed.ids[next(row for row in standing_in if row not in (3, 4))]
        assert f"sample {ordinal}: row {found.row} cannot be used" in caplog.text
    colors = torch.cat([fed.batch.pictures["reference"] for fed in batches])
    for ordinal, found in replaced.items():
        truth = model_reference(decode(mixed.row(mixed.ids.index(found.by))["color"]).rgb, SETTINGS)
        np.testing.assert_array_equal(colors[ordinal].numpy(), truth)


def test_too_many_unusable_rows_stop_the_stage(mixed: CorpusReader) -> None:
    told = r"17 rows for \d+ samples could not be used, more than 5%"
    with feeder(mixed, 1, 0, 0) as feeding, pytest.raises(DataError, match=told):
        deque(feeding.next() for _ in range(200))
    assert feeding.replaced == 17


def test_rows_follow_the_sample_plan_through_epochs(reader: CorpusReader) -> None:
    plan = SamplePlan(len(reader), stage_seed(RECIPE))
    seen = torch.cat([step["reference"] for step in steps(reader, 1, 0, 5)])
    rows = [plan.row_of(ordinal) for ordinal in range(40)]
    for ordinal, row in enumerate(rows):
        truth = model_reference(decode(reader.row(row)["color"]).rgb, SETTINGS)
        np.testing.assert_array_equal(seen[ordinal].numpy(), truth)
    assert Counter(rows) == {row: 4 for row in range(10)}


def test_random_numbers_are_those_of_the_samples_ordinals(reader: CorpusReader) -> None:
    truth = draw(stage_seed(RECIPE), range(8, 16), STAGE.draws(32, 32))
    found = steps(reader, 2, 8, 1)[0]
    for name, tensor in truth.items():
        assert torch.equal(found[name], tensor), name


def test_the_same_row_is_augmented_anew_each_time(reader: CorpusReader) -> None:
    plan = SamplePlan(len(reader), stage_seed(RECIPE))
    colors = torch.cat([step["color"] for step in steps(reader, 1, 0, 5)])
    first = [ordinal for ordinal in range(40) if plan.row_of(ordinal) == 0]
    assert len({colors[ordinal].numpy().tobytes() for ordinal in first}) == len(first)


def test_stages_and_seeds_see_samples_in_orders_of_their_own() -> None:
    seeds = {
        stage_seed(stage_recipe(stage).changed(seed=seed)) for stage in ("v1.noisy", "v1.refine") for seed in (0, 1)
    }
    assert len(seeds) == 4


def test_waiting_for_samples_is_counted(reader: CorpusReader) -> None:
    with feeder(reader, 1, 0, 0) as feeding:
        feeding.next()
        assert feeding.waited_s > 0


def test_a_closed_feeder_leaves_no_thread(reader: CorpusReader) -> None:
    with feeder(reader, 1, 0, 0) as feeding:
        feeding.next()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("samples", "draws"))]


def test_what_goes_wrong_with_a_sample_is_raised_where_it_is_taken(reader: CorpusReader) -> None:
    recipe = RECIPE.changed(styles=("drawn",))
    with feeder(reader, 1, 0, 0, recipe) as feeding, pytest.raises(DataError, match=r"none of the 8 rows .* drawn"):
        feeding.next()


def test_a_second_reference_is_of_another_row_and_the_same_wherever_it_is_made(reader: CorpusReader) -> None:
    class Paired(Noised):
        needs = Needs(reference_size=REFERENCE, pictures=("color", "second_reference"))

    def fed(workers: int) -> list[Fed]:
        found = []
        for rank in range(workers):
            shares = BatchShares.of(RECIPE.length, workers)
            feeding = Feeder(reader, RECIPE, Paired(), shares=shares, rank=rank, images_seen=0)
            found += [feeding.next() for _ in range(shares.accumulation)]
            feeding.close()
        return found

    alone, two = (torch.cat([part.batch.pictures["second_reference"] for part in fed(count)]) for count in (1, 2))
    assert torch.equal(alone, two)
    plan, seed = SamplePlan(len(reader), stage_seed(RECIPE)), stage_seed(RECIPE)
    second = SecondRows(len(reader), seed)
    for ordinal, made in enumerate(alone):
        row = plan.row_of(ordinal)
        other = second.row_of(ordinal, row)
        assert other != row
        truth = model_reference(decode(reader.row(other)["color"]).rgb, SETTINGS)
        np.testing.assert_array_equal(made.numpy(), truth)
