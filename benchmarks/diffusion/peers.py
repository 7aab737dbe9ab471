"""What one would use instead, of diffusers' own classes: ControlNet with an IP-Adapter, a bare UNet loop, and the step
of its text-to-image fine-tuning script.

Where they must agree with ours they get our weights; else random ones, which change no time.

Shapes: B batch, H W picture, h w latents (H / 8, W / 8), N reference tokens, D context width.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from benchmarks.diffusion.sizes import SCALING, Networks, Size, fill_zeros
from model.batch import Batch
from model.diffusion.noise import BETA_END, BETA_START, PredictionType
from model.diffusion.schedulers import build_scheduler
from model.frozen.config import ImageEncoderConfig

PROMPT_TOKENS = 77
ADAPTER_TOKENS = 4  # of the plain IP-Adapter, the cheapest one


def stock_unet(networks: Networks) -> UNet2DConditionModel:
    """diffusers' UNet with diffusers' attention and our weights, in their precision and on their device."""
    ours = networks.model.unet
    unet = UNet2DConditionModel.from_config(ours.config)
    unet.load_state_dict(ours.state_dict())
    return unet.to(ours.device, ours.dtype).eval().requires_grad_(False)


def hook_hints(unet: UNet2DConditionModel, hints: list[torch.Tensor]) -> None:
    """Add `hints`, as they are when it runs, where our UNet adds them; a stock UNet has no place for them."""

    def after_first(module: nn.Module, given: Any, result: torch.Tensor) -> torch.Tensor:
        return result + hints[0]

    def after_block(number: int) -> Any:
        def add(module: nn.Module, given: Any, result: tuple[torch.Tensor, Any]) -> tuple[torch.Tensor, Any]:
            hidden = result[0] + hints[number]
            return hidden, (*result[1][:-1], hidden)

        return add

    unet.conv_in.register_forward_hook(after_first)
    for number, block in enumerate(unet.down_blocks, 1):
        block.register_forward_hook(after_block(number))


@torch.no_grad()
def bare_loop(
    unet: Any, context: torch.Tensor, noise: torch.Tensor, sampler: str, steps: int, guidance_scale: float
) -> torch.Tensor:
    """Latents (B, C, h, w) from noise: the loop of diffusers' tutorials, with guidance in one batch."""
    scheduler = build_scheduler(sampler, "eps")
    scheduler.set_timesteps(steps, device=noise.device)
    both = torch.cat([torch.zeros_like(context), context])
    latents = noise.to(unet.dtype) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        fed = scheduler.scale_model_input(torch.cat([latents] * 2), timestep)
        predicted = unet(fed, timestep, encoder_hidden_states=both, return_dict=False)[0]
        without, with_reference = predicted.chunk(2)
        guided = without + guidance_scale * (with_reference - without)
        latents = scheduler.step(guided, timestep, latents, return_dict=False)[0]
    return latents


class ControlNetWithAdapter:
    """StableDiffusionControlNetPipeline with an IP-Adapter: a sketch and a reference in, a picture out.

    Prompt embeddings are given, and the reference arrives as the image encoder takes it: neither a text encoder nor
    the preparation of PIL pictures is charged.
    """

    def __init__(self, size: Size, networks: Networks, sampler: str) -> None:
        unet = stock_unet(networks)
        controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=size.v1.stem_widths[::2])
        fill_zeros(controlnet)
        unet._load_ip_adapter_weights([_adapter_weights(unet, size.image_encoder)], low_cpu_mem_usage=False)
        self.pipeline = StableDiffusionControlNetPipeline(
            vae=copy.deepcopy(networks.codec.autoencoder),  # the same decoder on both sides
            text_encoder=None,  # type: ignore[arg-type]
            tokenizer=None,  # type: ignore[arg-type]
            unet=unet,
            controlnet=controlnet,
            scheduler=build_scheduler(sampler, "eps"),
            safety_checker=None,  # type: ignore[arg-type]
            feature_extractor=None,  # type: ignore[arg-type]
            image_encoder=_clip(size.image_encoder),
            requires_safety_checker=False,
        ).to(unet.device, unet.dtype)
        self.pipeline.set_progress_bar_config(disable=True)
        self.side = size.image_encoder.image_size

    def optimise(self, compiled: bool) -> None:
        """Channels last, and its three networks compiled."""
        parts = self.pipeline
        for network in (parts.unet, parts.controlnet, parts.vae):
            network.to(memory_format=torch.channels_last)
        if compiled:
            parts.unet.compile()
            parts.controlnet.compile()
            parts.vae.decoder.compile()

    def __call__(self, sketches: torch.Tensor, references: torch.Tensor, steps: int, scale: float) -> torch.Tensor:
        """Pictures (B, 3, H, W) in [0, 1] of sketches (B, 3, H, W) in [0, 1] and references (B, 3, side, side)."""
        unet = self.pipeline.unet
        prompt = torch.zeros(
            (len(sketches), PROMPT_TOKENS, unet.config["cross_attention_dim"]), device=unet.device, dtype=unet.dtype
        )
        return self.pipeline(
            prompt_embeds=prompt,
            negative_prompt_embeds=prompt,
            image=sketches,
            ip_adapter_image=references,
            num_inference_steps=steps,
            guidance_scale=scale,
            output_type="pt",
        ).images


def _clip(config: ImageEncoderConfig) -> CLIPVisionModelWithProjection:
    """transformers' vision tower of our encoder's size."""
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=config.width,
            intermediate_size=4 * config.width,
            projection_dim=config.output_width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            image_size=config.image_size,
            patch_size=config.patch_size,
            hidden_act="gelu",
        )
    ).eval()


def _adapter_weights(unet: UNet2DConditionModel, encoder: ImageEncoderConfig) -> dict[str, dict[str, torch.Tensor]]:
    """Random weights of a plain IP-Adapter under its published names, for diffusers' own loader."""
    width = unet.config["cross_attention_dim"]
    projection = {
        "proj.weight": torch.randn(ADAPTER_TOKENS * width, encoder.output_width) * 0.02,
        "proj.bias": torch.zeros(ADAPTER_TOKENS * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    crossing = [name for name in unet.attn_processors if "attn2" in name]
    attention = {}
    for number, name in enumerate(crossing):
        inner = unet.get_parameter(f"{name.removesuffix('.processor')}.to_k.weight").shape[0]
        for part in ("to_k_ip", "to_v_ip"):
            attention[f"{2 * number + 1}.{part}.weight"] = torch.randn(inner, width) * 0.02
    return {"image_proj": projection, "ip_adapter": attention}


class FineTuning:
    """A step of diffusers' text-to-image fine-tuning script, with the image encoder in the text encoder's place.

    The same parameters are trained as in ours: hooks add the sketch encoder's hints to diffusers' UNet. Mixed precision
    is the script's: bf16 frozen networks, fp32 weights under autocast.
    """

    def __init__(self, networks: Networks, learning_rate: float, gradient_clip: float, precision: str) -> None:
        self.codec, self.image_encoder = networks.codec, networks.image_encoder
        self.unet = stock_unet(networks).train().requires_grad_(True)
        self.sketch_encoder = networks.model.sketch_encoder.train().requires_grad_(True)
        self.hints: list[torch.Tensor] = []
        hook_hints(self.unet, self.hints)
        self.parameters = [*self.unet.parameters(), *self.sketch_encoder.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=learning_rate)
        self.scheduler = DDPMScheduler(beta_start=BETA_START, beta_end=BETA_END, beta_schedule="scaled_linear")
        self.gradient_clip, self.half = gradient_clip, precision == "bf16"

    def __call__(self, batch: Batch, prediction_type: PredictionType) -> torch.Tensor:
        """The loss of a batch, whose random numbers are given; the weights have changed after it."""
        device, pictures, draws = self.unet.device, batch.pictures, batch.draws
        noise, timesteps = draws["noise"].to(device), draws["timesteps"].to(device)
        with torch.no_grad():
            posterior = self.codec.autoencoder.encode(pictures["color"].to(device, self.codec.dtype)).latent_dist
            latents = (posterior.mean + posterior.std * draws["posterior_noise"].to(posterior.mean)) * SCALING
            context = self.image_encoder.encode(pictures["reference"].to(device))
        noised = self.scheduler.add_noise(latents.float(), noise, timesteps).to(latents.dtype)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.half):
            self.hints[:] = self.sketch_encoder(pictures["sketch"].to(device))
            predicted = self.unet(noised, timesteps, context, return_dict=False)[0]
        target = noise if prediction_type == "eps" else self.scheduler.get_velocity(latents.float(), noise, timesteps)
        loss = F.mse_loss(predicted.float(), target.float(), reduction="mean")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()
