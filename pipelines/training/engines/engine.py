"""What a training worker asks of whatever steps its network, and which one that is: ZeRO-2 among several, plain alone.

State is kept by parameter name (`<parameter>/exp_avg`), so a checkpoint of any number of workers goes on on any other.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import nn

MOMENTS = ("exp_avg", "exp_avg_sq")
AVERAGE = "average"
Tensors = Mapping[str, torch.Tensor]


class TrainingEngine(Protocol):
    """A network, its AdamW and their state. Every rank calls each method, in the same order."""

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The network's forward pass."""

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a micro-batch's mean loss."""

    def step(self) -> None:
        """After each micro-batch; the last of a global batch changes the weights."""

    @property
    def gradient_norm(self) -> float:
        """Of the last global batch, before it was clipped."""

    def set_learning_rate(self, learning_rate: float) -> None:
        """The rate of the next step, for every parameter."""

    def masters(self) -> dict[str, torch.Tensor]:
        """The fp32 master weights by parameter name, on the CPU."""

    def optimizer_state(self) -> dict[str, torch.Tensor]:
        """AdamW's moments as `<parameter>/<state>` and its `step`, on the CPU; after a step."""

    def restore(self, weights: Tensors, state: Tensors, averages: Tensors | None = None) -> None:
        """Put masters, AdamW's state and the averages of any number of workers in."""

    def start_average(self) -> None:
        """Begin a moving average at the weights as they are; before the first step."""

    def update_average(self, decay: float) -> None:
        """average = decay x average + (1 - decay) x weights, after a step."""

    def averages(self) -> dict[str, torch.Tensor]:
        """The averaged fp32 weights by parameter name, on the CPU."""


def start_engine(
    module: nn.Module, *, micro_batch: int, accumulation: int, optimizer: dict[str, Any], bf16: bool
) -> TrainingEngine:
    """An engine over the trainable parameters of `module`; torch.distributed must be initialised.

    `optimizer` holds AdamW's `lr`, `betas`, `weight_decay` and the `gradient_clip` (0 = off). A single worker has
    nothing to share out, so it goes without ZeRO and without its copies of gradients and weights.
    """
    if dist.get_world_size() == 1:
        from pipelines.training.engines.single import SingleEngine

        return SingleEngine(module, accumulation, optimizer, bf16)
    from pipelines.training.engines.zero import ZeroEngine

    return ZeroEngine(module, micro_batch, accumulation, optimizer, bf16)


def adamw(parameters: Sequence[torch.Tensor], optimizer: dict[str, Any]) -> torch.optim.AdamW:
    """torch's AdamW, so that no compiler is needed; fused, so that no copies of the weights are made on the way."""
    return torch.optim.AdamW(
        parameters, lr=optimizer["lr"], betas=optimizer["betas"], weight_decay=optimizer["weight_decay"], fused=True
    )
