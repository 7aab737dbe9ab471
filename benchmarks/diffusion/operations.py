"""Operations of sampling and training, counted on the meta device; a product and its sum are two."""

from collections.abc import Callable
from functools import lru_cache

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.diffusion.sizes import SIZES, Networks
from benchmarks.measuring import Row
from model.families.v1.network import V1
from model.frozen.codec import ImageCodec
from model.frozen.image_encoder import ReferenceEncoder

GUIDED = 2  # rows of a batch of one picture: with and without the reference
SIDES = (512, 768, 1024)
STEPS = 20


def operations(work: Callable[[], object]) -> float:
    """Of one call."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return float(counter.get_total_flops())


@lru_cache(maxsize=4)
def _networks(size: str) -> tuple[Networks, UNet2DConditionModel, ControlNetModel]:
    chosen = SIZES[size]
    with torch.device("meta"):
        networks = Networks(V1(chosen.v1), ImageCodec(chosen.codec, 1.0), ReferenceEncoder(chosen.image_encoder))
        unet = UNet2DConditionModel.from_config(networks.model.unet.config)
        controlnet = ControlNetModel.from_unet(
            unet, load_weights_from_unet=False, conditioning_embedding_out_channels=chosen.v1.stem_widths[::2]
        )
    return networks, unet, controlnet


@lru_cache(maxsize=32)
def parts(size: str, side: int) -> dict[str, float]:
    """Operations of each part for one picture: a guided step of ours and of diffusers', and what is done once."""
    networks, unet, controlnet = _networks(size)
    config, encoder = SIZES[size].v1, SIZES[size].image_encoder
    with torch.device("meta"):
        latents = torch.zeros(GUIDED, config.latent_channels, side // 8, side // 8)
        timesteps = torch.zeros(GUIDED, dtype=torch.long)
        context = torch.zeros(GUIDED, encoder.local_tokens + 1, config.context_width)
        local = torch.zeros(1, encoder.local_tokens, config.context_width)
        picture, reference = torch.zeros(1, 3, side, side), torch.zeros(1, 3, encoder.image_size, encoder.image_size)
    model = networks.model
    with torch.no_grad():
        hints = [level.repeat(GUIDED, 1, 1, 1) for level in model.encode_sketch(picture)]
        projected = model.project(local)
    control = picture.repeat(GUIDED, 1, 1, 1)
    return {
        "diffusers' UNet": operations(lambda: unet(latents, timesteps, context)),
        "ControlNet": operations(lambda: controlnet(latents, timesteps, context, control)),
        "ours": operations(lambda: model.denoise(latents[:1], timesteps[:1], hints, projected, branches=GUIDED)),
        "training forward": operations(lambda: model(latents[:1], timesteps[:1], picture, local)),
        "sketch encoder": operations(lambda: model.encode_sketch(picture)),
        "projection": operations(lambda: model.project(local)),
        "decoder": operations(lambda: networks.codec.decode(latents[:1])),
        "VAE encoder": operations(lambda: networks.codec.encode(picture)),
        "image encoder": operations(lambda: networks.image_encoder.vit(reference)),
    }


def picture_operations(size: str, side: int, steps: int) -> float:
    """Of a picture that we sample with guidance, from sketch and reference to pixels."""
    found = parts(size, side)
    once = sum(found[name] for name in ("sketch encoder", "projection", "decoder", "image encoder"))
    return steps * found["ours"] + once


def training_operations(size: str, side: int) -> float:
    """Of an image in training: the trained network forward and twice that backward, the frozen ones forward."""
    found = parts(size, side)
    return 3 * found["training forward"] + found["VAE encoder"] + found["image encoder"]


def counted_rows() -> list[Row]:
    """TFLOP at published size."""
    rows: list[Row] = []
    for side in SIDES:
        found = {name: count / 1e12 for name, count in parts("base", side).items()}
        rows.append(
            {
                "side": side,
                "UNet of diffusers, 257 tokens, one row": found["diffusers' UNet"] / GUIDED,
                "ours, a step with guidance": found["ours"],
                "bare loop": found["diffusers' UNet"],
                "ControlNet beside it": found["ControlNet"],
                "bare / ours": found["diffusers' UNet"] / found["ours"],
                "ControlNet + UNet / ours": (found["diffusers' UNet"] + found["ControlNet"]) / found["ours"],
                f"a picture in {STEPS} steps": picture_operations("base", side, STEPS) / 1e12,
                "a training image, encoders included": training_operations("base", side) / 1e12,
            }
        )
    return rows
