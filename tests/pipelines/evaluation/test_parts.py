"""The parts of an evaluation: how pairs are dealt out, what a file holds, and parts that end their workers."""

from pathlib import Path

import numpy as np
import pytest

from dataprep.errors import DataError
from eval.errors import EvalError
from eval.protocols.pairing import Pair
from pipelines.common.errors import PipelineError
from pipelines.evaluation import parts
from pipelines.evaluation.scoring.pair_scorer import PairResult
from pipelines.evaluation.tasks import part_tasks


@pytest.mark.parametrize(
    ("pairs", "sizes"),
    [(1, [1]), (8, [8]), (10, [8, 2]), (100, [16] * 6 + [4]), (512, [64] * 8), (520, [64] * 8 + [8])],
)
def test_a_part_is_whole_batches_of_which_a_small_evaluation_has_some_for_each_worker(
    pairs: int, sizes: list[int]
) -> None:
    found = parts.split(pairs)
    assert [len(part) for part in found] == sizes
    assert [place for part in found for place in part] == list(range(pairs))


def test_a_task_of_many_holds_more_than_five_hundred_pairs() -> None:
    pieces = dict(enumerate(parts.split(52_000)))
    tasks = part_tasks("k", pieces, 8, "")
    assert {task["pairs"] for task in tasks[:-1]} == {512}
    assert sum(task["pairs"] for task in tasks) == 52_000
    assert len(tasks) == 102


def result(value: float, vector: list[float], picture: bytes | None = None) -> PairResult:
    pictures = {"result_png": picture} if picture else {}
    return PairResult({"a": {"a": value}, "b": {}}, pictures, {"result@b": np.array(vector, np.float32)}, "drawn")


def test_a_part_gives_back_to_the_last_digit_what_was_measured(tmp_path: Path) -> None:
    uri, nan = parts.part_uri(str(tmp_path), 3), float("nan")
    results = [result(1 / 3, [0.1, 0.2], b"png"), result(nan, [0.3, 1e-30], b"png")]
    pairs = [Pair("s", "r", 1), Pair("s", "q", 2, "r")]
    parts.write_part(uri, pairs, results)
    assert parts.parts_there(str(tmp_path)) == {3}
    table = parts.read_part(uri)
    for found in (parts.measured(table), parts.measured(parts.part_table(pairs, results))):
        assert found.columns.keys() == {"a", "b"}
        np.testing.assert_array_equal(found.columns["a"]["a"], [1 / 3, nan])
        assert found.vectors["result@b"].dtype == np.float32
        np.testing.assert_array_equal(found.vectors["result@b"], np.array([[0.1, 0.2], [0.3, 1e-30]], np.float32))
    assert parts.without_vectors(table).column_names == [
        *("sketch_id", "reference_id", "seed", "other_reference_id", "style", "pair_type", "a", "result_png"),
    ]


def test_columns_of_one_name_and_damaged_files_are_errors(tmp_path: Path) -> None:
    twice = PairResult({"a": {"x": 1.0}, "b": {"x": 2.0}})
    with pytest.raises(EvalError, match="b has a column x"):
        parts.write_part(parts.part_uri(str(tmp_path), 0), [Pair("s", "r", 1)], [twice])
    assert parts.parts_there(str(tmp_path)) == set()
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="is damaged; delete it"):
        parts.read_part(str(damaged))


def test_a_part_that_ends_its_workers_is_given_up_and_a_new_call_tries_again(tmp_path: Path) -> None:
    uri = parts.part_uri(str(tmp_path), 7)
    for _ in range(parts.TRIES):
        parts.begin(uri)
    with pytest.raises(PipelineError, match=r"5 workers ended while they measured 000007\.parquet"):
        parts.begin(uri)
    assert parts.parts_there(str(tmp_path)) == set()
    parts.forget_tries(str(tmp_path))
    parts.begin(uri)
