"""Every row comes as often as promised, every step has one size, and nothing but (seed, ordinal) decides."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dataprep.samples.sample_plan import BucketPlan, FixedSize, RandomSize, SamplePlan, SecondRows, stage_rows

SIZES = {"768x768": 137, "576x960": 45, "960x576": 16, "640x896": 3}
BATCH = 16
FIRST_ORDER = [3, 2, 8, 6, 4, 0, 7, 9, 1, 5, 2, 4, 7, 9, 3, 5, 8, 0, 1, 6]


def bucket_rows() -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(0).permutation(sum(SIZES.values())).astype(np.int32)
    parts = np.split(numbers, np.cumsum(list(SIZES.values()))[:-1])
    return dict(zip(SIZES, parts, strict=True))


def bucket_plan(seed: int = 5, **options: Any) -> BucketPlan:
    return BucketPlan(bucket_rows(), BATCH, seed, **options)


def test_each_epoch_is_a_permutation_of_its_own() -> None:
    plan = SamplePlan(100, seed=3)
    epochs = [[plan.row_of(epoch * 100 + i) for i in range(100)] for epoch in range(3)]
    assert all(sorted(rows) == list(range(100)) for rows in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != list(range(100))


def test_the_order_of_samples_is_the_one_that_runs_so_far_have_seen() -> None:
    """Written down at the first release: another order would change every run that is resumed."""
    assert [SamplePlan(10, 7).row_of(ordinal) for ordinal in range(20)] == FIRST_ORDER


@pytest.mark.parametrize("make", [lambda seed: SamplePlan(50, seed), bucket_plan], ids=["all", "buckets"])
def test_the_plan_depends_on_seed_and_ordinal_alone(make: Callable[[int], SamplePlan | BucketPlan]) -> None:
    forwards = [make(7).row_of(ordinal) for ordinal in range(700)]
    plan = make(7)
    backwards = [plan.row_of(ordinal) for ordinal in reversed(range(700))]
    assert forwards == backwards[::-1]
    assert forwards != [make(8).row_of(ordinal) for ordinal in range(700)]


def test_a_plan_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        SamplePlan(0, 0)
    with pytest.raises(ValueError, match="at least one row"):
        BucketPlan({"768x768": np.zeros(0, np.int32)}, BATCH, 0)


def test_all_samples_of_a_step_come_from_one_bucket_and_have_its_size() -> None:
    plan, rows = bucket_plan(), bucket_rows()
    seen = set()
    for step in range(60):
        ordinals = range(step * BATCH, (step + 1) * BATCH)
        (size,) = {plan.size_of(ordinal) for ordinal in ordinals}
        bucket = f"{size[0]}x{size[1]}"
        assert {plan.row_of(ordinal) for ordinal in ordinals} <= set(rows[bucket].tolist())
        seen.add(bucket)
    assert seen == set(SIZES)


@pytest.mark.parametrize("epochs", [1, 2, 5, 12])
def test_after_so_many_epochs_every_row_was_seen_as_often_and_less_than_a_batch_of_each_bucket_oftener(
    epochs: int,
) -> None:
    plan, rows = bucket_plan(), bucket_rows()
    seen = Counter(plan.row_of(ordinal) for ordinal in range(stage_rows(SIZES.values(), epochs, BATCH)))
    for bucket, held in rows.items():
        counts = [seen[int(row)] for row in held]
        assert min(counts) >= epochs, bucket
        assert sum(counts) - epochs * len(held) < BATCH, bucket
        assert max(counts) - min(counts) <= 1, bucket


def test_each_pass_over_a_bucket_shows_each_of_its_rows_once() -> None:
    plan, rows = bucket_plan(), bucket_rows()
    held = set(rows["576x960"].tolist())
    stream = [row for row in map(plan.row_of, range(8000)) if row in held]
    passes = [stream[start : start + 45] for start in range(0, len(stream) - 45, 45)]
    assert len(passes) > 10
    assert all(sorted(found) == sorted(held) for found in passes)
    assert passes[0] != passes[1]


def test_buckets_come_in_proportion_to_their_rows_in_any_long_stretch() -> None:
    plan = bucket_plan()
    steps = Counter(plan.size_of(step * BATCH) for step in range(1000, 3000))
    total = sum(SIZES.values())
    for bucket, rows in SIZES.items():
        width, height = map(int, bucket.split("x"))
        assert steps[width, height] == pytest.approx(2000 * rows / total, abs=8)


def test_the_steps_of_an_epoch_are_shuffled_anew_each_time() -> None:
    plan = bucket_plan()
    epochs = [tuple(plan.size_of((epoch * 13 + step) * BATCH) for step in range(13)) for epoch in range(8)]
    assert len(set(epochs)) == 8


def test_table_weights_draw_the_square_four_times_as_often_however_full_it_is() -> None:
    plan = bucket_plan(weights="table")
    blocks = [Counter(plan.size_of((block * 7 + step) * BATCH) for step in range(7)) for block in range(20)]
    assert all(counts == {(768, 768): 4, (576, 960): 1, (960, 576): 1, (640, 896): 1} for counts in blocks)
    seen = Counter(plan.row_of(ordinal) for ordinal in range(7 * 60 * BATCH))
    for held in bucket_rows().values():
        counts = [seen[int(row)] for row in held]
        assert max(counts) - min(counts) <= 1


def test_a_corpus_smaller_than_a_batch_still_makes_steps() -> None:
    plan = BucketPlan({"64x64": np.arange(3, dtype=np.int32)}, 8, 0)
    seen = [plan.row_of(ordinal) for ordinal in range(24)]
    assert Counter(seen) == {0: 8, 1: 8, 2: 8}


@pytest.mark.parametrize("plan", [SamplePlan(201, 3), bucket_plan()], ids=["all", "buckets"])
def test_replacements_are_told_apart_by_attempt_and_ordinal_and_stay_in_the_bucket(
    plan: SamplePlan | BucketPlan,
) -> None:
    drawn = {(n, attempt): plan.replacement_of(n, attempt) for n in range(200) for attempt in (1, 2)}
    assert drawn == {key: plan.replacement_of(*key) for key in drawn}
    assert len(set(drawn.values())) > 60
    assert any(drawn[n, 1] != drawn[n, 2] for n in range(0, 200, 16))
    if isinstance(plan, BucketPlan):
        rows = bucket_rows()
        for (ordinal, _), row in drawn.items():
            width, height = plan.size_of(ordinal)
            assert row in rows[f"{width}x{height}"]


def test_random_sizes_are_one_to_a_step_and_uniform_in_width_and_height_alone() -> None:
    plan = RandomSize(768, 1280, 64, BATCH, seed=1)
    sizes = [plan.size_of(step * BATCH) for step in range(4000)]
    assert all(plan.size_of(step * BATCH + 15) == sizes[step] for step in range(0, 4000, 100))
    for side in (0, 1):
        counts = Counter(size[side] for size in sizes)
        assert sorted(counts) == list(range(768, 1281, 64))
        assert max(abs(count - 4000 / 9) for count in counts.values()) < 4 * (4000 / 9) ** 0.5
    assert abs(np.corrcoef(np.array(sizes).T)[0, 1]) < 0.06


def test_a_fixed_size_is_the_same_at_every_ordinal() -> None:
    assert {FixedSize(96, 64).size_of(ordinal) for ordinal in (0, 1, 10**12)} == {(96, 64)}


@pytest.mark.parametrize("wrong", [(768, 700, 64), (770, 1280, 64), (0, 64, 64)])
def test_sizes_that_cannot_be_are_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 64"):
        RandomSize(*wrong, batch=1, seed=0)


@pytest.mark.parametrize("weights", ["fill", "table"])
def test_six_million_rows_in_22_buckets_are_planned_within_seconds_from_any_start(weights: str) -> None:
    import time

    counts = np.random.default_rng(0).integers(50, 600_000, 22)
    starts = np.concatenate([[0], np.cumsum(counts)])
    rows = {f"{64 * n + 64}x64": np.arange(starts[n], starts[n + 1], dtype=np.int32) for n in range(22)}
    started = time.perf_counter()
    plan = BucketPlan(rows, 256, 0, weights)  # type: ignore[arg-type]
    assert all(0 <= plan.row_of(ordinal) < starts[-1] for ordinal in (0, 1, 255, 29_999_999))
    assert time.perf_counter() - started < 5


def test_the_second_row_is_any_other_each_as_likely() -> None:
    plan = SecondRows(5, seed=3)
    counts = Counter(plan.row_of(ordinal, 2) for ordinal in range(2000))
    assert set(counts) == {0, 1, 3, 4}
    assert all(abs(count - 500) < 4 * np.sqrt(500) for count in counts.values())
    assert plan.row_of(9, 2) == SecondRows(5, seed=3).row_of(9, 2)


def test_the_second_row_may_be_of_the_same_group() -> None:
    groups = np.array([7, 4, 7, 9, 7, 4], np.int32)
    plan = SecondRows(6, 3, groups)
    found = {row: {plan.row_of(ordinal, row) for ordinal in range(100)} for row in range(6)}
    assert found == {0: {2, 4}, 1: {5}, 2: {0, 4}, 3: {3}, 4: {0, 2}, 5: {1}}


def test_the_only_row_is_its_own_second() -> None:
    assert SecondRows(1, 0).row_of(0, 0) == 0
