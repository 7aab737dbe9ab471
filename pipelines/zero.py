"""DeepSpeed ZeRO-2 around one module, with optimizer state kept by parameter name.

ZeRO's own checkpoint is a slice for each rank and cannot be read by another number of ranks. Here the state is gathered
by name (`<parameter>/exp_avg`), so a checkpoint loads on any world size; the price is one all-reduce for each tensor
when a checkpoint is written. The fp32 masters are what is saved, also when training in bf16. A moving average of the
weights is one more entry of AdamW's state: each rank averages its own slice, in fp32, without a word to the others.
"""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

MOMENTS = ("exp_avg", "exp_avg_sq")
AVERAGE = "average"
# Gradients are summed over the workers, and weights handed round, in about as many parts: DeepSpeed's own part is as
# large as half of the published network, and is held beside it. Less than the least is not worth a message.
BUCKETS, LEAST_BUCKET = 8, 1_000_000
Tensors = Mapping[str, torch.Tensor]


def start_engine(
    module: nn.Module, *, micro_batch: int, accumulation: int, optimizer: dict[str, Any], bf16: bool
) -> Any:
    """A DeepSpeed engine over the trainable parameters of `module`; torch.distributed must be initialised.

    `optimizer` holds AdamW's `lr`, `betas`, `weight_decay` and the `gradient_clip` (0 = off). torch's AdamW is used, so
    that no compiler is needed; fused, so that no copies of the weights are made on the way.
    """
    if not torch.cuda.is_available():
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed  # reads DS_ACCELERATOR when it is imported

    # The shared-memory collective is compiled at first use; gloo does its work on a machine without a compiler.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    adamw = torch.optim.AdamW(
        parameters, lr=optimizer["lr"], betas=optimizer["betas"], weight_decay=optimizer["weight_decay"], fused=True
    )
    bucket = max(LEAST_BUCKET, sum(parameter.numel() for parameter in parameters) // BUCKETS)
    engine, *_ = deepspeed.initialize(
        model=module,
        optimizer=adamw,
        dist_init_required=False,
        config={
            "train_micro_batch_size_per_gpu": micro_batch,
            "gradient_accumulation_steps": accumulation,
            "gradient_clipping": optimizer["gradient_clip"],
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
    return engine


def set_learning_rate(engine: Any, learning_rate: float) -> None:
    """The rate of the next step, for every parameter group."""
    for group in engine.optimizer.param_groups:
        group["lr"] = learning_rate


def masters(engine: Any) -> dict[str, torch.Tensor]:
    """The fp32 master weights by parameter name, on the CPU. Every rank must call it."""
    from deepspeed.utils import safe_get_full_fp32_param

    return {name: safe_get_full_fp32_param(parameter).cpu() for name, parameter in _trained(engine)}


def optimizer_state(engine: Any) -> dict[str, torch.Tensor]:
    """AdamW's moments as `<parameter>/<state>` and its `step`, on the CPU. Every rank must call it, after a step."""
    gathered = {f"{name}/{key}": _gathered(parameter, key) for name, parameter in _trained(engine) for key in MOMENTS}
    first = _partitions(engine)[0]
    return gathered | {"step": engine.optimizer.optimizer.state[first]["step"].detach().cpu().reshape(1)}


def restore(engine: Any, weights: Tensors, state: Tensors, averages: Tensors | None = None) -> None:
    """Put masters, AdamW's state and the averages (from `masters`, `optimizer_state` and `averages` of any world size)
    into `engine`."""
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

    _make_state(engine, state["step"], MOMENTS if averages is None else (*MOMENTS, AVERAGE))
    for name, parameter in _trained(engine):
        safe_set_full_fp32_param(parameter, weights[name])
        parameter.data.copy_(weights[name])
        for key in MOMENTS:
            safe_set_full_optimizer_state(parameter, state[f"{name}/{key}"], key)
        if averages is not None:
            safe_set_full_optimizer_state(parameter, averages[name], AVERAGE)


def start_average(engine: Any) -> None:
    """Begin a moving average at the weights as they are; before the first step."""
    _make_state(engine, torch.zeros(1), (*MOMENTS, AVERAGE))
    update_average(engine, 0.0)


def update_average(engine: Any, decay: float) -> None:
    """average = decay x average + (1 - decay) x weights, after a step."""
    for partition in _partitions(engine):
        engine.optimizer.optimizer.state[partition][AVERAGE].lerp_(partition.detach(), 1 - decay)


def averages(engine: Any) -> dict[str, torch.Tensor]:
    """The averaged fp32 weights by parameter name, on the CPU. Every rank must call it."""
    return {name: _gathered(parameter, AVERAGE) for name, parameter in _trained(engine)}


def _make_state(engine: Any, step: torch.Tensor, keys: tuple[str, ...]) -> None:
    """Zeros for each of `keys`: AdamW makes its state at the first step and ZeRO maps it to parameters then, which is
    too late for what is put into it before."""
    for partition in _partitions(engine):
        engine.optimizer.optimizer.state[partition] = {"step": step.reshape(()).to(partition.device, copy=True)} | {
            key: torch.zeros_like(partition) for key in keys
        }
    engine.optimizer._lazy_init_hp_params_optimizer_state()


def _gathered(parameter: nn.Parameter, key: str) -> torch.Tensor:
    from deepspeed.utils import safe_get_full_optimizer_state

    state: torch.Tensor = safe_get_full_optimizer_state(parameter, key)
    return state.cpu()


def _partitions(engine: Any) -> list[torch.Tensor]:
    """This rank's slices of the fp32 masters, one for each parameter group."""
    partitions: list[torch.Tensor] = engine.optimizer.single_partition_of_fp32_groups
    return partitions


def _trained(engine: Any) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in engine.module.named_parameters() if parameter.requires_grad]
