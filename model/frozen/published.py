"""The frozen networks around a model that do not ship, as the weight store keeps them: keys and shapes, no weights."""

from torch import nn

from model.frozen.codec import build_codec
from model.frozen.image_encoder import build_image_encoder


def stable_diffusion_autoencoder() -> nn.Module:
    """Stable Diffusion's autoencoder under diffusers' names."""
    return build_codec("sd-vae").autoencoder


def clip_image_tower() -> nn.Module:
    """OpenCLIP's ViT-H-14 without its text tower, under `visual.` as its authors' file has it."""
    tower = nn.Module()
    tower.visual = build_image_encoder("ViT-H-14").vit
    return tower
