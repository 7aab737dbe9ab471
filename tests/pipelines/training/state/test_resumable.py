"""The state of a run comes back into the engines, also as version 0.1 wrote it, and is exported with frozen weights."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from model.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from model.errors import ModelError
from model.families.v1.network import V1
from model.stage import WHOLE, Stage, trained_names
from pipelines.recipes.stages import stage_recipe
from pipelines.training.engines.plain import PlainEngine
from pipelines.training.parents import frozen_weights
from pipelines.training.state.resumable import Engines, Position, export, gathered, read_state, restore, write_state
from pipelines.training.step import build_stage
from tests.pipelines.training.state.stepped_engines import PairStage, stepped

HISTORY = [
    {"images_seen": 0, "validation_loss": 0.5},
    {"images_seen": 8, "loss": 0.4},
    {"images_seen": 16, "loss": 0.3},
]
METADATA = CheckpointMetadata(stage="v1.noisy", size="tiny", code_version="test")
Tensors = dict[str, torch.Tensor]


@pytest.fixture(autouse=True, scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Engines ask torch.distributed how many they are."""
    meeting = (tmp_path_factory.mktemp("meeting") / "file").as_uri()
    dist.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def v1(seed: int = 0) -> Stage:
    return build_stage(stage_recipe("v1.noisy").changed(seed=seed), None, torch.device("cpu"))[0]


def check_equal(found: Tensors, wanted: Tensors) -> None:
    assert found.keys() == wanted.keys()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in found.items())


def state_of(engine: PlainEngine) -> tuple[Tensors, Tensors]:
    return engine.masters(), engine.optimizer_state()


@pytest.mark.parametrize("averaged", [False, True])
def test_a_state_comes_back_into_fresh_engines(tmp_path: Path, averaged: bool) -> None:
    stage, fresh = v1(), v1(seed=1)
    engines, others = stepped(stage, 2, averaged), stepped(fresh, 0)
    write_state(tmp_path, gathered(stage, engines, averaged), HISTORY)
    names = {"trained.safetensors", "optimizer.safetensors", "history.jsonl"}
    assert {path.name for path in tmp_path.iterdir()} == names | ({"average.safetensors"} if averaged else set())
    assert read_into(tmp_path, fresh, others, averaged) == Position(16, HISTORY)
    for found, wanted in zip(state_of(others[WHOLE]), state_of(engines[WHOLE]), strict=True):
        check_equal(found, wanted)
    if averaged:
        check_equal(others[WHOLE].averages(), engines[WHOLE].averages())


def read_into(folder: Path, stage: Stage, engines: Engines, averaged: bool) -> Position:
    state, position = read_state(folder, averaged)
    restore(stage, engines, state)
    return position


def write_as_version_0_1(folder: Path, stage: Stage, engines: Engines, averaged: bool) -> None:
    """What `_checkpoint` of that version reported to Ray: the whole exported model, its average and the optimizer."""
    weights, state = engines[WHOLE].masters(), engines[WHOLE].optimizer_state()
    exported = V1(stage.model.config)  # type: ignore[arg-type]
    exported.load_state_dict(weights)
    metadata = replace(METADATA, images_seen=16)
    save_checkpoint(folder / "model", exported, metadata, engines[WHOLE].averages() if averaged else None)
    save_file(state, folder / "optimizer.safetensors")
    (folder / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in HISTORY))


@pytest.mark.parametrize("averaged", [False, True])
def test_a_state_that_version_0_1_wrote_is_gone_on_from(tmp_path: Path, averaged: bool) -> None:
    stage, fresh = v1(), v1(seed=1)
    engines, others = stepped(stage, 2, averaged), stepped(fresh, 0)
    write_as_version_0_1(tmp_path, stage, engines, averaged)
    assert read_into(tmp_path, fresh, others, averaged) == Position(16, HISTORY)
    for found, wanted in zip(state_of(others[WHOLE]), state_of(engines[WHOLE]), strict=True):
        check_equal(found, wanted)
    if averaged:
        check_equal(others[WHOLE].averages(), engines[WHOLE].averages())


def test_a_state_whose_weights_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    stage = v1()
    engines = stepped(stage, 1)
    write_state(tmp_path, gathered(stage, engines, False), HISTORY)
    (tmp_path / "trained.safetensors").write_bytes(b"cut short")
    with pytest.raises(ModelError, match=r"trained\.safetensors"):
        read_state(tmp_path, False)


# ---- several networks, some of them frozen or with buffers --------------------------------------------------------


def test_each_network_has_its_own_part_of_the_state_and_buffers_come_back(tmp_path: Path) -> None:
    stage, fresh = (PairStage(seed) for seed in (0, 1))
    stage.model.generator(torch.randn(5, 3))  # moves the running means
    engines, others = stepped(stage, 2), stepped(fresh, 0)  # type: ignore[arg-type]
    write_state(tmp_path, gathered(stage, engines, False), HISTORY)  # type: ignore[arg-type]
    kept = load_file(tmp_path / "trained.safetensors")
    assert set(kept) == set(trained_names(stage.networks))
    assert not any(name.startswith("generator.0.") for name in kept)
    assert int(kept["generator.1.num_batches_tracked"]) == 1
    optimizer = load_file(tmp_path / "optimizer.safetensors")
    assert {"generator.step", "discriminator.step", "discriminator.weight/exp_avg"} <= set(optimizer)

    read_into(tmp_path, fresh, others, False)  # type: ignore[arg-type]
    for name, engine in engines.items():
        for found, wanted in zip(state_of(others[name]), state_of(engine), strict=True):
            check_equal(found, wanted)
    theirs = dict(fresh.model.named_buffers())
    assert all(torch.equal(buffer, theirs[name]) for name, buffer in stage.model.named_buffers())
    weights = [pair.model.generator.get_parameter("0.weight") for pair in (fresh, stage)]
    assert not torch.equal(weights[0], weights[1])


# ---- what is exported ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("averaged", [False, True])
def test_an_export_holds_trained_weights_and_frozen_ones_in_the_parents_bytes(tmp_path: Path, averaged: bool) -> None:
    stage = v1()
    for parameter in stage.model.sketch_encoder.parameters():  # type: ignore[union-attr]
        parameter.requires_grad_(False)
    parent = tmp_path / "parent"
    save_checkpoint(parent, stage.model, METADATA)
    given = {name: tensor.clone() for name, tensor in stage.model.state_dict().items()}
    engines = stepped(stage, 2, averaged)
    frozen = frozen_weights(stage.model, set(trained_names(stage.networks)), parent)
    state = gathered(stage, engines, averaged)
    assert state.weights.keys().isdisjoint(frozen)

    config: Any = stage.model.config
    export(tmp_path, V1(config), state, frozen, METADATA)
    exported = load_checkpoint(tmp_path / "model")[0].state_dict()
    check_equal(exported, state.weights | {name: given[name] for name in frozen})
    assert all(name.startswith("sketch_encoder.") for name in frozen)
    if averaged:
        average = load_checkpoint(tmp_path / "model", ema=True)[0].state_dict()
        check_equal(average, engines[WHOLE].averages() | {name: given[name] for name in frozen})
