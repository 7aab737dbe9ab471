"""A run goes on from the newest state that is whole, begins where there is none, and else says what is wrong."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from pipelines.common.errors import PipelineError
from pipelines.training.engines.plain import PlainEngine
from pipelines.training.state.resumable import gathered, write_state
from pipelines.training.state.resume import Place, Resumed, resume
from pipelines.training.state.store import StateStore
from tests.pipelines.training.state.stepped_engines import PairStage, stepped


@pytest.fixture(autouse=True, scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Engines, and ranks that agree, ask torch.distributed how many they are."""
    meeting = (tmp_path_factory.mktemp("meeting") / "file").as_uri()
    dist.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    """The states after one and after two steps."""
    store = StateStore(str(tmp_path / "out"))
    for steps in (1, 2):
        stage: Any = PairStage(0)
        engines = stepped(stage, steps)
        history = [{"images_seen": 8 * (step + 1), "loss": 0.5} for step in range(steps)]
        store.write(8 * steps, partial(write_state, state=gathered(stage, engines, False), history=history))
    return store


def gone_on(store: StateStore) -> tuple[Resumed, dict[str, PlainEngine]]:
    stage: Any = PairStage(1)
    engines = stepped(stage, 0)
    return resume(StateStore(store.out), Place(), stage, engines, False), engines


def newest(store: StateStore) -> Path:
    return Path(store.kept()[0].uri)


def test_the_newest_state_is_taken(store: StateStore) -> None:
    found, engines = gone_on(store)
    assert (found.position.images_seen, found.damaged) == (16, {})
    assert [record["images_seen"] for record in found.position.history] == [8, 16]
    kept = load_file(newest(store) / "trained.safetensors")
    assert torch.equal(engines["discriminator"].masters()["weight"], kept["discriminator.weight"])


def test_a_damaged_one_is_passed_over_and_named(store: StateStore) -> None:
    moments = newest(store) / "optimizer.safetensors"
    moments.write_bytes(moments.read_bytes()[:-1] + b"\x55")
    found, _ = gone_on(store)
    assert found.position.images_seen == 8
    assert found.damaged == {
        str(newest(store)): "optimizer.safetensors is damaged: its sha256 is not the one it was written with"
    }


def test_a_state_without_hashes_whose_numbers_are_not_finite_is_passed_over(store: StateStore) -> None:
    """As an earlier version kept it, whose damage or NaN went on in silence."""
    earlier = [Path(store.out, "ray", f"checkpoint_{number}") for number in (1, 2)]
    for state, folder in zip(store.kept()[::-1], earlier, strict=True):
        folder.parent.mkdir(exist_ok=True)
        Path(state.uri).rename(folder)
        (folder / "state.json").unlink()
    weights = load_file(earlier[1] / "trained.safetensors")
    weights["discriminator.weight"][0, 0] = float("nan")
    save_file(weights, earlier[1] / "trained.safetensors")
    found, _ = gone_on(store)
    assert found.position.images_seen == 8
    assert "weights: discriminator.weight is not finite" in found.damaged[str(earlier[1])]


def test_without_a_state_it_begins(tmp_path: Path) -> None:
    found, _ = gone_on(StateStore(str(tmp_path)))
    assert (found.position.images_seen, found.position.history, found.damaged) == (0, [], {})


def test_where_none_is_whole_each_is_named(store: StateStore) -> None:
    for state in store.kept():
        (Path(state.uri) / "history.jsonl").write_text("{}\n")
    with pytest.raises(PipelineError, match=r"is whole \(states/0+16: history.* has .*; states/0+8: his"):
        gone_on(store)
