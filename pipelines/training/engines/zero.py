"""DeepSpeed ZeRO-2 around one module, with optimizer state kept by parameter name.

ZeRO's own checkpoint is a slice for each rank and cannot be read by another number of ranks. Here the state is gathered
by name (`<parameter>/exp_avg`), so a checkpoint loads on any world size; the price is an all-reduce for each bucket of
parameters when a checkpoint is written (DeepSpeed's own functions take one for each parameter, and seconds). The fp32
masters are what is saved, also when training in bf16. A moving average of the weights is one more entry of the
optimizer's state: each rank averages its own slice, in fp32, alone.
"""

import math
import os
from collections.abc import Iterator
from itertools import accumulate

import torch
from torch import nn

from model.optimizer import OptimizerSettings
from pipelines.training.engines.engine import AVERAGE, MOMENTS, Tensors, optimizer_of

# Gradients are summed over the workers, and weights handed round, in about as many parts: DeepSpeed's own part is as
# large as half of the published network, and is held beside it. Less than the least is not worth a message.
BUCKETS, LEAST_BUCKET = 8, 1_000_000


class ZeroEngine:
    """See `engine.TrainingEngine`."""

    def __init__(
        self, module: nn.Module, micro_batch: int, accumulation: int, optimizer: OptimizerSettings, bf16: bool
    ) -> None:
        if next(module.parameters()).device.type == "cpu":
            os.environ["DS_ACCELERATOR"] = "cpu"
        import deepspeed  # reads DS_ACCELERATOR when it is imported

        # The shared-memory collective is compiled at first use; gloo does its work on a machine without a compiler.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        bucket = max(LEAST_BUCKET, sum(parameter.numel() for parameter in parameters) // BUCKETS)
        bucket += bucket % 2  # DeepSpeed takes even ones alone
        self._bucket = bucket
        self._engine, *_ = deepspeed.initialize(
            model=module,
            optimizer=optimizer_of(parameters, optimizer),
            dist_init_required=False,
            config={
                "train_micro_batch_size_per_gpu": micro_batch,
                "gradient_accumulation_steps": accumulation,
                "gradient_clipping": optimizer.gradient_clip,
                "zero_optimization": {
                    "stage": 2,
                    "overlap_comm": False,
                    "contiguous_gradients": False,  # one copy of every gradient less
                    "reduce_bucket_size": bucket,
                    "allgather_bucket_size": bucket,
                },
                "zero_allow_untested_optimizer": True,
                "bf16": {"enabled": bf16},
                "steps_per_print": 2**31 - 1,
            },
        )

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self._engine(*inputs)
        return result

    def backward(self, loss: torch.Tensor) -> None:
        self._engine.backward(loss)

    def step(self) -> None:
        self._engine.step()

    @property
    def gradient_norm(self) -> float:
        norm = float(self._engine.get_global_grad_norm())
        return norm if norm >= 0 else math.nan  # DeepSpeed's -1 for a norm that is not finite

    def set_learning_rate(self, learning_rate: float) -> None:
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate

    def masters(self) -> dict[str, torch.Tensor]:
        return self._gathered(None)

    def optimizer_state(self) -> dict[str, torch.Tensor]:
        gathered = {f"{name}/{key}": tensor for key in MOMENTS for name, tensor in self._gathered(key).items()}
        step = self._state[self._partitions()[0]]["step"]
        return gathered | {"step": step.detach().cpu().reshape(1)}

    def restore(self, weights: Tensors, state: Tensors, averages: Tensors | None = None) -> None:
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        self._make_state(state["step"], MOMENTS if averages is None else (*MOMENTS, AVERAGE))
        for name, parameter in self._trained():
            safe_set_full_fp32_param(parameter, weights[name])
            parameter.data.copy_(weights[name])
            for key in MOMENTS:
                safe_set_full_optimizer_state(parameter, state[f"{name}/{key}"], key)
            if averages is not None:
                safe_set_full_optimizer_state(parameter, averages[name], AVERAGE)

    def start_average(self) -> None:
        self._make_state(torch.zeros(1), (*MOMENTS, AVERAGE))
        self.update_average(0.0)

    def update_average(self, decay: float) -> None:
        for partition in self._partitions():
            self._state[partition][AVERAGE].lerp_(partition.detach(), 1 - decay)

    def averages(self) -> dict[str, torch.Tensor]:
        return self._gathered(AVERAGE)

    @torch.no_grad()
    def _gathered(self, key: str | None) -> dict[str, torch.Tensor]:
        """By parameter, on the CPU: its optimizer's state of that name, or where there is none its fp32 master."""
        gathered: dict[str, torch.Tensor] = {}
        for bucket in self._buckets():
            # Each rank fills in its own slices of the parameters; the rest is zeros.
            sizes = [parameter.numel() for _, parameter in bucket]
            flat = torch.zeros(sum(sizes), device=bucket[0][1].device)
            for (_, parameter), start in zip(bucket, accumulate(sizes, initial=0), strict=False):
                if (mapping := parameter._hp_mapping) is not None:  # type: ignore[attr-defined]  # DeepSpeed's
                    place = mapping.lp_fragment_address
                    flat.narrow(0, start + place.start, place.numel).copy_(mapping.get_hp_fragment(key))
            torch.distributed.all_reduce(flat)
            for (name, parameter), whole in zip(bucket, flat.cpu().split(sizes), strict=True):
                gathered[name] = whole.clone().reshape(parameter.shape)
        return gathered

    def _buckets(self) -> Iterator[list[tuple[str, nn.Parameter]]]:
        """What is trained, in parts of about the size that gradients are summed in."""
        bucket: list[tuple[str, nn.Parameter]] = []
        for name, parameter in self._trained():
            if bucket and sum(p.numel() for _, p in bucket) + parameter.numel() > self._bucket:
                yield bucket
                bucket = []
            bucket.append((name, parameter))
        yield bucket

    def _make_state(self, step: torch.Tensor, keys: tuple[str, ...]) -> None:
        """Zeros for each of `keys`: AdamW makes its state at the first step and ZeRO maps it to parameters then, which
        is too late for what is put into it before."""
        for partition in self._partitions():
            self._state[partition] = {"step": step.reshape(()).to(partition.device, copy=True)} | {
                key: torch.zeros_like(partition) for key in keys
            }
        self._engine.optimizer._lazy_init_hp_params_optimizer_state()

    @property
    def _state(self) -> dict[torch.Tensor, dict[str, torch.Tensor]]:
        """The optimizer's, by slice."""
        state: dict[torch.Tensor, dict[str, torch.Tensor]] = self._engine.optimizer.optimizer.state
        return state

    def _partitions(self) -> list[torch.Tensor]:
        """This rank's slices of the fp32 masters, one for each parameter group."""
        partitions: list[torch.Tensor] = self._engine.optimizer.single_partition_of_fp32_groups
        return partitions

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self._engine.module.named_parameters() if p.requires_grad]
