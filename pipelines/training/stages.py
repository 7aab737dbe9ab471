"""What a stage of the `v1` family computes: its networks, how a batch is conditioned, and its loss.

ColorizeDiffusion section 3.3 (Eq. 1) and thesis 5.4 (Eqs. 5.2 and 5.3): the noisy stage adds the sample's own diffusion
noise to the reference tokens, the refinement does not; references and sketches are dropped for guidance.

Shapes: B batch, C h w latents, N D reference tokens.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from model.backbone.config import CODECS, IMAGE_ENCODERS
from model.diffusion.noise import (
    add_noise,
    drop,
    loss_per_sample,
    min_snr_weights,
    noisy_reference,
    offset_noise,
    prediction_target,
)
from model.frozen.codec import ImageCodec, load_codec
from model.frozen.image_encoder import ReferenceEncoder, load_image_encoder
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.training.feeder import Batch, Shapes, stage_seed
from pipelines.training.parents import network_of, start_network
from pipelines.weights.frozen import weights_file

Denoiser = Callable[..., torch.Tensor]
NO_SKETCH = -1.0


class Conditioned(NamedTuple):
    """A batch as the network takes it."""

    noised: torch.Tensor
    timesteps: torch.Tensor
    sketch: torch.Tensor
    context: torch.Tensor
    target: torch.Tensor


class V1Stage:
    """The trained network and the frozen ones around it, on one device."""

    def __init__(self, recipe: StageRecipe, parent: Path | None, device: torch.device) -> None:
        torch.manual_seed(stage_seed(recipe))
        self.recipe, self.device = recipe, device
        self.config = network_of(recipe)
        self.model = start_network(recipe, parent).to(device).train()
        encoder = self.config.image_encoder
        self.freeze(
            load_codec(self.config.codec, weights_file(self.config.codec, parent)),
            load_image_encoder(encoder, weights_file(encoder, parent)),
        )

    def freeze(self, codec: ImageCodec, image_encoder: ReferenceEncoder) -> None:
        """Take the frozen networks, in the recipe's precision and in the memory order that runs fastest.

        They are a third of a step's work at published size, and would be most of it in float32 beside bf16.
        """
        dtype = torch.bfloat16 if self.recipe.precision == "bf16" else torch.float32
        self.codec = codec.to(self.device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.image_encoder = image_encoder.to(self.device, dtype)

    @property
    def shapes(self) -> Shapes:
        """What the networks take."""
        encoder = IMAGE_ENCODERS[self.config.image_encoder]
        return Shapes(
            reference_size=encoder.image_size,
            latent_channels=self.config.latent_channels,
            downsampling=CODECS[self.config.codec].downsampling,
            token_shape=(encoder.local_tokens if self._tokens == "local" else 1, self.config.context_width),
        )

    @property
    def _tokens(self) -> Literal["local", "cls"]:
        """The encoder's tokens that the network is conditioned on; "proj" spreads the class token itself."""
        return "local" if self.config.reference_tokens == "local" else "cls"

    @torch.no_grad()
    def condition(self, batch: Batch, *, training: bool = True) -> Conditioned:
        """Latents, context and target of a batch; `training` False conditions fully and cleanly, for validation."""
        draws, recipe = batch.draws, self.recipe
        timesteps, noise = draws.timesteps.to(self.device), draws.noise.to(self.device)
        posterior_noise = draws.posterior_noise.to(self.device) if training else None
        latents = self.codec.encode(batch.color.to(self.device), posterior_noise)
        context = self.image_encoder.encode(batch.reference.to(self.device), self._tokens).float()
        sketch = batch.sketch.to(self.device)
        if training:
            if recipe.offset_noise:
                noise = offset_noise(noise, draws.shift.to(self.device), recipe.offset_noise)
            if recipe.noisy_reference:
                flip = recipe.flip_above or None
                context = noisy_reference(context, timesteps, draws.token_noise.to(self.device), flip)
            context = drop(context, draws.keep_reference.to(self.device))
            sketch = drop(sketch, draws.keep_sketch.to(self.device), NO_SKETCH)
        target = prediction_target(latents, noise, timesteps, recipe.prediction_type)
        return Conditioned(add_noise(latents, noise, timesteps), timesteps, sketch, context, target)

    def losses(self, denoiser: Denoiser, conditioned: Conditioned) -> torch.Tensor:
        """Mean squared error of each sample, (B,), through `denoiser` (the network or the engine around it)."""
        noised, timesteps, sketch, context, target = conditioned
        return loss_per_sample(denoiser(noised, timesteps, sketch, context), target)

    def training_loss(self, denoiser: Denoiser, conditioned: Conditioned) -> torch.Tensor:
        """The mean over the batch that is minimised, a scalar: `losses`, weighted where the recipe says so."""
        losses = self.losses(denoiser, conditioned)
        if self.recipe.min_snr_gamma:
            weights = min_snr_weights(conditioned.timesteps, self.recipe.min_snr_gamma, self.recipe.prediction_type)
            losses = weights * losses
        return losses.mean()
