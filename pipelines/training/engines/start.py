"""Which engine steps a network: ZeRO-2 where one network is shared out among workers, plain copies else.

A single worker has nothing to share out, so it goes without ZeRO and without its copies of gradients and weights. Where
a stage trains several networks, each has a plain engine on every worker, whose gradients are averaged: such networks
are small (a generator of 42 million parameters and a discriminator of 2.3 million), ZeRO would save a few hundred
megabytes and costs time (docs/measurements.md).
"""

import torch.distributed as dist
from torch import nn

from model.optimizer import OptimizerSettings
from pipelines.training.engines.engine import TrainingEngine


def start_engine(
    module: nn.Module,
    *,
    micro_batch: int,
    accumulation: int,
    optimizer: OptimizerSettings,
    bf16: bool,
    alone: bool = True,
) -> TrainingEngine:
    """An engine over the trainable parameters of `module`; torch.distributed must be initialised.

    alone: whether this is the only network of its stage.
    """
    if dist.get_world_size() == 1 or not alone:
        from pipelines.training.engines.plain import PlainEngine

        return PlainEngine(module, accumulation, optimizer, bf16)
    from pipelines.training.engines.zero import ZeroEngine

    return ZeroEngine(module, micro_batch, accumulation, optimizer, bf16)
