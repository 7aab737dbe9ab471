"""Operations and rate of a training image: counted on the meta device, measured where there is one to train on."""

import time
from typing import Any

import torch

from benchmarks.costs.fitting import machine, today
from model.families.v1.network import V1
from model.families.v1.sizes import V1_SIZES
from model.frozen.codec import build_codec
from model.frozen.config import IMAGE_ENCODERS
from model.frozen.image_encoder import build_image_encoder
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.recipes.stages import stage_recipe
from pipelines.training.flops import count_flops
from pipelines.training.parents import network_of

STEPS, WARM_UP = 12, 3


def measure_training(size: str, device: str) -> dict[str, Any]:
    """{flops, area, rates}: of the stage v1.noisy at its size; weights are random, which changes no time."""
    recipe = stage_recipe("v1.noisy", size)
    width, height = recipe.samples.width, recipe.samples.height
    flops = count_flops(recipe.family, network_of(recipe), width, height).total
    known = {"flops": flops, "area": width * height, "rates": {}}
    if device != "meta":
        name = torch.cuda.get_device_name() if device == "cuda" else f"core of {machine()}"
        rate = {"images_per_s": round(images_per_s(recipe, device), 4), "device": name, "date": today()}
        known["rates"] = {device: rate}
    return known


def images_per_s(recipe: StageRecipe, device: str) -> float:
    """Of one device (one core of a CPU) with micro-batches of the recipe: conditioning, loss, backward, AdamW."""
    torch.set_num_threads(1)
    with torch.device(device):
        model, codec, encoder = _networks(recipe)
        batch = _batch(recipe, recipe.length.micro_batch)
    precision = torch.bfloat16 if recipe.optimizer.precision == "bf16" else torch.float32
    model.to(precision)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    for step in range(STEPS):
        if step == WARM_UP:
            _wait(device)
            started = time.process_time() if device == "cpu" else time.perf_counter()
        with torch.no_grad():
            latents, context = codec.encode(batch["color"]), encoder.vit(batch["reference"])
        loss = model(latents, batch["timesteps"], batch["sketch"], batch["context"]).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    _wait(device)
    took = (time.process_time() if device == "cpu" else time.perf_counter()) - started
    del context
    return (STEPS - WARM_UP) * recipe.length.micro_batch / took


def _networks(recipe: StageRecipe) -> tuple[V1, Any, Any]:
    config = V1_SIZES[recipe.model_size]
    codec, encoder = build_codec(config.codec), build_image_encoder(config.image_encoder)
    return V1(config).train(), codec.eval().requires_grad_(False), encoder.eval().requires_grad_(False)


def _batch(recipe: StageRecipe, count: int) -> dict[str, torch.Tensor]:
    config = V1_SIZES[recipe.model_size]
    encoder = IMAGE_ENCODERS[config.image_encoder]
    width, height = recipe.samples.width, recipe.samples.height
    picture = (count, 3, height, width)
    return {
        "latents": torch.zeros(count, config.latent_channels, height // 8, width // 8),
        "timesteps": torch.zeros(count, dtype=torch.long),
        "sketch": torch.zeros(picture),
        "color": torch.zeros(picture),
        "context": torch.zeros(count, encoder.local_tokens, config.context_width),
        "reference": torch.zeros(count, 3, encoder.image_size, encoder.image_size),
    }


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
