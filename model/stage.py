"""What a training stage is, whatever the family: what it needs of a sample, how a batch is prepared, its objectives.

The loop (pipelines.training.worker) knows this protocol alone. One network is trained by one objective; a generator and
a discriminator by one each, in the stage's order, every one over the whole global batch before the next begins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from model.batch import Batch, Draw, Needs
from model.colorist import Colorist
from model.optimizer import OptimizerSettings

WHOLE = ""  # the name of the network that is the exported module itself


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """What a stage is built of.

    model: the module that a checkpoint holds, fresh or with the parent's weights, on the device. method: the family's
    settings of the stage. width, height: of samples where all have one size, in pixels. frozen: the family's frozen
    networks by role ("codec", "image_encoder"), on the CPU. optimizer: the recipe's; a stage may give a network its
    own.
    """

    name: str
    model: nn.Module
    method: Any
    config: Any
    frozen: Mapping[str, nn.Module]
    optimizer: OptimizerSettings
    width: int
    height: int
    bf16: bool
    device: torch.device


class Network(Protocol):
    """A trained network as its engine runs it."""

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The forward pass."""


class Stage(Protocol):
    """One stage of one family on one device.

    model: what a checkpoint holds. networks: the trained parts of it, each with an engine and an optimizer of its own,
    by the path of the part within `model` (WHOLE: all of it), in the order of their objectives. What of them is not to
    be trained has requires_grad False and is exported from the parent's bytes.
    """

    device: torch.device

    @property
    def model(self) -> nn.Module: ...

    @property
    def networks(self) -> Mapping[str, nn.Module]: ...

    @property
    def optimizers(self) -> Mapping[str, OptimizerSettings]:
        """By the names of `networks`."""

    @property
    def needs(self) -> Needs: ...

    def draws(self, width: int, height: int) -> Sequence[Draw]:
        """The random numbers of a sample of that size in pixels, in their fixed order."""

    def shows(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        """The pictures that its networks are shown of a training batch, by name, (B, C, H, W) each: those of the batch,
        changed where the stage changes them, and what it makes of them."""

    def prepare(self, batch: Batch, *, training: bool = True) -> Any:
        """The batch as the objectives take it, on the device; training False: fully and cleanly conditioned."""

    def objective(self, name: str, engines: Mapping[str, Network], prepared: Any) -> torch.Tensor:
        """The mean loss of a micro-batch that the network `name` minimises, a scalar."""

    def validate(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        """What is measured of held-out samples: name -> (B, ...), in evaluation mode and without gradients."""

    def summarize(self, measured: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, float]:
        """The metrics of a validation, by the names under which they are recorded, from all that `validate` gave."""

    def separation(self, sketches: Batch, references: Batch) -> Any:
        """What its colorist's calls take as `separation` for the nth sketch after the nth reference of two batches."""

    def colorist(self) -> Colorist | None:
        """The network as it is, ready to colour; None where the stage's network colours nothing."""

    def recorded(self) -> Mapping[str, Any]:
        """The fields of CheckpointMetadata that this stage knows; "stage" where that is not its name."""


def parameter_name(network: str, name: str) -> str:
    """The name within the exported module of the parameter `name` of a stage's network."""
    return f"{network}.{name}" if network else name


def trained_names(networks: Mapping[str, nn.Module]) -> list[str]:
    """The names within the exported module of all parameters that are trained, and of the buffers beside them."""
    return [
        parameter_name(network, name)
        for network, module in networks.items()
        for name, tensor in module.state_dict(keep_vars=True).items()
        if tensor.requires_grad or not isinstance(tensor, nn.Parameter)
    ]
