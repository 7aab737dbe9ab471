"""Sketch and reference in, coloured picture out: codec, reference encoder, v1 and a sampler put together.

Shapes: B batch, H W picture (multiples of 8; padding is the caller's), h w reference of any size.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from model.checkpoint import CheckpointMetadata, load_checkpoint
from model.codec import ImageCodec, load_codec
from model.errors import ModelError
from model.image_encoder import ReferenceEncoder, load_image_encoder
from model.sampling import Conditions, sample
from model.settings import SamplingSettings
from model.v1 import V1


class ColorizationPipeline:
    """Colours sketches after references; the same seed gives the same picture alone or in a batch."""

    def __init__(
        self, model: V1, codec: ImageCodec, image_encoder: ReferenceEncoder, metadata: CheckpointMetadata
    ) -> None:
        if codec.scaling_factor != metadata.scaling_factor:
            raise ModelError(
                f"the model was trained on latents scaled by {metadata.scaling_factor}, "
                f"the codec {metadata.codec!r} scales by {codec.scaling_factor}: it is another codec"
            )
        self.model, self.codec, self.image_encoder, self.metadata = model, codec, image_encoder, metadata

    @classmethod
    def from_checkpoint(
        cls,
        directory: Path,
        *,
        codec_weights: Path | None = None,
        image_encoder_weights: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> "ColorizationPipeline":
        """The pipeline of a checkpoint directory; the weight paths are needed where the frozen parts do not ship."""
        model, metadata = load_checkpoint(directory)
        codec = load_codec(metadata.codec, codec_weights)
        image_encoder = load_image_encoder(metadata.image_encoder, image_encoder_weights)
        return cls(model.to(device), codec.to(device), image_encoder.to(device), metadata)

    @torch.no_grad()
    def __call__(
        self,
        sketches: torch.Tensor,
        references: torch.Tensor | None,
        seeds: Sequence[int],
        steps: int | None = None,
        guidance_scale: float | None = None,
        settings: SamplingSettings | None = None,
    ) -> torch.Tensor:
        """Pictures (B, 3, H, W) in [-1, 1].

        sketches (B, 3, H, W), background -1 and lines +1; references (B, 3, h, w) in [-1, 1], or None for none; one
        seed for each sample. steps and guidance_scale override the settings. Raises ModelError for sizes that do not
        fit.
        """
        settings = settings or SamplingSettings()
        settings = replace(
            settings,
            steps=settings.steps if steps is None else steps,
            guidance_scale=settings.guidance_scale if guidance_scale is None else guidance_scale,
        )
        if references is None:
            settings = replace(settings, guidance_scale=1.0)  # both branches of the guidance would be the same
        self._check(sketches, references, seeds)
        conditions = self._conditions(sketches, references, settings)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise = self._initial_noise(sketches.shape[-2:], generators)
        latents = sample(self.model, conditions, noise, self.metadata.prediction_type, settings, generators)
        return self.codec.decode(latents)

    def _check(self, sketches: torch.Tensor, references: torch.Tensor | None, seeds: Sequence[int]) -> None:
        height, width = sketches.shape[-2:]
        multiple = self.codec.config.downsampling
        if height % multiple or width % multiple or not height or not width:
            raise ModelError(f"a sketch of {width}x{height} pixels: both sides must be multiples of {multiple}")
        counts = {len(sketches), len(seeds), len(sketches if references is None else references)}
        if len(counts) != 1:
            raise ModelError(
                f"{len(sketches)} sketches need as many seeds ({len(seeds)}) and references "
                f"({'none' if references is None else len(references)})"
            )

    def _conditions(
        self, sketches: torch.Tensor, references: torch.Tensor | None, settings: SamplingSettings
    ) -> Conditions:
        device = next(self.model.parameters()).device
        sketches = sketches.to(device)
        if references is None:
            context = torch.zeros(len(sketches), 1, self.model.config.context_width, device=device)
        else:
            context = self.image_encoder.encode(references.to(device))
        empty_hints = None
        if settings.sketch_guidance_scale != 1:
            one = self.model.encode_sketch(torch.full_like(sketches[:1], -1), settings.sketch_strength)
            empty_hints = tuple(hint.expand(len(sketches), -1, -1, -1) for hint in one)
        return Conditions(context, self.model.encode_sketch(sketches, settings.sketch_strength), empty_hints)

    def _initial_noise(self, size: Sequence[int], generators: Sequence[torch.Generator]) -> torch.Tensor:
        """Drawn on the CPU sample by sample, so that neither the batch nor the device changes it."""
        height, width = (side // self.codec.config.downsampling for side in size)
        shape = (1, self.model.config.latent_channels, height, width)
        noise = torch.cat([torch.randn(shape, generator=generator) for generator in generators])
        return noise.to(next(self.model.parameters()).device)
