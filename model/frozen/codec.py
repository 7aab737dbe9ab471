"""The image codec: pictures to latents of 1/8 of their side and back, frozen during training.

"tiny" and "small" ship with the repository (model/assets/*_codec.*); "sd-vae" is Stable Diffusion's
autoencoder, whose file the user names. Latents leave already multiplied by the scaling factor, so that their spread is
about 1. The networks compute in the precision of their weights; what is added, scaled or drawn around them is float32.

Shapes: B batch, H W picture (multiples of the downsampling), C latent channels.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import torch
import torch.nn.functional as F
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import nn

from model.errors import ModelError
from model.finite import check_pictures
from model.frozen.config import CODECS, SHIPPED, CodecConfig
from model.frozen.tiles import in_tiles
from model.setting import EPSILON, check_range
from model.typed_entries import check_types, json_entries
from model.weights.reading import ASSETS, load_strictly, read_tensors

_MOST_FACTS_BYTES = 1 << 16
_CERTAIN = -30.0  # log variance of latents that nothing but a linear map makes: diffusers' own least


class _Facts(TypedDict):
    """What is read of the document beside a codec's weights."""

    scaling_factor: float


class LinearPath(nn.Module):
    """Squares of pixels to latents and back, linearly: (B, 3, H, W) <-> (B, C, H/8, W/8)."""

    def __init__(self, side: int, latent_channels: int) -> None:
        super().__init__()
        self.analysis = nn.Conv2d(3, latent_channels, side, stride=side)
        self.synthesis = nn.ConvTranspose2d(latent_channels, 3, side, stride=side)


class ImageCodec(nn.Module):
    """A KL autoencoder of diffusers with its scaling factor, and the linear path where the config has one.

    To save memory: with `tile` set, pictures larger than so many pixels a side are coded in tiles
    (model/frozen/tiles.py); with `slicing`, the pictures of a batch one by one.
    """

    tile: int | None = None
    slicing: bool = False

    def __init__(self, config: CodecConfig, scaling_factor: float) -> None:
        super().__init__()
        self.config = config
        self.scaling_factor = scaling_factor
        levels = len(config.block_channels)
        folded = 3 * config.pixel_unshuffle**2
        self.autoencoder = AutoencoderKL(
            in_channels=folded,
            out_channels=folded,
            block_out_channels=config.block_channels,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            layers_per_block=config.layers_per_block,
            latent_channels=config.latent_channels,
            norm_num_groups=config.norm_groups,
            mid_block_add_attention=config.mid_attention,
            scaling_factor=scaling_factor,
        )
        self.linear = LinearPath(config.downsampling, config.latent_channels) if config.linear_path else None
        if not config.network_encoder:
            del self.autoencoder.encoder, self.autoencoder.quant_conv

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return next(self.parameters()).dtype

    def posterior(self, images: torch.Tensor) -> DiagonalGaussianDistribution:
        """The distribution of unscaled latents for images (B, 3, H, W) in [-1, 1], float32."""
        return DiagonalGaussianDistribution(self._in_pieces(self._moments, images, self.config.downsampling, 1))

    def encode(self, images: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Scaled latents (B, C, H/8, W/8) of images (B, 3, H, W) in [-1, 1].

        Without noise the posterior's mean; with noise (B, C, H/8, W/8) a sample of it, as the papers train.
        """
        posterior = self.posterior(images)
        latents = posterior.mean if noise is None else posterior.mean + posterior.std * noise
        return latents * self.scaling_factor

    def decode(self, latents: torch.Tensor, *, clamp: bool = True) -> torch.Tensor:
        """Images (B, 3, H, W) in [-1, 1] of scaled latents; clamp=False keeps gradients for training the codec.

        Raises ModelError for images that are not finite, which a clamp would hide.
        """
        latents = latents / self.scaling_factor
        images = self._in_pieces(self._pixels, latents, 1, self.config.downsampling)
        return check_pictures(images).clamp(-1, 1) if clamp else images

    def _moments(self, images: torch.Tensor) -> torch.Tensor:
        """Mean and log variance (B, 2 C, H/8, W/8) of the unscaled latents."""
        images = images.to(self.dtype)
        if not self.config.network_encoder:
            assert self.linear is not None
            mean = self.linear.analysis(images).float()
            return torch.cat([mean, torch.full_like(mean, _CERTAIN)], dim=1)
        posterior = self.autoencoder.encode(F.pixel_unshuffle(images, self.config.pixel_unshuffle)).latent_dist
        mean = posterior.mean.float()
        if self.linear is not None:
            mean = mean + self.linear.analysis(images).float()
        return torch.cat([mean, posterior.logvar.float()], dim=1)

    def _pixels(self, latents: torch.Tensor) -> torch.Tensor:
        latents = latents.to(self.dtype)
        images = F.pixel_shuffle(self.autoencoder.decode(latents).sample, self.config.pixel_unshuffle).float()
        return images if self.linear is None else images + self.linear.synthesis(latents).float()

    def _in_pieces(
        self, network: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, cell_in: int, cell_out: int
    ) -> torch.Tensor:
        """network(x), as a whole or in the slices and tiles asked for."""
        tile = self.tile and max(self.tile // self.config.downsampling, 1)
        pieces = x.split(1) if self.slicing else (x,)
        results = [in_tiles(network, piece, tile, cell_in, cell_out) if tile else network(piece) for piece in pieces]
        return torch.cat(results) if len(results) > 1 else results[0]


def build_codec(codec: str, scaling_factor: float | None = None) -> ImageCodec:
    """The codec of that id with fresh weights; scaling_factor where the id does not fix it (default 1)."""
    _check_known(codec)
    return ImageCodec(CODECS[codec], CODECS[codec].scaling_factor or scaling_factor or 1.0)


def load_codec(codec: str, weights: Path | None = None) -> ImageCodec:
    """The frozen codec of that id in evaluation mode, float32.

    weights: a safetensors file in diffusers' or LDM's layout; those that ship need none. Where the id fixes no
    scaling factor it is read from the JSON of the same name beside the weights. Raises ModelError when something is
    missing or does not fit.
    """
    _check_known(codec)
    if weights is None and codec in SHIPPED:
        weights = ASSETS / f"{codec}_codec.safetensors"
    if weights is None:
        raise ModelError(f"the image codec {codec!r} needs its weights: name the safetensors file")
    fixed = CODECS[codec].scaling_factor
    model = build_codec(codec, fixed or _stored_scaling_factor(weights.with_suffix(".json")))
    load_strictly(model, _our_layout(read_tensors(weights), model), weights)
    return model.eval().requires_grad_(False)


def _check_known(codec: str) -> None:
    if codec not in CODECS:
        raise ModelError(f"there is no image codec {codec!r}; known: {', '.join(CODECS)}")


def _stored_scaling_factor(path: Path) -> float:
    """Of latents, as the document beside a codec's weights says it."""
    try:
        with path.open("rb") as file:
            stored = json_entries(file.read(_MOST_FACTS_BYTES))
        check_types(_Facts, stored)
        factor: float = stored.get("scaling_factor", 0.0)
        check_range("scaling_factor", factor, EPSILON)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot read the codec's scaling_factor ({error})") from error
    return float(factor)


def _our_layout(tensors: dict[str, torch.Tensor], codec: ImageCodec) -> dict[str, torch.Tensor]:
    """LDM's names (bare, or under first_stage_model.) and diffusers' become ours; our own pass through."""
    prefix = "first_stage_model."
    bundled = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not bundled and any(name.startswith("encoder.down.") for name in tensors):
        bundled = {prefix + name: tensor for name, tensor in tensors.items()}
    if bundled:
        tensors = convert_ldm_vae_checkpoint(bundled, codec.autoencoder.config)
    ours = any(name.startswith("autoencoder.") for name in tensors)
    return tensors if ours else {f"autoencoder.{name}": tensor for name, tensor in tensors.items()}
