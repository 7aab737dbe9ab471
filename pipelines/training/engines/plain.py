"""Steps a network that every worker holds whole: an optimizer on fp32 masters, which in fp32 are its own weights.

With several workers the gradients of a global batch are averaged, so all copies stay equal.
"""

import torch
import torch.distributed as dist
from torch import nn

from model.optimizer import OptimizerSettings
from pipelines.training.engines.engine import AVERAGE, MOMENTS, Tensors, optimizer_of


class PlainEngine:
    """See `engine.TrainingEngine`."""

    def __init__(self, module: nn.Module, accumulation: int, optimizer: OptimizerSettings, bf16: bool) -> None:
        self._trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        self._masters: dict[str, torch.Tensor] = dict(self._trained)
        if bf16:  # copies, which are stepped in fp32 and then rounded into the network
            self._masters = {name: p.detach().float().clone().requires_grad_() for name, p in self._trained.items()}
            module.to(torch.bfloat16)
        self.module, self._bf16 = module, bf16
        self._accumulation, self._clip = accumulation, optimizer.gradient_clip
        self._optimizer = optimizer_of(list(self._masters.values()), optimizer)
        self._workers = dist.get_world_size()
        self._micro_batches, self.gradient_norm = 0, 0.0

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.module(*inputs)
        return result

    def backward(self, loss: torch.Tensor) -> None:
        (loss / self._accumulation).backward()  # type: ignore[no-untyped-call]
        if self._bf16:  # summed over micro-batches in fp32
            for name, parameter in self._trained.items():
                if parameter.grad is not None:
                    master, gradient = self._masters[name], parameter.grad.float()
                    master.grad = gradient if master.grad is None else master.grad.add_(gradient)
                    parameter.grad = None

    def step(self) -> None:
        self._micro_batches += 1
        if self._micro_batches % self._accumulation:
            return
        self._average_gradients()
        norm = nn.utils.clip_grad_norm_(self._masters.values(), self._clip or float("inf"))
        self.gradient_norm = float(norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._round()

    def _average_gradients(self) -> None:
        """Over the workers; a parameter that no micro-batch of a rank used counts as zero there."""
        if self._workers == 1:
            return
        for master in self._masters.values():
            master.grad = torch.zeros_like(master) if master.grad is None else master.grad
            dist.all_reduce(master.grad)
            master.grad /= self._workers

    @torch.no_grad()
    def _round(self) -> None:
        """The masters into the network, where they are not its own weights."""
        if self._bf16:
            for name, parameter in self._trained.items():
                parameter.copy_(self._masters[name])

    def set_learning_rate(self, learning_rate: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate

    def masters(self) -> dict[str, torch.Tensor]:
        return {name: _saved(master) for name, master in self._masters.items()}

    def optimizer_state(self) -> dict[str, torch.Tensor]:
        states = {name: self._optimizer.state[master] for name, master in self._masters.items()}
        moments = {f"{name}/{key}": _saved(state[key]) for name, state in states.items() for key in MOMENTS}
        return moments | {"step": _saved(next(iter(states.values()))["step"]).reshape(1)}

    @torch.no_grad()
    def restore(self, weights: Tensors, state: Tensors, averages: Tensors | None = None) -> None:
        for name, master in self._masters.items():
            master.copy_(weights[name])
            kept = {key: state[f"{name}/{key}"] for key in MOMENTS}
            if averages is not None:
                kept[AVERAGE] = averages[name]
            self._put(master, state["step"], kept)
        self._round()

    def start_average(self) -> None:
        for master in self._masters.values():
            zeros = {key: torch.zeros_like(master) for key in MOMENTS}
            self._put(master, torch.zeros(1), zeros | {AVERAGE: master.detach()})

    def _put(self, master: torch.Tensor, step: torch.Tensor, state: Tensors) -> None:
        self._optimizer.state[master] = {"step": step.reshape(()).to(master.device, copy=True)} | {
            key: tensor.to(master.device, copy=True) for key, tensor in state.items()
        }

    def update_average(self, decay: float) -> None:
        for master in self._masters.values():
            self._optimizer.state[master][AVERAGE].lerp_(master.detach(), 1 - decay)

    def averages(self) -> dict[str, torch.Tensor]:
        return {name: _saved(self._optimizer.state[master][AVERAGE]) for name, master in self._masters.items()}


def _saved(tensor: torch.Tensor) -> torch.Tensor:
    """On the CPU, and not the tensor that the next step changes."""
    return tensor.detach().to("cpu", copy=True)
