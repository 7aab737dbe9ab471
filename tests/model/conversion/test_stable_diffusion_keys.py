"""Names of Stable Diffusion's layouts, against diffusers' own networks and converters."""

import json

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from model.conversion.kinds import kind_of, parts_of, unmatched
from model.conversion.stable_diffusion_keys import (
    autoencoder_layout,
    current_autoencoder_name,
    shaped,
    to_ldm_autoencoder,
)
from model.families.v1.network import V1
from model.families.v1.released_keys import published_names, to_published
from model.families.v1.sizes import V1_SIZES, V1Config
from model.frozen.codec import build_codec
from tests.model.golden import published_entries

# unet/config.json of Stable Diffusion 2.1, as published
SD21 = {
    "attention_head_dim": [5, 10, 20, 20],
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 1024,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 2,
    "use_linear_projection": True,
}
SMALL = V1Config(
    model_channels=32, head_width=32, context_width=64, codec="tiny", image_encoder="tiny", latent_channels=4
)
SMALL_SD = SD21 | {
    "attention_head_dim": [1, 2, 4, 4],
    "block_out_channels": [32, 64, 128, 128],
    "cross_attention_dim": 64,
}


def diffusers_unet(config: dict[str, object]) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_config(config)


def ldm_of(unet: UNet2DConditionModel, config: V1Config) -> dict[str, torch.Tensor]:
    """The UNet's tensors in LDM's layout, whose projections are linear as Stable Diffusion 2.1's are."""
    with torch.device("meta"):
        names = published_names([name for name in V1(config).state_dict() if name.startswith("unet.")], config)
    return {names[f"unet.{name}"]: tensor for name, tensor in unet.state_dict().items()}


def test_the_unet_of_stable_diffusion_2_1_is_complete_in_diffusers_layout() -> None:
    with torch.device("meta"):
        tensors = {f"unet/{name}": tensor for name, tensor in diffusers_unet(SD21).state_dict().items()}
    kind = kind_of(tensors, V1_SIZES)
    assert kind is not None
    assert (kind.family, kind.layout, kind.size) == ("stable-diffusion-2", "diffusers", "base")
    parts = parts_of(kind, V1_SIZES["base"], tensors)
    assert [(part.name, part.state, part.numbers) for part in parts] == [
        ("unet", "complete", 865_910_724),
        ("autoencoder", "absent", 0),
    ]
    assert unmatched(parts, tensors) == ()


def test_the_ldm_names_are_those_that_diffusers_converter_reads() -> None:
    with torch.device("meta"):
        unet = diffusers_unet(SD21)
    converted = convert_ldm_unet_checkpoint(ldm_of(unet, V1_SIZES["base"]), unet.config)
    assert {name: tensor.shape for name, tensor in converted.items()} == {
        name: tensor.shape for name, tensor in unet.state_dict().items()
    }


@torch.no_grad()
@pytest.mark.parametrize("layout", ["ldm", "diffusers"])
def test_the_network_without_hints_equals_the_stable_diffusion_that_it_came_from(layout: str) -> None:
    torch.manual_seed(0)
    theirs = diffusers_unet(SMALL_SD).eval()
    by_diffusers = {f"unet/{name}": tensor for name, tensor in theirs.state_dict().items()}
    tensors = by_diffusers if layout == "diffusers" else ldm_of(theirs, SMALL)
    kind = kind_of(tensors, {"small": SMALL})
    assert kind is not None
    (table,) = [part.table for part in parts_of(kind, SMALL, tensors) if part.name == "unet"]
    ours = V1(SMALL).eval()
    state = ours.state_dict()
    ours.load_state_dict(state | {name: shaped(tensors[key], state[name].shape) for key, name in table.items()})
    latents, timesteps, context = torch.randn(2, 4, 16, 8), torch.tensor([3, 801]), torch.randn(2, 5, 64)
    expected = theirs(latents, timesteps, context).sample
    found = ours(latents, timesteps, torch.randn(2, 3, 128, 64), context)
    assert expected.abs().mean() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_autoencoder_goes_to_the_released_names_and_back() -> None:
    with torch.device("meta"):
        own = build_codec("sd-vae").autoencoder
    ldm = to_ldm_autoencoder(own.state_dict())
    official = {
        key: shape for key, (shape, _) in published_entries("v1").items() if key.startswith("first_stage_model.")
    }
    assert {key: str(list(tensor.shape)) for key, tensor in ldm.items()} == official
    by_diffusers = convert_ldm_vae_checkpoint(ldm, own.config)
    back = autoencoder_layout({**ldm, "model.diffusion_model.out.2.bias": torch.zeros(4)})
    shapes = {name: tensor.shape for name, tensor in own.state_dict().items()}
    assert {name: tensor.shape for name, tensor in by_diffusers.items()} == shapes
    assert {name: tensor.shape for name, tensor in back.items()} == shapes


def test_every_number_of_an_autoencoder_keeps_its_place_in_each_layout() -> None:
    """Each parameter is a number of its own, so that two of equal shape cannot change places unnoticed."""
    with torch.device("meta"):
        expected = build_codec("sd-vae").autoencoder.state_dict()
    own = {name: torch.tensor(float(place)).expand(expected[name].shape) for place, name in enumerate(expected)}
    ldm = to_ldm_autoencoder(own)
    by_diffusers = convert_ldm_vae_checkpoint(ldm, build_codec_config())
    bare = {key.removeprefix("first_stage_model."): tensor for key, tensor in ldm.items()}
    renamed = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {
        next((name.replace(new, before) for new, before in renamed.items() if f".{new}." in name), name): tensor
        for name, tensor in own.items()
    }
    assert old.keys() != own.keys()
    for found in (by_diffusers, *(autoencoder_layout(given) for given in (own, ldm, bare, old))):
        assert {name: float(tensor.flatten()[0]) for name, tensor in found.items()} == {
            name: float(tensor.flatten()[0]) for name, tensor in own.items()
        }


def build_codec_config() -> object:
    with torch.device("meta"):
        return build_codec("sd-vae").autoencoder.config


def test_old_names_are_renamed_in_attentions_only() -> None:
    assert (
        current_autoencoder_name("encoder.mid_block.attentions.0.key.bias")
        == "encoder.mid_block.attentions.0.to_k.bias"
    )
    assert current_autoencoder_name("decoder.key.bias") == "decoder.key.bias"


def test_the_published_file_is_complete_part_by_part() -> None:
    entries = published_entries("v1")
    tensors = {key: torch.empty(json.loads(shape), device="meta") for key, (shape, _) in entries.items()}
    kind = kind_of(tensors, V1_SIZES)
    assert kind is not None
    assert (kind.family, kind.layout, kind.size) == ("v1", "released", "base")
    parts = parts_of(kind, V1_SIZES["base"], tensors)
    assert {part.name: (part.state, len(part.table), part.numbers) for part in parts} == {
        "unet": ("complete", 686, 865_910_724),
        "sketch encoder": ("complete", 42, 63_970_960),
        "autoencoder": ("complete", 248, 83_653_863),
        "noise schedule": ("complete", 12, 12_000),
    }
    assert unmatched(parts, tensors) == ()


@pytest.mark.parametrize(("keys", "family"), [("v15", "v15"), ("v2", "v2"), ("xl", "xl"), ("xlv2", "xl")])
def test_later_families_are_told_apart_by_their_keys(keys: str, family: str) -> None:
    tensors = {
        key: torch.empty(json.loads(shape), device="meta") for key, (shape, _) in published_entries(keys).items()
    }
    kind = kind_of(tensors, V1_SIZES)
    assert kind is not None
    assert (kind.family, kind.layout) == (family, "released")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cross_attention_dim": 768}, "stable-diffusion-1"),
        ({"in_channels": 9}, "stable-diffusion-2 (inpainting)"),
        ({"in_channels": 5}, "stable-diffusion-2 (depth)"),
        ({"cross_attention_dim": 777}, "stable-diffusion of no published shape"),
    ],
)
def test_other_stable_diffusions_are_told_by_their_shapes(change: dict[str, int], said: str) -> None:
    with torch.device("meta"):
        tensors = {f"unet/{name}": tensor for name, tensor in diffusers_unet(SD21 | change).state_dict().items()}
    assert str(kind_of(tensors, V1_SIZES)) == said


def test_a_network_of_another_thing_is_no_kind() -> None:
    assert kind_of({"visual.conv1.weight": torch.zeros(1)}, V1_SIZES) is None


def test_round_trip_of_names_is_one_to_one() -> None:
    with torch.device("meta"):
        model = V1(SMALL)
    tensors = to_published(model)
    kind = kind_of(tensors, {"small": SMALL})
    assert kind is not None
    found = {name for part in parts_of(kind, SMALL, tensors) for name in part.table.values()}
    assert found >= set(model.state_dict())
