"""What a stage of v1 computes: its networks, how a batch is conditioned, its loss, and what is measured of it.

ColorizeDiffusion section 3.3 (Eq. 1) and thesis 5.4 (Eqs. 5.2 and 5.3): the noisy stage adds the sample's own diffusion
noise to the reference tokens, the refinement does not; references and sketches are dropped for guidance.

Shapes: B batch, C h w latents, N D reference tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from model.batch import Batch, Draw, Needs, Strata
from model.diffusion.noise import (
    TIMESTEPS,
    add_noise,
    drop,
    loss_per_sample,
    min_snr_weights,
    noisy_reference,
    offset_noise,
    prediction_target,
)
from model.diffusion.pipeline import ColorizationPipeline
from model.diffusion.separation import Separation
from model.families.v1.network import V1
from model.families.v1.settings import V1Settings
from model.families.v1.sizes import V1Config
from model.frozen.codec import ImageCodec
from model.frozen.config import CODECS, IMAGE_ENCODERS
from model.frozen.image_encoder import ReferenceEncoder
from model.stage import WHOLE, Network, StageContext

Denoiser = Callable[..., torch.Tensor]
NO_SKETCH = -1.0
BANDS = ((0, 250), (250, 500), (500, 750), (750, TIMESTEPS))  # of timesteps, in which the loss is measured


class Conditioned(NamedTuple):
    """A batch as the network takes it."""

    noised: torch.Tensor
    timesteps: torch.Tensor
    sketch: torch.Tensor
    context: torch.Tensor
    target: torch.Tensor


class Noised(NamedTuple):
    """Latents with noise in them, and what they are made of, (B, C, h, w) each."""

    latents: torch.Tensor
    clean: torch.Tensor
    noise: torch.Tensor


class V1Stage:
    """The trained network and the frozen ones around it, on one device (model.stage.Stage)."""

    pipeline = ColorizationPipeline

    def __init__(self, context: StageContext) -> None:
        assert isinstance(context.model, V1)
        self.model, self.device = context.model.train(), context.device
        self.config: V1Config = context.config
        self.settings: V1Settings = context.method
        self.networks = {WHOLE: self.model}
        self.optimizers = {WHOLE: context.optimizer}
        self._freeze(context)

    def _freeze(self, context: StageContext) -> None:
        """Take the frozen networks, in the recipe's precision and in the memory order that runs fastest.

        They are a third of a step's work at published size, and would be most of it in float32 beside bf16.
        """
        dtype = torch.bfloat16 if context.bf16 else torch.float32
        codec, image_encoder = context.frozen["codec"], context.frozen["image_encoder"]
        assert isinstance(codec, ImageCodec)
        assert isinstance(image_encoder, ReferenceEncoder)
        self.codec = codec.to(self.device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.image_encoder = image_encoder.to(self.device, dtype)

    # ---- what a sample must hold ----------------------------------------------------------------------------------

    @property
    def needs(self) -> Needs:
        """A sketch, its colours, and a reference squashed for the image encoder."""
        encoder = IMAGE_ENCODERS[self.config.image_encoder]
        return Needs(reference_size=encoder.image_size, strata=Strata("timesteps", BANDS))

    def draws(self, width: int, height: int) -> Sequence[Draw]:
        """Timestep and drops come first, so that they are the same at every picture size; the shift comes last, so that
        stages without offset noise draw what they always drew."""
        downsampling = CODECS[self.config.codec].downsampling
        latents = (self.config.latent_channels, height // downsampling, width // downsampling)
        encoder = IMAGE_ENCODERS[self.config.image_encoder]
        tokens = encoder.local_tokens if self._tokens == "local" else 1
        return (
            Draw("timesteps", "integers", below=TIMESTEPS),
            Draw("chances", "uniform", (2,)),  # of the reference, of the sketch
            Draw("noise", "normal", latents),
            Draw("posterior_noise", "normal", latents),
            Draw("token_noise", "normal", (tokens, self.config.context_width)),
            Draw("shift", "normal", (latents[0], 1, 1)),
        )

    @property
    def _tokens(self) -> Literal["local", "cls"]:
        """The encoder's tokens that the network is conditioned on; "proj" spreads the class token itself."""
        return "local" if self.config.reference_tokens == "local" else "cls"

    def shows(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        """The pictures of the batch as they are."""
        return batch.pictures

    # ---- training -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def prepare(self, batch: Batch, *, training: bool = True) -> Conditioned:
        """Latents, context and target of a batch; `training` False conditions fully and cleanly, for validation."""
        draws = {name: values.to(self.device) for name, values in batch.draws.items()}
        timesteps, noise = self.timesteps(draws["timesteps"]), draws["noise"]
        latents = self.codec.encode(
            batch.pictures["color"].to(self.device), draws["posterior_noise"] if training else None
        )
        context = self.image_encoder.encode(batch.pictures["reference"].to(self.device), self._tokens).float()
        sketch = batch.pictures["sketch"].to(self.device)
        if training:
            noise, context, sketch = self._augmented(draws, noise, context, sketch)
        noised = Noised(add_noise(latents, noise, timesteps, self.settings.noise_schedule), latents, noise)
        target = self.target(noised, timesteps, sketch, context)
        return Conditioned(noised.latents, timesteps, sketch, context, target)

    def timesteps(self, drawn: torch.Tensor) -> torch.Tensor:
        """The timesteps (B,) that samples with these random ones are noised to."""
        return drawn

    def target(
        self, noised: Noised, timesteps: torch.Tensor, sketch: torch.Tensor, context: torch.Tensor
    ) -> torch.Tensor:
        """What the network is to predict, (B, C, h, w)."""
        settings = self.settings
        return prediction_target(
            noised.clean, noised.noise, timesteps, settings.prediction_type, settings.noise_schedule
        )

    def _augmented(
        self, draws: Mapping[str, torch.Tensor], noise: torch.Tensor, context: torch.Tensor, sketch: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Noise, context and sketch of a training sample: shifted, noised (thesis Eq. 5.2) and dropped."""
        settings, chances = self.settings, draws["chances"]
        if settings.offset_noise:
            noise = offset_noise(noise, draws["shift"], settings.offset_noise)
        if settings.noisy_reference:
            flip = settings.flip_above or None
            context = noisy_reference(context, draws["timesteps"], draws["token_noise"], flip, settings.noise_schedule)
        return (
            noise,
            self._dropped(context, chances[:, 0]),
            drop(sketch, chances[:, 1] >= settings.sketch_drop, NO_SKETCH),
        )

    def _dropped(self, context: torch.Tensor, chances: torch.Tensor) -> torch.Tensor:
        """The context that the network is shown, without that of samples whose reference is dropped."""
        return drop(context, chances >= self.settings.reference_drop)

    def losses(self, denoiser: Denoiser, conditioned: Conditioned) -> torch.Tensor:
        """Mean squared error of each sample, (B,), through `denoiser` (the network or the engine around it)."""
        noised, timesteps, sketch, context, target = conditioned
        return loss_per_sample(denoiser(noised, timesteps, sketch, context), target)

    def objective(self, name: str, engines: Mapping[str, Network], prepared: Any) -> torch.Tensor:
        """The mean over the batch that is minimised (thesis Eqs. 5.2, 5.3), a scalar: `losses`, weighted on request."""
        losses = self.losses(engines[name], prepared)
        if self.settings.min_snr_gamma:
            weights = min_snr_weights(
                prepared.timesteps,
                self.settings.min_snr_gamma,
                self.settings.prediction_type,
                self.settings.noise_schedule,
            )
            losses = weights * losses
        return losses.mean()

    # ---- watching -------------------------------------------------------------------------------------------------

    def validate(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        """The losses (bands,) of one sample at one fixed timestep in each band."""
        return {"losses": self.losses(self.model, self.prepare(batch, training=False))}

    def summarize(self, measured: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, float]:
        """Mean loss, whole and by band of timesteps."""
        total = torch.zeros(len(BANDS))
        for sample in measured:
            total += sample["losses"]
        means = (total / len(measured)).tolist()
        bands = {f"validation_loss_{low}_{high}": mean for (low, high), mean in zip(BANDS, means, strict=True)}
        return {"validation_loss": float(np.mean(means))} | bands

    def separation(self, sketches: Batch, references: Batch) -> Separation | None:
        """Nothing: references are read as a whole."""
        return None

    def colorist(self) -> ColorizationPipeline:
        """The networks as they are."""
        return self.pipeline(
            self.model,
            self.codec,
            self.image_encoder,
            prediction_type=self.settings.prediction_type,
            scaling_factor=self.codec.scaling_factor,
            noise_schedule=self.settings.noise_schedule,
        )

    def recorded(self) -> Mapping[str, Any]:
        """What a checkpoint records of this stage."""
        return {
            "scaling_factor": self.codec.scaling_factor,
            "codec": self.config.codec,
            "image_encoder": self.config.image_encoder,
            "prediction_type": self.settings.prediction_type,
            "noise_schedule": self.settings.noise_schedule,
            # The levels of the usual sampler would begin where everything is noise, and dwell there.
            "sampling": {"sampler": "dpmpp_2m"} if self.settings.noise_schedule == "zero-terminal" else {},
        }
