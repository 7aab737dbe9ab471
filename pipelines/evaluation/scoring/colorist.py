"""The model of a checkpoint as an evaluation uses it: sketches, references by role and seeds in, pictures out.

This is the one place where evaluation opens a checkpoint.
"""

from collections.abc import Mapping, Sequence

import torch

from eval.protocols.protocol import REFERENCE
from model.diffusion.sampling_settings import SamplingSettings
from model.diffusion.separation import Separation
from model.finite import check_pictures
from pipelines.common.errors import PipelineError
from pipelines.weights.checkpoints import fetch_checkpoint
from pipelines.weights.frozen import open_colorist


class CheckpointColorist:
    """Colours with a checkpoint, on `device`."""

    def __init__(self, checkpoint: str, device: torch.device, *, ema: bool = False) -> None:
        self._colorist = open_colorist(fetch_checkpoint(checkpoint), device, ema=ema)

    def __call__(
        self,
        sketches: torch.Tensor,
        references: Mapping[str, Sequence[torch.Tensor]],
        seeds: Sequence[int],
        sampling: SamplingSettings,
        separation: Separation | None = None,
    ) -> torch.Tensor:
        """Pictures (B, 3, H, W) in [-1, 1].

        sketches (B, 3, H, W), background -1 and lines +1; references: role -> B pictures (3, h, w) in [-1, 1] of any
        sizes, no role at all for none; one seed for each. separation: masks, where the model reads them. Raises
        PipelineError for a role that the model does not take, ModelError for a picture that is not finite, which would
        be scored as a black one.
        """
        if unknown := sorted(set(references) - self._colorist.roles):
            raise PipelineError(
                f"this model takes no {', '.join(unknown)}, only {', '.join(sorted(self._colorist.roles))}"
            )
        shown = references.get(REFERENCE)
        return check_pictures(
            self._colorist(sketches, shown, seeds, settings=sampling, separation=separation if shown else None)
        )
