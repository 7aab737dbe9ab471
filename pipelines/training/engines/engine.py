"""What a training worker asks of whatever steps a network; which one that is says `start`.

State is kept by parameter name (`<parameter>/exp_avg`), so a checkpoint of any number of workers goes on on any other.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

from model.optimizer import OptimizerSettings

MOMENTS = ("exp_avg", "exp_avg_sq")
AVERAGE = "average"
Tensors = Mapping[str, torch.Tensor]


class TrainingEngine(Protocol):
    """A network, its optimizer and their state. Every rank calls each method, in the same order."""

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
        """The moments as `<parameter>/<state>` and its `step`, on the CPU; after a step."""

    def restore(self, weights: Tensors, state: Tensors, averages: Tensors | None = None) -> None:
        """Put masters, moments and the averages of any number of workers in."""

    def start_average(self) -> None:
        """Begin a moving average at the weights as they are; before the first step."""

    def update_average(self, decay: float) -> None:
        """average = decay x average + (1 - decay) x weights, after a step."""

    def averages(self) -> dict[str, torch.Tensor]:
        """The averaged fp32 weights by parameter name, on the CPU."""


def optimizer_of(parameters: Sequence[torch.Tensor], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """torch's AdamW or Adam, so that no compiler is needed; fused, so that no copies of the weights are made."""
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[settings.kind]
    return kind(
        parameters,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        fused=True,
    )
