"""Networks in a build: lanes, batches, what a failure costs, and where they run."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dataprep.corpus.column_files import read_rows
from dataprep.corpus_tools.info import open_snapshot, verify
from dataprep.faults import Failure
from dataprep.limits import LimitSettings
from dataprep.operators.operator import Operator
from dataprep.pictures.decode import decode_png
from pipelines.common.errors import PipelineError
from pipelines.corpus_build.batches import batches
from pipelines.corpus_build.build import run_build
from pipelines.corpus_build.lanes import Lane, lanes
from pipelines.execution.capacity import Capacity, NodeType
from pipelines.execution.ray_data import Actors, Step, Steps, Work, in_process, placed
from pipelines.recipes.build_recipe import NetworkSettings
from tests.corpus_pictures import SMALL, write_pictures
from tests.faults import Survived
from tests.pipelines.corpus_build.fault_operators import write_drills
from tests.pipelines.corpus_build.network_operators import (
    EDGES,
    TRACED,
    Edges,
    batches_seen,
    by_hand,
    laplacian,
    loads,
)
from tests.pipelines.corpus_build.rows_compared import rows_compared

LIMITS = LimitSettings(seconds_per_pass=2)
NETWORKS = NetworkSettings(device="cpu", window=5, batch_megapixels=0.03)  # two pictures of 128 x 96 in a batch
RECIPE = replace(SMALL, shard_rows=12, extra_operators=(EDGES, TRACED), networks=NETWORKS, limits=LIMITS)


def column(out: str, name: str) -> dict[str, tuple[bytes | None, str | None]]:
    """id -> (value, error) of a column of the newest snapshot."""
    files = [file for file in open_snapshot(out).table("files").to_pylist() if file["column"] == name]
    return {
        row["id"]: (row[name], row["error"])
        for file in files
        for row in read_rows(Path(out, file["path"]).read_bytes(), name, file["path"])
    }


def drilled(tmp_path: Path, drills: dict[int, str]) -> list[str]:
    return [str(write_drills(tmp_path / "source", drills, 16))]


def operator(name: str, inputs: Sequence[Operator] = (), learned: bool = False) -> Operator:
    return Operator(name, name, 1, lambda _: None, inputs=tuple(inputs), network=Edges() if learned else None)


def test_operators_run_as_early_as_their_inputs_allow_with_networks_apart() -> None:
    color, lines = operator("color"), operator("lines", learned=True)
    again = operator("again", [lines], learned=True)
    regions = operator("regions", [again, color])
    last = operator("last", [regions], learned=True)
    assert lanes([color, lines, again, regions, last, operator("mask", learned=True)]) == (
        Lane(("color",), False),
        Lane(("lines", "again", "mask"), True),
        Lane(("regions",), False),
        Lane(("last",), True),
    )


def test_a_batch_holds_pictures_of_one_size_up_to_its_pixels() -> None:
    shapes = [(1, 100, 100), (1, 200, 100), (1, 100, 100), (1, 100, 100), None, (1, 900, 900)]
    planes = [None if shape is None else np.zeros(shape, np.float32) for shape in shapes]
    planes.insert(2, Failure("raised", "not this one"))  # type: ignore[arg-type]
    assert list(batches(planes, 0.02)) == [[0, 3], [4], [1], [6]]
    assert [len(batch) for batch in batches(planes, 0)] == [1] * 5


def test_a_network_gives_what_it_gives_by_hand_in_batches_over_windows(tmp_path: Path) -> None:
    batches_seen.clear()
    run_build(drilled(tmp_path, {}), str(tmp_path / "out"), RECIPE, engine=in_process)
    colors, sketches = (column(str(tmp_path / "out"), name) for name in ("color", "sketch_edges"))
    for row_id, (value, _) in sketches.items():
        assert value is not None
        gray = gray_png(colors[row_id][0])
        np.testing.assert_allclose(decode_png(value) / 255, by_hand(laplacian(gray)), atol=1 / 255)
    assert max(Counter(shape[0] for shape in batches_seen)) == 2
    assert sum(shape[0] for shape in batches_seen) == 16


def gray_png(color: bytes | None) -> np.ndarray:
    assert color is not None
    picture = cv2.imdecode(np.frombuffer(color, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)


def test_neither_windows_nor_batches_nor_actors_are_part_of_what_a_corpus_holds(tmp_path: Path) -> None:
    source = drilled(tmp_path, {})
    first = run_build(source, str(tmp_path / "one"), RECIPE, engine=in_process)
    other = replace(RECIPE, networks=NetworkSettings(window=1, batch_megapixels=9.0, actors=3))
    assert run_build(source, str(tmp_path / "two"), other, engine=in_process).digest == first.digest
    assert not run_build(source, str(tmp_path / "one"), other, engine=in_process).is_new


def test_a_picture_that_fails_takes_no_other_of_its_batch_with_it(tmp_path: Path) -> None:
    out, drills = str(tmp_path / "out"), {3: "raises", 8: "nan", 12: "waits"}
    report = run_build(drilled(tmp_path, drills), out, RECIPE, engine=in_process)
    errors = sorted(error for _, error in column(out, "sketch_edges").values() if error)
    assert errors == [
        "not-finite: 1 of 12288 values are NaN or infinite",
        "raised: no such layer",
        "timeout: took more than 2 s",
    ]
    assert report.failures == {"sketch_edges": 3}
    assert not any(error for _, error in column(out, "sketch_traced").values())
    assert verify(out) == []


def test_a_row_of_which_the_network_is_not_asked_has_its_other_value(tmp_path: Path) -> None:
    write_pictures(tmp_path / "source", 4, height=36)
    run_build([str(tmp_path / "source")], str(tmp_path / "out"), RECIPE, engine=in_process)
    values = [value for value, _ in column(str(tmp_path / "out"), "sketch_edges").values()]
    assert len(values) == 4
    assert not any(decode_png(value).any() for value in values if value)


def test_a_cell_that_a_later_try_mends_renews_what_a_later_lane_makes_of_it(tmp_path: Path) -> None:
    source, out = drilled(tmp_path, {5: "waits"}), str(tmp_path / "out")
    run_build(source, out, RECIPE, engine=in_process)
    (victim,) = [row_id for row_id, (_, error) in column(out, "sketch_edges").items() if error]
    (traced, _) = column(out, "sketch_traced")[victim]
    assert traced is not None
    assert set(decode_png(traced).ravel()) == {128}
    patient = replace(RECIPE, limits=LimitSettings(seconds_per_pass=300))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.pipelines.corpus_build.network_operators.time.sleep", lambda _: None)
        report = run_build(source, out, patient, engine=in_process, retry=["timeout"])
    assert report.cells == {"sketch_edges": 1, "sketch_traced": 1}
    assert report.digest == run_build(drilled_alike(tmp_path), f"{out}-plain", RECIPE, engine=undisturbed).digest


def drilled_alike(tmp_path: Path) -> list[str]:
    return [str(tmp_path / "source")]


def undisturbed(work: Work, tasks: Sequence[Any]) -> Iterator[Any]:
    """The engine, with a network that does not wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.pipelines.corpus_build.network_operators.time.sleep", lambda _: None)
        yield from in_process(work, tasks)


def test_a_killed_build_computes_no_lane_again_that_was_written(tmp_path: Path) -> None:
    source, out = drilled(tmp_path, {}), str(tmp_path / "out")

    def dies_after_networks(work: Work, tasks: Sequence[Any]) -> Iterator[Any]:
        if not isinstance(work, Steps):
            yield from in_process(work, tasks)
            return
        for task in tasks:
            Steps(work.steps[:2])(task)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_build(source, out, RECIPE, engine=dies_after_networks)
    batches_seen.clear()
    report = run_build(source, out, RECIPE, engine=in_process)
    assert batches_seen == []
    assert set(report.cells) == {"sketch_traced"}


@pytest.mark.drill
@pytest.mark.ray
@pytest.mark.parametrize("actors", [0, 1], ids=["tasks", "actor"])
def test_a_network_that_kills_its_process_costs_one_cell_on_ray(
    ray_engine: None, tmp_path: Path, actors: int, drill_random: np.random.Generator, survived: Survived
) -> None:
    dies, raises = (int(number) for number in drill_random.permutation(16)[:2])
    out, source = str(tmp_path / "out"), drilled(tmp_path, {dies: "dies", raises: "raises"})
    recipe = replace(RECIPE, networks=replace(NETWORKS, actors=actors))
    report = run_build(source, out, recipe)
    errors = sorted(error for _, error in column(out, "sketch_edges").values() if error)
    plain = run_build(source, str(tmp_path / "plain"), replace(recipe, extra_operators=()), engine=in_process)
    counts = rows_compared(out, plain.out)
    beside = max(len(errors) - 2, 0)  # cells that failed with those that had to
    survived(
        "network kills its process",
        work="corpus build",
        lost=counts["lost"] + beside,
        doubled=counts["doubled"],
    )
    assert errors == ["crashed: the worker died on it 2 times", "raised: no such layer"]
    assert sum(report.rows.values()) == 16
    assert verify(out) == []


def test_a_network_is_loaded_once_for_a_shard_and_not_for_shards_that_need_nothing(tmp_path: Path) -> None:
    source, out = drilled(tmp_path, {}), str(tmp_path / "out")
    loads.clear()
    report = run_build(source, out, RECIPE, engine=in_process)
    assert len(loads) == report.computed["sketch_edges"]
    loads.clear()
    run_build(source, out, replace(RECIPE, buckets=replace(RECIPE.buckets, sizes=("64x64",))), engine=in_process)
    assert loads == []


def work(task: dict) -> dict:
    return task


def up(*nodes: tuple[float, float]) -> Capacity:
    return Capacity(nodes)


def test_on_cpus_alone_all_lanes_are_one_task_unless_actors_are_asked_for() -> None:
    steps = Steps((Step(work), Step(work, NetworkSettings()), Step(work)))
    assert [actors for _, actors in placed(steps, up((8, 0)), 100)] == [None]
    asked = replace(steps, steps=(Step(work), Step(work, NetworkSettings(actors=2, cpus=3)), Step(work)))
    assert [actors for _, actors in placed(asked, up((4, 0), (4, 0)), 100)] == [None, Actors(2, 3, 0), None]
    wide = Steps((Step(work, NetworkSettings(cpus=3)),))
    assert placed(wide, up((8, 0)), 100)[0][1] == Actors(2, 3, 0)
    with pytest.raises(PipelineError, match="9 CPUs for actors"):
        placed(Steps((Step(work, NetworkSettings(actors=3, cpus=3)),)), up((8, 0)), 100)


def test_actors_share_the_gpus_of_each_machine() -> None:
    steps = Steps((Step(work), Step(work, NetworkSettings(per_gpu=4, cpus=2))))
    assert placed(steps, up((64, 2)), 100)[1][1] == Actors(8, 2, 0.25)
    assert placed(steps, up((64, 0), (8, 2), (8, 2)), 100)[1][1] == Actors(8, 2, 0.25)  # CPUs beside the GPUs count
    assert placed(steps, up((64, 2)), 5)[1][1] == Actors(5, 2, 0.25)
    two = Steps((Step(work, NetworkSettings(per_gpu=4)), Step(work), Step(work, NetworkSettings(per_gpu=4))))
    assert [actors.most for _, actors in placed(two, up((64, 2)), 100) if actors] == [4, 4]


def test_gpus_that_a_cluster_can_bring_are_asked_for_where_none_is_up_yet() -> None:
    empty = Capacity(((0, 0),), (NodeType("cpu", 64, 0, 20), NodeType("gpu", 16, 8, 2)), most=24)
    for device in ("auto", "cuda"):
        asked = Steps((Step(work, NetworkSettings(device=device, per_gpu=4)),))
        assert placed(asked, empty, 100) == [(work, Actors(32, 1, 0.25))]
        unknown = replace(empty, types=None)
        assert placed(asked, unknown, 100) == [(work, Actors(100, 1, 0.25) if device == "cuda" else None)]
    few = Steps((Step(work, NetworkSettings(device="cuda", per_gpu=4, actors=16)),))
    assert placed(few, empty, 100) == [(work, Actors(16, 1, 0.25))]


def test_gpus_that_can_never_be_there_are_refused_at_once() -> None:
    asked = Steps((Step(work, NetworkSettings(device="cuda")),))
    with pytest.raises(PipelineError, match=r"node types are cpu \(up to 20, 0 GPUs each\).*networks.device=cpu"):
        placed(asked, Capacity((), (NodeType("cpu", 64, 0, 20),), most=24), 100)
