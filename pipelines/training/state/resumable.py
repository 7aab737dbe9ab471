"""The state that a training run goes on from, as files, and the checkpoint that it exports at its end.

A state holds the trained weights and buffers by their names in the exported module, their moving average, each
optimizer's state by parameter name, and the history so far; frozen weights are not part of it, for they are the
parent's. So a run goes on with any number of workers, and a stage that trains an adapter of a large network saves
the adapter alone. The final state holds the exported checkpoint besides, with frozen weights in the parent's bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from dataprep.documents import DocumentError
from model.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from model.errors import ModelError
from model.finite import check_weights
from model.stage import WHOLE, Stage, parameter_name
from model.weights.reading import read_tensors
from pipelines.training.engines.engine import TrainingEngine
from pipelines.training.state.history import HISTORY, parsed_history, written_history

MODEL = "model"  # the folder of the exported checkpoint
TRAINED, AVERAGE, OPTIMIZER = "trained.safetensors", "average.safetensors", "optimizer.safetensors"
Tensors = dict[str, torch.Tensor]
Engines = Mapping[str, TrainingEngine]


@dataclass
class Position:
    """Where a run is: images seen, and one record for each step so far."""

    images_seen: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class TrainedState:
    """What engines hold at one position, by names within the exported module; average: None without one."""

    weights: Tensors
    average: Tensors | None
    optimizer: Tensors


def gathered(stage: Stage, engines: Engines, with_average: bool) -> TrainedState:
    """The state of all engines on the CPU; every rank must call it."""
    weights, average, optimizer = Tensors(), Tensors(), Tensors()
    for network, engine in engines.items():
        weights |= _named(network, engine.masters()) | _buffers(network, stage.networks[network])
        optimizer |= _named(network, engine.optimizer_state())
        if with_average:
            average |= _named(network, engine.averages())
    return TrainedState(weights, average if with_average else None, optimizer)


def write_state(folder: Path, state: TrainedState, history: list[dict[str, Any]]) -> None:
    """Write it to an empty folder."""
    save_file(_saveable(state.weights), folder / TRAINED)
    save_file(_saveable(state.optimizer), folder / OPTIMIZER)
    if state.average is not None:
        save_file(_saveable(state.average), folder / AVERAGE)
    (folder / HISTORY).write_bytes(written_history(history))


def read_state(folder: Path, with_average: bool) -> tuple[TrainedState, Position]:
    """The state in `folder`, and where the run then is. ModelError for what cannot be read or is not finite."""
    if (folder / TRAINED).exists():
        weights = read_tensors(folder / TRAINED)
        average = read_tensors(folder / AVERAGE) if with_average else None
    else:  # version 0.1 kept the whole exported checkpoint instead, whose hashes are checked
        weights = load_checkpoint(folder / MODEL)[0].state_dict()
        average = load_checkpoint(folder / MODEL, ema=True)[0].state_dict() if with_average else None
    state = TrainedState(weights, average, read_tensors(folder / OPTIMIZER))
    check_state(state, folder)
    try:
        history = parsed_history((folder / HISTORY).read_bytes(), f"{folder}: {HISTORY} is damaged")
    except (OSError, DocumentError) as error:
        raise ModelError(str(error)) from error
    if not history:
        raise ModelError(f"{folder}: {HISTORY} is damaged: it is empty")
    return state, Position(max(record["images_seen"] for record in history), history)


def restore(stage: Stage, engines: Engines, state: TrainedState) -> None:
    """Put a state into the engines and the networks' buffers."""
    weights, average = state.weights, state.average
    for network, engine in engines.items():
        module = stage.networks[network]
        engine.restore(
            _of(network, weights), _of(network, state.optimizer), None if average is None else _of(network, average)
        )
        for name, buffer in module.named_buffers():
            if name in module.state_dict():
                buffer.copy_(weights[parameter_name(network, name)])


def check_state(state: TrainedState, source: object) -> None:
    """ModelError that names the first tensor of weights, average or optimizer that is not finite."""
    parts = {"weights": state.weights, "moving average": state.average or {}, "optimizer's state": state.optimizer}
    for name, tensors in parts.items():
        check_weights(tensors, f"{source}, {name}")


def export(
    folder: Path,
    module: nn.Module,
    state: TrainedState,
    frozen: Mapping[str, torch.Tensor],
    metadata: CheckpointMetadata,
) -> None:
    """Write the checkpoint: the trained weights, and the frozen ones as they were.

    module: of the metadata's family, with its configuration; what it holds is replaced.
    """
    module.load_state_dict(state.weights | dict(frozen))
    average = None if state.average is None else state.weights | dict(frozen) | state.average
    save_checkpoint(folder / MODEL, module, metadata, average)


def _named(network: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {parameter_name(network, name): tensor for name, tensor in tensors.items()}


def _of(network: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Those of one network, under its own names."""
    if network == WHOLE:
        return dict(tensors)
    start = f"{network}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _buffers(network: str, module: nn.Module) -> Tensors:
    """What a module keeps beside its parameters, such as running means, as this rank has it."""
    parameters = {name for name, _ in module.named_parameters()}
    kept = {name: tensor for name, tensor in module.state_dict().items() if name not in parameters}
    return _named(network, {name: tensor.detach().cpu().clone() for name, tensor in kept.items()})


def _saveable(tensors: Tensors) -> Tensors:
    return {name: tensor.contiguous() for name, tensor in tensors.items()}
