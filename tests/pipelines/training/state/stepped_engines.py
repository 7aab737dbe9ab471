"""Engines that have taken a few steps on made-up gradients, and a small stage of two networks for them."""

import torch
from torch import nn

from model.optimizer import OptimizerSettings
from model.stage import Stage
from pipelines.training.engines.plain import PlainEngine


def stepped(stage: Stage, steps: int, averaged: bool = False) -> dict[str, PlainEngine]:
    """An engine for each network, after a few steps on made-up gradients."""
    engines = {
        name: PlainEngine(module, 1, OptimizerSettings(learning_rate=1e-2), bf16=False)
        for name, module in stage.networks.items()
    }
    for step in range(steps):
        for name, engine in engines.items():
            if averaged and step == 0:
                engine.start_average()
            generator = torch.Generator().manual_seed(step)
            trained = [parameter for parameter in stage.networks[name].parameters() if parameter.requires_grad]
            losses = [(p * torch.randn(p.shape, generator=generator)).sum() for p in trained]
            engine.backward(torch.stack(losses).sum())
            engine.step()
            if averaged:
                engine.update_average(0.5)
    return engines


class Pair(nn.Module):
    """A generator with running means, of which one layer is frozen, and a discriminator."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        self.discriminator = nn.Linear(2, 1)
        self.generator[0].requires_grad_(False)


class PairStage:
    """What the state of a run asks of a stage (model.stage.Stage), of two networks."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.model = Pair()
        self.networks = {"generator": self.model.generator, "discriminator": self.model.discriminator}
