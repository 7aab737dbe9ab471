"""The codec's arithmetic, its published size, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.errors import ModelError
from model.frozen import codec as codec_module
from model.frozen.codec import ImageCodec, build_codec, load_codec
from model.frozen.config import CODECS

OFFICIAL = Path(__file__).parents[4] / "shared" / "spec" / "keys" / "v1.txt"


@torch.no_grad()
def test_latents_are_an_eighth_and_scaled(codec: ImageCodec) -> None:
    images = torch.rand(2, 3, 64, 40) * 2 - 1
    latents = codec.encode(images)
    assert latents.shape == (2, 8, 8, 5)
    # Folding by hand: every 4x4 square of a channel becomes 16 channels in reading order.
    folded = images.reshape(2, 3, 16, 4, 10, 4).permute(0, 1, 3, 5, 2, 4).reshape(2, 48, 16, 10)
    posterior = codec.autoencoder.encode(folded).latent_dist
    assert codec.linear is not None
    mean = posterior.mean + codec.linear.analysis(images)
    torch.testing.assert_close(latents, mean * 0.5)
    noise = torch.randn_like(latents)
    torch.testing.assert_close(codec.encode(images, noise), (mean + posterior.std * noise) * 0.5)


@torch.no_grad()
def test_decode_undoes_the_scale_and_stays_in_range(codec: ImageCodec) -> None:
    latents = torch.randn(1, 8, 4, 4)
    open_range = codec.decode(latents, clamp=False)
    folded = codec.autoencoder.decode(latents / 0.5).sample
    unfolded = folded.reshape(1, 3, 4, 4, 8, 8).permute(0, 1, 4, 2, 5, 3).reshape(1, 3, 32, 32)
    assert codec.linear is not None
    torch.testing.assert_close(open_range, unfolded + codec.linear.synthesis(latents / 0.5))
    assert torch.equal(codec.decode(latents), open_range.clamp(-1, 1))


@torch.no_grad()
def test_slices_give_what_the_batch_gives(codec: ImageCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(3, 3, 32, 24) * 2 - 1
    latents = codec.encode(images)
    pictures = codec.decode(latents)
    monkeypatch.setattr(codec, "slicing", True)
    torch.testing.assert_close(codec.encode(images), latents, rtol=0, atol=1e-5)
    torch.testing.assert_close(codec.decode(latents), pictures, rtol=0, atol=1e-5)


@torch.no_grad()
def test_tiles_stay_close_to_the_picture_in_one_piece() -> None:
    codec = load_codec("tiny")
    y, x = torch.meshgrid(torch.linspace(-3, 3, 192), torch.linspace(-3, 3, 160), indexing="ij")
    picture = torch.stack([torch.sin(x + y), torch.cos(2 * x), torch.sin(x * y)])[None] * 0.8
    latents = codec.encode(picture)
    whole = codec.decode(latents)
    codec.tile = 192
    assert torch.equal(codec.decode(latents), whole)  # it fits
    codec.tile = 96
    assert codec.decode(latents).shape == whole.shape
    tiled, roundtrip = codec.decode(latents), (whole - picture).square().mean().sqrt()
    assert 0 < (tiled - whole).square().mean().sqrt() < roundtrip  # less than what the codec itself loses
    assert (codec.encode(picture) - latents).square().mean().sqrt() < 0.1 * latents.std()


@torch.no_grad()
def test_a_codec_in_half_precision_gives_float32_close_to_the_full_one() -> None:
    codec, half = load_codec("tiny"), load_codec("tiny").to(torch.bfloat16)
    images = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 6) * 2 - 1, size=48, mode="bilinear")
    latents = codec.encode(images)
    assert half.encode(images).dtype == half.decode(latents).dtype == torch.float32
    torch.testing.assert_close(half.encode(images), latents, rtol=0, atol=0.05)
    torch.testing.assert_close(half.decode(latents), codec.decode(latents), rtol=0, atol=0.05)


def test_the_tiny_codec_fits_its_three_megabytes() -> None:
    assert sum(parameter.numel() for parameter in build_codec("tiny").parameters()) * 2 < 3_000_000


@torch.no_grad()
def test_a_codec_without_a_network_that_encodes_is_linear_and_certain() -> None:
    codec = load_codec("small")
    first, second = torch.rand(2, 1, 3, 32, 24) * 2 - 1
    mean = (codec.encode(first) + codec.encode(second)) / 2
    torch.testing.assert_close(codec.encode((first + second) / 2), mean, rtol=0, atol=1e-5)
    noise = torch.randn(1, 16, 4, 3)
    torch.testing.assert_close(codec.encode(first, noise), codec.encode(first), rtol=0, atol=1e-5)
    assert not any(".encoder." in name or name.startswith("autoencoder.quant") for name in codec.state_dict())


@torch.no_grad()
def test_the_small_codec_smooths_what_a_denoiser_gets_wrong() -> None:
    """Flat ground stays flat though each latent is off by a tenth: no grid of 8 x 8 pixels is seen."""
    codec = load_codec("small")
    ground = torch.tensor([0.7, 0.2, -0.3]).view(1, 3, 1, 1).expand(1, 3, 96, 96)
    off = codec.encode(ground)
    off = off + 0.1 * torch.randn(off.shape, generator=torch.Generator().manual_seed(0))
    flat, bare = codec.decode(off), codec.linear.synthesis(off / codec.scaling_factor)  # type: ignore[union-attr]
    assert (flat - ground).square().mean() < 0.5 * (bare - ground).square().mean()


def test_a_codec_that_cannot_encode_is_refused() -> None:
    with pytest.raises(ValueError, match="linear_path=true"):
        replace(CODECS["small"], linear_path=False)


@pytest.mark.skipif(not OFFICIAL.exists(), reason="the list of official keys is not beside this checkout")
def test_the_released_autoencoder_names_load_into_sd_vae() -> None:
    lines = [line.split("\t") for line in OFFICIAL.read_text().splitlines() if line.startswith("first_stage_model.")]
    with torch.device("meta"):
        codec = build_codec("sd-vae")
        official = {key: torch.empty(json.loads(shape)) for key, shape, _ in lines}
    assert sum(tensor.numel() for tensor in official.values()) == 83_653_863
    ours = codec_module._our_layout(official, codec)
    expected = codec.state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {n: t.shape for n, t in expected.items()}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[0.5]", "the document should be a mapping"),
        ('{"scaling_factor": 1' + "0" * 400 + "}", "scaling_factor should be a number"),
        ('{"scaling_factor": NaN}', "scaling_factor should be a number"),
        ('{"scaling_factor": 0}', "scaling_factor"),
        ("{}", "scaling_factor"),
        ("[" * 100_000, "nested deeper"),
    ],
    ids=["list", "huge", "nan", "zero", "absent", "deep"],
)
def test_a_document_beside_the_weights_that_makes_no_sense_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "tiny_codec.json").write_text(text)
    with pytest.raises(ModelError, match=f"tiny_codec.json: cannot read the codec's scaling_factor .*{told}"):
        load_codec("tiny", tmp_path / "tiny_codec.safetensors")


def test_weights_in_half_precision_load_as_float32(
    tmp_path: Path, codec: ImageCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = {name: tensor.half() for name, tensor in codec.state_dict().items()}
    save_file(half, tmp_path / "tiny_codec.safetensors")
    (tmp_path / "tiny_codec.json").write_text('{"scaling_factor": 0.75}')
    monkeypatch.setattr(codec_module, "ASSETS", tmp_path)
    loaded = load_codec("tiny")
    assert loaded.scaling_factor == 0.75
    assert not loaded.training
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, half[name].float())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_missing_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_module, "ASSETS", tmp_path)
    with pytest.raises(ModelError, match="tiny_codec"):
        load_codec("tiny")
    with pytest.raises(ModelError, match="'sd-vae' needs its weights"):
        load_codec("sd-vae")
    with pytest.raises(ModelError, match=r"absent.safetensors: the weight file is missing"):
        load_codec("sd-vae", tmp_path / "absent.safetensors")
    with pytest.raises(ModelError, match="known: tiny, small, sd-vae"):
        load_codec("pixels")


def test_downsampling_follows_the_number_of_levels() -> None:
    assert CODECS["tiny"].downsampling == CODECS["sd-vae"].downsampling == 8
    assert replace(CODECS["tiny"], block_channels=(16, 32), pixel_unshuffle=1).downsampling == 2
