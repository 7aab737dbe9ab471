"""DeepSpeed ZeRO-2 around one module, with optimizer state kept by parameter name.

ZeRO's own checkpoint is a slice for each rank and cannot be read by another number of ranks. Here the state is gathered
by name (`<parameter>/exp_avg`), so a checkpoint loads on any world size; the price is one all-reduce for each tensor
when a checkpoint is written. The fp32 masters are what is saved, also when training in bf16.
"""

import os
from typing import Any

import torch
from torch import nn

STATES = ("exp_avg", "exp_avg_sq")


def start_engine(
    module: nn.Module, *, micro_batch: int, accumulation: int, optimizer: dict[str, Any], bf16: bool
) -> Any:
    """A DeepSpeed engine over the trainable parameters of `module`; torch.distributed must be initialised.

    `optimizer` holds AdamW's `lr`, `betas`, `weight_decay` and the `gradient_clip` (0 = off). torch's AdamW is used, so
    that no compiler is needed.
    """
    if not torch.cuda.is_available():
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed  # reads DS_ACCELERATOR when it is imported

    # The shared-memory collective is compiled at first use; gloo does its work on a machine without a compiler.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    adamw = torch.optim.AdamW(
        parameters, lr=optimizer["lr"], betas=optimizer["betas"], weight_decay=optimizer["weight_decay"]
    )
    engine, *_ = deepspeed.initialize(
        model=module,
        optimizer=adamw,
        dist_init_required=False,
        config={
            "train_micro_batch_size_per_gpu": micro_batch,
            "gradient_accumulation_steps": accumulation,
            "gradient_clipping": optimizer["gradient_clip"],
            "zero_optimization": {"stage": 2, "overlap_comm": False},
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
    from deepspeed.utils import safe_get_full_optimizer_state

    gathered = {
        f"{name}/{key}": safe_get_full_optimizer_state(parameter, key).cpu()
        for name, parameter in _trained(engine)
        for key in STATES
    }
    first = engine.optimizer.single_partition_of_fp32_groups[0]
    return gathered | {"step": engine.optimizer.optimizer.state[first]["step"].detach().cpu().reshape(1)}


def restore(engine: Any, weights: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> None:
    """Put master weights and AdamW's state (from `masters` and `optimizer_state` of any world size) into `engine`."""
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

    adamw = engine.optimizer.optimizer
    for partition in engine.optimizer.single_partition_of_fp32_groups:
        adamw.state[partition] = {"step": state["step"].reshape(()).clone()} | {
            key: torch.zeros_like(partition) for key in STATES
        }
    # AdamW makes its state at the first step and ZeRO then maps it to parameters; a restored state is mapped here.
    engine.optimizer._lazy_init_hp_params_optimizer_state()
    for name, parameter in _trained(engine):
        safe_set_full_fp32_param(parameter, weights[name])
        parameter.data.copy_(weights[name])
        for key in STATES:
            safe_set_full_optimizer_state(parameter, state[f"{name}/{key}"], key)


def _trained(engine: Any) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in engine.module.named_parameters() if parameter.requires_grad]
