"""The model of a checkpoint as an evaluation uses it: sketches, references by role and seeds in, pictures out.

This is the one place where evaluation opens a checkpoint.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from eval.metrics.shift.gram import Divergence, gram_divergence
from eval.protocols.protocol import REFERENCE
from model.checkpoint import read_metadata
from model.diffusion.sampling_settings import SamplingSettings
from model.diffusion.separation import Separation
from model.finite import check_pictures
from pipelines.common.errors import PipelineError
from pipelines.weights.checkpoints import fetch_checkpoint
from pipelines.weights.frozen import open_colorist


class CheckpointColorist:
    """Colours with a checkpoint, on `device`."""

    def __init__(self, checkpoint: str, device: torch.device, *, ema: bool = False) -> None:
        path = fetch_checkpoint(checkpoint)
        self._colorist, self._family = open_colorist(path, device, ema=ema), read_metadata(path).family

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

    def divergence(
        self,
        sketches: torch.Tensor,
        references: Mapping[str, Sequence[torch.Tensor]],
        seeds: Sequence[int],
        sampling: SamplingSettings,
        separation: Separation | None = None,
    ) -> Divergence:
        """How much the references move the layout inside the denoiser (eval.metrics.shift.gram), at its last step and
        without guidance: each sketch is coloured twice more, with its reference and without.

        Looked into is the last attention of the first decoder level that has any, `up<level>`. Raises PipelineError for
        a network that has no such block.
        """
        block, name = self._decoder_attention()
        plain = replace(sampling, guidance_scale=1.0, sketch_guidance_scale=1.0)
        values, places = [], []
        for number, seed in enumerate(seeds):
            own = {role: [pictures[number]] for role, pictures in references.items()}
            parted = None
            if separation is not None:
                parted = Separation([separation.sketch_masks[number]], [separation.mask_of(number)])
            seen = []
            for shown in (own, {}):
                with _watched(block) as outputs:
                    self(sketches[number : number + 1], shown, [seed], plain, parted)
                seen.append(outputs[-1][:1].float().cpu())
            value, by_place = gram_divergence(*(features.flatten(2).mT for features in seen))
            values.append(value)
            places.append(by_place.unflatten(1, seen[0].shape[-2:]))
        return Divergence(torch.cat(values), torch.cat(places), name)

    def _decoder_attention(self) -> tuple[nn.Module, str]:
        unet = getattr(getattr(self._colorist, "model", None), "unet", None)
        for level, part in enumerate(getattr(unet, "up_blocks", ())):
            if attentions := getattr(part, "attentions", None):
                block: nn.Module = attentions[-1]
                return block, f"{self._family}_up{level}"
        raise PipelineError(f"a {self._family} network has no attention in its decoder, which gram_denoiser looks into")


@contextmanager
def _watched(block: nn.Module) -> Iterator[list[torch.Tensor]]:
    """The first of what a module gives, call after call, while the `with` lasts."""
    outputs: list[torch.Tensor] = []
    hook = block.register_forward_hook(lambda module, given, output: outputs.append(output[0]))
    try:
        yield outputs
    finally:
        hook.remove()
