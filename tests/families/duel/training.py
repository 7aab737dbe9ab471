"""The stages: a generator and a discriminator in turn, or the generator's encoder alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from model.batch import Batch, Draw, Needs
from model.colorist import Colorist, DirectColorist
from model.stage import Network, StageContext
from tests.families.duel.network import Duel
from tests.families.duel.settings import DuelSettings


class DuelStage:
    """See model.stage.Stage."""

    def __init__(self, context: StageContext) -> None:
        assert isinstance(context.model, Duel)
        self.model, self.device = context.model.train(), context.device
        self.settings: DuelSettings = context.method
        self.networks: dict[str, nn.Module] = {
            "discriminator": self.model.discriminator,
            "generator": self.model.generator,
        }
        self.optimizers = {"discriminator": self.settings.discriminator, "generator": context.optimizer}
        if context.name == "duel.tune":
            del self.networks["discriminator"], self.optimizers["discriminator"]
            self.model.discriminator.requires_grad_(False)
            self.model.generator.painter.requires_grad_(False).eval()

    @property
    def needs(self) -> Needs:
        """A mask, and a second reference for the discriminator to tell from the first."""
        return Needs(reference_size=16, pictures=("sketch", "color", "reference", "mask", "second_reference"))

    def shows(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        """The pictures as they are."""
        return batch.pictures

    def draws(self, width: int, height: int) -> Sequence[Draw]:
        """How much the reference is dimmed."""
        return (Draw("dimmed", "uniform"),)

    def prepare(self, batch: Batch, *, training: bool = True) -> dict[str, torch.Tensor]:
        """The pictures on the device, the reference dimmed a little in training."""
        pictures = {name: tensor.to(self.device) for name, tensor in batch.pictures.items()}
        if training:
            dimmed = 1 - 0.1 * batch.draws["dimmed"].float().to(self.device)
            pictures["reference"] = pictures["reference"] * dimmed.view(-1, 1, 1, 1)
        return pictures

    def objective(
        self, name: str, engines: Mapping[str, Network], prepared: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """The discriminator's verdicts, or the pixels' distance within the mask and the generator's verdict."""
        judge = engines.get("discriminator", self.model.discriminator)
        painted = engines["generator"](prepared["sketch"], prepared["reference"])
        if name == "discriminator":
            true = self._judged(judge, prepared, prepared["color"], "reference")
            mismatched = self._judged(judge, prepared, prepared["color"], "second_reference")
            painted_over = self._judged(judge, prepared, painted.detach(), "reference")
            return (true - 1).square().mean() + mismatched.square().mean() + painted_over.square().mean()
        distance = ((painted - prepared["color"]).abs() * (1 + prepared["mask"])).mean()
        verdict = self._judged(judge, prepared, painted, "reference")
        return distance + self.settings.adversarial * (verdict - 1).square().mean()

    def _judged(
        self, judge: Network, prepared: Mapping[str, torch.Tensor], picture: torch.Tensor, reference: str
    ) -> torch.Tensor:
        beside = F.interpolate(prepared[reference], size=picture.shape[2:])
        return judge(torch.cat([prepared["sketch"], picture, beside], dim=1))

    def validate(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        """The pixels' distance of each sample."""
        prepared = self.prepare(batch, training=False)
        painted = self.model.generator(prepared["sketch"], prepared["reference"])
        return {"distance": (painted - prepared["color"]).abs().mean(dim=(1, 2, 3))}

    def summarize(self, measured: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, float]:
        """Its mean."""
        return {"validation_distance": float(torch.cat([sample["distance"] for sample in measured]).mean())}

    def separation(self, sketches: Batch, references: Batch) -> None:
        """None: it reads a reference as a whole."""

    def colorist(self) -> Colorist:
        """The generator as it is."""
        return colorist(self.model)

    def recorded(self) -> Mapping[str, Any]:
        """Nothing beside what every stage records."""
        return {}


def colorist(model: nn.Module) -> Colorist:
    """One pass of the generator."""
    assert isinstance(model, Duel)
    return DirectColorist(model, model.generator, reference_size=16)
