"""Trains the two frozen networks of the tiny size, from the shipped pictures alone.

Run: `python -m pipelines.weights.tiny_frozen`.

The published sizes take Stable Diffusion's autoencoder and OpenCLIP's image tower, trained on billions of pictures. The
tiny size has neither, so its codec and its reference encoder are trained here once and ship with the repository
(model/assets). The reference encoder learns what a CLIP tower would bring: its local tokens must tell the colours of
their patch, the parts that lie in it (hair, skin, clothes: known exactly for assembled pictures), and the colours that
each part has in the whole picture. Only training templates are seen; validation templates stay unseen.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from dataprep.pictures.assembled import REGIONS, Assembly, from_json, region_classes
from dataprep.pictures.decode import decode
from dataprep.pictures.resize import resize_color
from dataprep.plan.split import assign_split
from dataprep.samples.sample import cover_size
from dataprep.sources import list_items, read_item
from model.frozen.codec import ImageCodec, build_codec
from model.frozen.image_encoder import ReferenceEncoder, build_image_encoder
from model.weights.reading import ASSETS
from pipelines.common.shipped_pictures import SHIPPED_SOURCES
from pipelines.recipes.corpora import CORPUS_RECIPES

SIDE = 160
CROP = 128
PARTS = ("hair", "skin", "clothes", "eyes", "background")
UNSCORED = 255
START_LOGVAR = -6.0  # a posterior that is sure of itself: 5 % of the latents' spread


@dataclass(frozen=True)
class Pool:
    """All pictures of one split: rgb (N, SIDE, SIDE, 3) uint8; classes (N, SIDE, SIDE), 255 where unknown; part colours
    (N, parts, 3) in [0, 1] and whether the picture is assembled (N,)."""

    rgb: torch.Tensor
    classes: torch.Tensor
    colors: torch.Tensor
    assembled: torch.Tensor


def gather(split: str) -> Pool:
    """The shipped pictures of `split`, each covering a square of SIDE pixels from its centre."""
    share = CORPUS_RECIPES["demo"].validation_share
    rgb, classes, colors, assembled = [], [], [], []
    for source in SHIPPED_SOURCES:
        for item in list_items(source):
            data = read_item(item)
            if item.kind != "assembled" and "damaged" in item.uri:
                continue
            picture = decode(data.data)
            if assign_split(item.group or item.uri, share) != split:
                continue
            rgb.append(_square(picture.rgb))
            assembly = from_json(data.assembly) if data.assembly else None
            classes.append(region_classes(assembly, SIDE) if assembly else np.full((SIDE, SIDE), UNSCORED, np.uint8))
            colors.append(_part_colors(assembly))
            assembled.append(assembly is not None)
    return Pool(
        torch.from_numpy(np.stack(rgb)),
        torch.from_numpy(np.stack(classes)),
        torch.from_numpy(np.stack(colors)),
        torch.tensor(assembled),
    )


def train_codec(pool: Pool, minutes: float, batch: int = 8, rate: float = 1e-3) -> ImageCodec:
    """Squared and absolute error, error of gradients (lines), a light KL term; then latents are scaled to spread 1."""
    codec = build_codec("tiny")
    _start_at_principal_components(codec, pool)
    optimizer = torch.optim.AdamW(codec.parameters(), lr=rate, weight_decay=1e-4)
    for step, share in _clock("codec", minutes):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100) * (1 - share) ** 0.5 + 1e-5
        images = _crops(pool, batch, step)
        posterior = codec.posterior(images)
        decoded = codec.decode(posterior.sample(), clamp=False)
        divergence = posterior.kl().mean() / posterior.mean[0].numel()
        pixels = 2 * F.mse_loss(decoded, images) + 0.25 * F.l1_loss(decoded, images)
        loss = pixels + 0.1 * _gradient_loss(decoded, images) + 1e-5 * divergence
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0:
            print(f"codec step {step} loss {loss.item():.4f} psnr {_psnr(decoded, images):.2f}", flush=True)
    codec.eval()
    with torch.no_grad():
        latents = torch.cat([codec.encode(_crops(pool, 16, 1_000_000 + i)) for i in range(16)])
        _weigh_channels(codec, latents)
        latents = torch.cat([codec.encode(_crops(pool, 16, 1_000_000 + i)) for i in range(16)])
    codec.scaling_factor = 1.0 / float(latents.std())
    return codec


def _weigh_channels(codec: ImageCodec, latents: torch.Tensor) -> None:
    """Give each latent channel a spread that grows with the root of what it moves in the picture.

    Equal spreads would make a diffusion model spend most of its loss on fine detail, which the sketch decides anyway;
    with these the few channels that carry colour are the last to drown in noise and the first to be learned. What goes
    in is undone on the way out, so pictures through the codec stay what they are.
    """
    assert codec.linear is not None
    channels = codec.config.latent_channels
    moved = codec.linear.synthesis.weight.flatten(1).norm(dim=1) * latents.std((0, 2, 3))
    factor = moved.sqrt() / latents.std((0, 2, 3))
    networks, linear = codec.autoencoder, codec.linear
    with torch.no_grad():
        for layer in (linear.analysis, networks.quant_conv):
            layer.weight[:channels] *= factor[:, None, None, None]
            assert layer.bias is not None
            layer.bias[:channels] *= factor
        networks.quant_conv.bias[channels:] += 2 * factor.log()
        linear.synthesis.weight /= factor[:, None, None, None]
        networks.post_quant_conv.weight /= factor[None, :, None, None]


def _start_at_principal_components(codec: ImageCodec, pool: Pool) -> None:
    """The linear path becomes the whitened principal components of squares of pixels; the networks add almost 0."""
    assert codec.linear is not None
    side, latents = codec.config.downsampling, codec.config.latent_channels
    squares = torch.cat([F.unfold(_crops(pool, 32, 2_000_000 + i), side, stride=side) for i in range(16)])
    values = squares.transpose(1, 2).reshape(-1, 3 * side * side)
    mean = values.mean(0)
    directions, variances, _ = torch.linalg.svd(torch.cov((values - mean).T))
    basis, spread = directions[:, :latents], variances[:latents].sqrt()
    linear, autoencoder = codec.linear, codec.autoencoder
    with torch.no_grad():
        linear.analysis.weight.copy_((basis / spread).T.reshape(linear.analysis.weight.shape))
        linear.analysis.bias = nn.Parameter(-(mean @ (basis / spread)))
        linear.synthesis.weight.copy_((basis * spread).T.reshape(linear.synthesis.weight.shape))
        # One bias for each colour: the mean square itself is nearly flat.
        linear.synthesis.bias = nn.Parameter(mean.reshape(3, -1).mean(1))
        for last in (autoencoder.quant_conv, autoencoder.decoder.conv_out):
            last.weight.mul_(0.01)
            last.bias.zero_()
        autoencoder.quant_conv.bias[latents:] = START_LOGVAR


class Heads(nn.Module):
    """What each token must tell: its patch's pixels, the parts in it, and the colour of each part in the picture."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.pixels = nn.Linear(width, 3 * patch * patch)
        self.parts = nn.Linear(width, len(REGIONS))
        self.colors = nn.Linear(width, 3 * len(PARTS))


def train_image_encoder(pool: Pool, minutes: float, batch: int = 32, rate: float = 1e-3) -> ReferenceEncoder:
    """The vision transformer, whose projection is scaled at the end so that tokens have spread 1, as noise has."""
    encoder = build_image_encoder("tiny")
    config = encoder.config
    heads = Heads(config.output_width, config.patch_size)
    parameters = [*encoder.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-2)
    for step, share in _clock("image encoder", minutes):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 200) * (1 - share) + 1e-6
        chosen, images, classes = _views(pool, batch, step, config.image_size)
        tokens = encoder.encode(images)
        loss = _token_loss(
            heads, tokens, images, classes, pool.colors[chosen], pool.assembled[chosen], config.patch_size
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 200 == 0:
            print(f"image encoder step {step} loss {loss.item():.4f}", flush=True)
    encoder.eval()
    with torch.no_grad():
        tokens = encoder.encode(_views(pool, 64, 999_999, config.image_size)[1])
        assert isinstance(encoder.vit.proj, nn.Parameter)
        encoder.vit.proj.div_(tokens.std())
    return encoder


def _token_loss(
    heads: Heads,
    tokens: torch.Tensor,
    images: torch.Tensor,
    classes: torch.Tensor,
    colors: torch.Tensor,
    assembled: torch.Tensor,
    patch: int,
) -> torch.Tensor:
    patches = F.unfold(images, patch, stride=patch).transpose(1, 2)
    pixel_loss = F.mse_loss(heads.pixels(tokens), patches)
    shares = F.one_hot(classes.long().clamp(max=len(REGIONS)), len(REGIONS) + 1)[..., : len(REGIONS)].float()
    shares = F.avg_pool2d(shares.permute(0, 3, 1, 2), patch).flatten(2).transpose(1, 2)
    part_loss = F.binary_cross_entropy_with_logits(heads.parts(tokens), shares, reduction="none").mean((1, 2))
    present = shares.amax(1)[:, [REGIONS.index(part) for part in PARTS]] > 0.2
    guessed = heads.colors(tokens).unflatten(-1, (len(PARTS), 3))
    color_loss = ((guessed - colors[:, None]) ** 2).mean((1, 3)) * present
    known = assembled.float()
    return 4 * pixel_loss + ((part_loss + 4 * color_loss.sum(1)) * known).sum() / known.sum().clamp(min=1)


def codec_psnr(codec: ImageCodec, pool: Pool) -> float:
    """Mean PSNR in dB of centre crops through the codec."""
    start = (SIDE - CROP) // 2
    values = []
    with torch.no_grad():
        for part in pool.rgb.split(32):
            images = _to_model(part[:, start : start + CROP, start : start + CROP])
            errors = ((codec.decode(codec.encode(images)) - images) / 2).square().flatten(1).mean(1)
            values.append(-10 * errors.log10())
    return float(torch.cat(values).mean())


def _gradient_loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return F.l1_loss(a.diff(dim=-1), b.diff(dim=-1)) + F.l1_loss(a.diff(dim=-2), b.diff(dim=-2))


def _psnr(decoded: torch.Tensor, images: torch.Tensor) -> float:
    return float(-10 * ((decoded.clamp(-1, 1) - images) / 2).square().mean().log10())


def _clock(what: str, minutes: float) -> Iterator[tuple[int, float]]:
    """Steps and the share of the time that is over, until `minutes` are."""
    started, step = time.monotonic(), 0
    while (share := (time.monotonic() - started) / (60 * minutes)) < 1:
        yield step, share
        step += 1
    print(f"{what}: {step} steps in {minutes} minutes", flush=True)


def _crops(pool: Pool, count: int, seed: int) -> torch.Tensor:
    """Random crops (count, 3, CROP, CROP) in [-1, 1], mirrored half the time, colour channels shuffled at times."""
    rng = np.random.default_rng(seed)
    pictures = []
    for index in rng.integers(len(pool.rgb), size=count):
        top, left = rng.integers(SIDE - CROP + 1, size=2)
        crop = pool.rgb[index, top : top + CROP, left : left + CROP]
        crop = crop.flip(1) if rng.random() < 0.5 else crop
        pictures.append(crop[..., torch.from_numpy(rng.permutation(3))] if rng.random() < 0.3 else crop)
    return _to_model(torch.stack(pictures))


def _views(pool: Pool, count: int, seed: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Indices, squashed pictures (count, 3, size, size) and their classes; the frame is moved a little."""
    rng = np.random.default_rng(seed)
    chosen = torch.from_numpy(rng.integers(len(pool.rgb), size=count))
    top, left = rng.integers(0, 17, size=2)
    side = int(rng.integers(SIDE - 16, SIDE + 1)) - max(top, left)
    window = np.s_[:, top : top + side, left : left + side]
    images = F.interpolate(_to_model(pool.rgb[chosen][window]), size=(size, size), mode="area")
    classes = F.interpolate(pool.classes[chosen][window][:, None].float(), size=(size, size), mode="nearest")[:, 0]
    return chosen, images, classes


def _to_model(rgb: torch.Tensor) -> torch.Tensor:
    return rgb.permute(0, 3, 1, 2).float() / 127.5 - 1


def _square(rgb: np.ndarray) -> np.ndarray:
    width, height = cover_size(rgb, SIDE, SIDE)
    top, left = (height - SIDE) // 2, (width - SIDE) // 2
    return resize_color(rgb, width, height)[top : top + SIDE, left : left + SIDE]


def _part_colors(assembly: Assembly | None) -> np.ndarray:
    colors = dict(assembly.colors) if assembly else {}
    hexes = [colors.get(part, "#000000").lstrip("#") for part in PARTS]
    return np.array([[int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)] for code in hexes], dtype=np.float32)


def _half(module: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    return {prefix + name: tensor.half().contiguous() for name, tensor in module.state_dict().items()}


def main() -> None:
    """Train both and write them to model/assets; prints the codec's PSNR on unseen templates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codec-minutes", type=float, default=20.0)
    parser.add_argument("--encoder-minutes", type=float, default=8.0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    training, held_out = gather("train"), gather("validation")
    print(f"{len(training.rgb)} training pictures, {len(held_out.rgb)} held out", flush=True)
    if arguments.encoder_minutes:
        encoder = train_image_encoder(training, arguments.encoder_minutes)
        save_file(_half(encoder.vit, "visual."), Path(ASSETS) / "tiny_image_encoder.safetensors")
    if arguments.codec_minutes:
        codec = train_codec(training, arguments.codec_minutes)
        save_file(_half(codec), Path(ASSETS) / "tiny_codec.safetensors")
        facts = {"scaling_factor": codec.scaling_factor, "held_out_psnr_db": round(codec_psnr(codec, held_out), 2)}
        (Path(ASSETS) / "tiny_codec.json").write_text(json.dumps(facts, indent=2) + "\n")
        print(facts, flush=True)


if __name__ == "__main__":
    main()
