"""Trains the pairs of frozen networks that ship: the codec and the reference encoder of the tiny or of the small size.

Run: `python -m pipelines.weights.frozen_pair tiny`, of the shipped pictures alone, or
`python -m pipelines.weights.frozen_pair small --corpus CORPUS`, of the training rows of a corpus (docs/starter.md).

The published sizes take Stable Diffusion's autoencoder and OpenCLIP's image tower, trained on billions of pictures. The
sizes for CPUs have neither, so theirs are trained here once and ship with the repository (model/assets). The reference
encoder learns what a CLIP tower would bring: its local tokens must tell the colours of their patch, the parts that lie
in it (hair, skin, clothes: known exactly for assembled pictures), and the colours that each part has in the whole
picture. The small codec encodes by its principal components alone; its decoder learns to draw the picture of them, also
where they are somewhat wrong, as a denoiser's are. Only training rows and templates are seen.
"""

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from dataprep.corpus.reader import CorpusReader
from dataprep.pictures.assembled import REGIONS, Assembly, drawn_colors, from_json, of_row, region_classes, render
from dataprep.pictures.decode import decode, decode_at_least
from dataprep.pictures.resize import resize_color
from dataprep.plan.split import assign_split
from dataprep.randomness import generator
from dataprep.samples.sample import cover_size
from dataprep.sources import list_items, read_item
from model.frozen.codec import ImageCodec, build_codec
from model.frozen.image_encoder import ReferenceEncoder, build_image_encoder
from model.weights.reading import ASSETS
from pipelines.common.shipped_pictures import SHIPPED_SOURCES
from pipelines.recipes.corpora import CORPUS_RECIPES

CROP = 128
SIDES = {"tiny": 160, "small": 208}  # of the squares that pictures are cut to
COLORINGS = 2  # of each assembled drawing of a corpus
PARTS = ("hair", "skin", "clothes", "eyes", "background")
UNSCORED = 255
SPLITS = ("train", "validation")
MOST_WRONG, WRONG_SHARE = 0.3, 0.7  # deviation of what is added to latents, and the share of crops with it
START_LOGVAR = -6.0  # a posterior that is sure of itself: 5 % of the latents' spread


@dataclass(frozen=True)
class Pool:
    """All pictures of one split: rgb (N, side, side, 3) uint8; classes (N, side, side), 255 where unknown; part colours
    (N, parts, 3) in [0, 1] and whether the picture is assembled (N,)."""

    rgb: torch.Tensor
    classes: torch.Tensor
    colors: torch.Tensor
    assembled: torch.Tensor

    @property
    def side(self) -> int:
        """Of every picture, in pixels."""
        return int(self.rgb.shape[1])

    @classmethod
    def of(cls, pictures: Iterable[tuple[np.ndarray, Assembly | None]], side: int) -> "Pool":
        """Pictures, each covering a square from its centre, with the assemblies of those that have one."""
        rgb, classes, colors, known = [], [], [], []
        for picture, assembly in pictures:
            rgb.append(_square(picture, side))
            unknown = np.full((side, side), UNSCORED, np.uint8)
            classes.append(unknown if assembly is None else region_classes(assembly, side))
            colors.append(_part_colors(assembly))
            known.append(assembly is not None)
        return cls(
            torch.from_numpy(np.stack(rgb)),
            torch.from_numpy(np.stack(classes)),
            torch.from_numpy(np.stack(colors)),
            torch.tensor(known),
        )


def shipped(split: str) -> Iterator[tuple[np.ndarray, Assembly | None]]:
    """The shipped pictures of `split`."""
    share = CORPUS_RECIPES["demo"].validation_share
    for source in SHIPPED_SOURCES:
        for item in list_items(source):
            data = read_item(item)
            if item.kind != "assembled" and "damaged" in item.uri:
                continue
            picture = decode(data.data)
            if assign_split(item.group or item.uri, share) == split:
                yield picture.rgb, from_json(data.assembly) if data.assembly else None


def rows_of(corpus: str, split: str, side: int) -> Iterator[tuple[np.ndarray, Assembly | None]]:
    """The pictures of a corpus, assembled ones drawn COLORINGS times in colours drawn anew."""
    reader = CorpusReader(corpus, split, ["color"])
    for number in range(len(reader)):
        row = reader.row(number)
        assembly = of_row(row)
        if assembly is None:
            yield decode_at_least(row["color"], side, side).rgb, None
            continue
        for index in range(COLORINGS):
            drawn = replace(assembly, colors=drawn_colors(generator(index, number, "frozen pair")))
            yield render(drawn, side), drawn


def train_codec(size: str, pool: Pool, minutes: float, batch: int = 8, rate: float = 1e-3) -> ImageCodec:
    """Squared and absolute error, error of gradients (lines), a light KL term; then latents are scaled to spread 1."""
    codec = build_codec(size)
    _start_at_principal_components(codec, pool)
    if not codec.config.network_encoder:
        return _train_decoder(codec, pool, minutes, batch, rate)
    optimizer = torch.optim.AdamW(codec.parameters(), lr=rate, weight_decay=1e-4)
    for step, share in _clock("codec", minutes):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100) * (1 - share) ** 0.5 + 1e-5
        images = _crops(pool, batch, step)
        posterior = codec.posterior(images)
        decoded = codec.decode(posterior.sample(), clamp=False)
        divergence = posterior.kl().mean() / posterior.mean[0].numel()
        loss = _picture_loss(decoded, images) + 1e-5 * divergence
        _step(optimizer, loss, list(codec.parameters()))
        if step % 100 == 0:
            print(f"codec step {step} loss {loss.item():.4f} psnr {_psnr(decoded, images):.2f}", flush=True)
    codec.eval()
    with torch.no_grad():
        _weigh_channels(codec, _latents(codec, pool))
        codec.scaling_factor = 1.0 / float(_latents(codec, pool).std())
    return codec


def _train_decoder(codec: ImageCodec, pool: Pool, minutes: float, batch: int, rate: float) -> ImageCodec:
    """Of a codec whose linear map encodes, and stays as it is: of the latents as they are, and somewhat wrong."""
    with torch.no_grad():
        _weigh_components(codec)
        codec.scaling_factor = 1.0 / float(_latents(codec, pool).std())
    assert codec.linear is not None
    codec.linear.analysis.requires_grad_(False)
    codec.autoencoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters = [parameter for parameter in codec.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-4, betas=(0.9, 0.99))
    for step, share in _clock("codec", minutes):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * np.cos(np.pi * share)) + 1e-5
        images = _crops(pool, batch, step)
        latents = codec.encode(images)
        wrong = MOST_WRONG * torch.rand(batch, 1, 1, 1) * (torch.rand(batch, 1, 1, 1) < WRONG_SHARE)
        decoded = codec.decode(latents + wrong * torch.randn_like(latents), clamp=False)
        loss = _picture_loss(decoded, images)
        _step(optimizer, loss, parameters)
        if step % 100 == 0:
            print(f"codec step {step} loss {loss.item():.4f} psnr {_psnr(decoded, images):.2f}", flush=True)
    return codec.eval()


def _picture_loss(decoded: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    pixels = 2 * F.mse_loss(decoded, images) + 0.25 * F.l1_loss(decoded, images)
    return pixels + 0.1 * _gradient_loss(decoded, images)


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor, parameters: list[nn.Parameter]) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


def _latents(codec: ImageCodec, pool: Pool) -> torch.Tensor:
    """Of crops that training does not draw."""
    return torch.cat([codec.encode(_crops(pool, 16, 1_000_000 + i)) for i in range(16)])


def _weigh_components(codec: ImageCodec) -> None:
    """As `_weigh_channels`, of whitened principal components: the spread of each becomes the root of what it moves."""
    assert codec.linear is not None
    analysis, synthesis = codec.linear.analysis, codec.linear.synthesis
    factor = synthesis.weight.flatten(1).norm(dim=1).sqrt()
    factor = factor / factor.square().mean().sqrt()
    analysis.weight *= factor[:, None, None, None]
    assert analysis.bias is not None
    analysis.bias *= factor
    synthesis.weight /= factor[:, None, None, None]
    for parameter in (analysis.weight, analysis.bias):
        parameter.copy_(parameter.half().float())  # as it is stored, since a denoiser is trained on what it gives


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
        for last in (getattr(autoencoder, "quant_conv", None), autoencoder.decoder.conv_out):
            if last is not None:
                last.weight.mul_(0.01)
                last.bias.zero_()
        if codec.config.network_encoder:
            autoencoder.quant_conv.bias[latents:] = START_LOGVAR


class Heads(nn.Module):
    """What each token must tell: its patch's pixels, the parts in it, and the colour of each part in the picture."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.pixels = nn.Linear(width, 3 * patch * patch)
        self.parts = nn.Linear(width, len(REGIONS))
        self.colors = nn.Linear(width, 3 * len(PARTS))


def train_image_encoder(size: str, pool: Pool, minutes: float, batch: int = 32, rate: float = 1e-3) -> ReferenceEncoder:
    """The vision transformer, whose projection is scaled at the end so that tokens have spread 1, as noise has."""
    encoder = build_image_encoder(size)
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
        _step(optimizer, loss, parameters)
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
    start = (pool.side - CROP) // 2
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
        top, left = rng.integers(pool.side - CROP + 1, size=2)
        crop = pool.rgb[index, top : top + CROP, left : left + CROP]
        crop = crop.flip(1) if rng.random() < 0.5 else crop
        pictures.append(crop[..., torch.from_numpy(rng.permutation(3))] if rng.random() < 0.3 else crop)
    return _to_model(torch.stack(pictures))


def _views(pool: Pool, count: int, seed: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Indices, squashed pictures (count, 3, size, size) and their classes; the frame is moved a little."""
    rng = np.random.default_rng(seed)
    chosen = torch.from_numpy(rng.integers(len(pool.rgb), size=count))
    moved = pool.side // 10
    top, left = rng.integers(0, moved + 1, size=2)
    side = int(rng.integers(pool.side - moved, pool.side + 1)) - max(top, left)
    window = np.s_[:, top : top + side, left : left + side]
    images = F.interpolate(_to_model(pool.rgb[chosen][window]), size=(size, size), mode="area")
    classes = F.interpolate(pool.classes[chosen][window][:, None].float(), size=(size, size), mode="nearest")[:, 0]
    return chosen, images, classes


def _to_model(rgb: torch.Tensor) -> torch.Tensor:
    return rgb.permute(0, 3, 1, 2).float() / 127.5 - 1


def _square(rgb: np.ndarray, side: int) -> np.ndarray:
    width, height = cover_size(rgb, side, side)
    top, left = (height - side) // 2, (width - side) // 2
    return resize_color(rgb, width, height)[top : top + side, left : left + side]


def _part_colors(assembly: Assembly | None) -> np.ndarray:
    colors = dict(assembly.colors) if assembly else {}
    hexes = [colors.get(part, "#000000").lstrip("#") for part in PARTS]
    return np.array([[int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)] for code in hexes], dtype=np.float32)


def _half(module: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    return {prefix + name: tensor.half().contiguous() for name, tensor in module.state_dict().items()}


def main() -> None:
    """Train both and write them to model/assets; prints the codec's PSNR on held-out pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", choices=sorted(SIDES))
    parser.add_argument("--corpus", help="of the small size: the corpus whose rows are seen")
    parser.add_argument("--codec-minutes", type=float, default=20.0)
    parser.add_argument("--encoder-minutes", type=float, default=12.0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    size, side = arguments.size, SIDES[arguments.size]
    if (arguments.corpus is None) != (size == "tiny"):
        parser.error("the small size is trained of a --corpus, the tiny one of the shipped pictures")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    pictures = {split: shipped(split) if size == "tiny" else rows_of(arguments.corpus, split, side) for split in SPLITS}
    training, held_out = (Pool.of(pictures[split], side) for split in SPLITS)
    print(f"{len(training.rgb)} training pictures, {len(held_out.rgb)} held out", flush=True)
    if arguments.encoder_minutes:
        encoder = train_image_encoder(size, training, arguments.encoder_minutes)
        save_file(_half(encoder.vit, "visual."), Path(ASSETS) / f"{size}_image_encoder.safetensors")
    if arguments.codec_minutes:
        codec = train_codec(size, training, arguments.codec_minutes)
        save_file(_half(codec), Path(ASSETS) / f"{size}_codec.safetensors")
        facts = {"scaling_factor": codec.scaling_factor, "held_out_psnr_db": round(codec_psnr(codec, held_out), 2)}
        (Path(ASSETS) / f"{size}_codec.json").write_text(json.dumps(facts, indent=2) + "\n")
        print(facts, flush=True)


if __name__ == "__main__":
    main()
