"""The UNet agrees with the released one, with its reference scaled, absent and split by a mask."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from model.attention import AttentionControls, SplitReference
from model.config import V1_SIZES
from model.v1 import V1, Hints
from tests.model.golden import assert_golden, golden

Ruled = tuple[V1, dict[str, torch.Tensor]]


@contextmanager
def tap(module: nn.Module) -> Iterator[list[torch.Tensor]]:
    """The outputs of a submodule while it runs (the first tensor of a tuple)."""
    found: list[torch.Tensor] = []
    handle = module.register_forward_hook(lambda _m, _i, out: found.append(out if torch.is_tensor(out) else out[0]))
    yield found
    handle.remove()


@pytest.fixture(scope="module")
def inputs() -> dict[str, torch.Tensor]:
    return golden("v1_unet")[0]


def hints_of(tensors: dict[str, torch.Tensor]) -> Hints:
    return tuple(tensors[f"hint_{index}"] for index in range(5))


@torch.no_grad()
def run(ruled: Ruled, tensors: dict[str, torch.Tensor], context: torch.Tensor, **options: Any) -> torch.Tensor:
    return ruled[0].denoise(tensors["x"], tensors["t"], hints_of(tensors), context, **options)


def test_weights_by_rule_have_the_golden_checksum(ruled: Ruled) -> None:
    metadata = golden("v1_unet")[1]
    weights = [w for key, w in ruled[1].items() if key.startswith("model.diffusion_model.")]
    assert len(weights) == int(metadata["weights_count"])
    assert abs(sum(float(w.double().abs().sum()) for w in weights) - float(metadata["weights_abs_sum"])) < 0.1


def test_prediction_and_intermediates_agree_with_the_released_unet(
    ruled: Ruled, inputs: dict[str, torch.Tensor]
) -> None:
    unet = ruled[0].unet
    with (
        tap(unet.time_embedding) as time_embed,
        tap(unet.down_blocks[0]) as input_block_3,
        tap(unet.mid_block) as middle,
        tap(unet.up_blocks[1]) as output_block_5,
    ):
        out = run(ruled, inputs, inputs["context"])
    assert_golden(time_embed[0], inputs["tap.time_embed"])
    assert_golden(input_block_3[0], inputs["tap.input_blocks.3"])
    assert_golden(middle[0], inputs["tap.middle_block"])
    assert_golden(output_block_5[0], inputs["tap.output_blocks.5"])
    assert_golden(out, inputs["out"])


def test_reference_strength_scales_before_the_output_projection(ruled: Ruled, inputs: dict[str, torch.Tensor]) -> None:
    out = run(ruled, inputs, inputs["context"], attention=AttentionControls(0.6))
    assert_golden(out, inputs["out_reference_scale_0.6"])


def test_one_zero_token_says_as_much_as_many(ruled: Ruled, inputs: dict[str, torch.Tensor]) -> None:
    empty = torch.zeros_like(inputs["context"])
    assert_golden(run(ruled, inputs, empty), inputs["out_zero_context"])
    assert_golden(run(ruled, inputs, empty[:, :1]), inputs["out_zero_token"])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("out_masked_thr0.05", {"threshold": 0.05}),
        (
            "out_masked_thr0.5_fg0.9_bg0.7_merge0.3",
            {"threshold": 0.5, "foreground_strength": 0.9, "background_strength": 0.7, "merge": 0.3},
        ),
    ],
)
def test_a_split_reference_agrees_with_the_released_unet(
    ruled: Ruled, inputs: dict[str, torch.Tensor], name: str, settings: dict[str, float]
) -> None:
    context = torch.cat([inputs["context"], inputs["context_bg"]], dim=1)
    assert_golden(run(ruled, inputs, context, split=SplitReference(inputs["mask"], **settings)), inputs[name])


@torch.no_grad()
@pytest.mark.parametrize("size", [(9, 13), (7, 5), (1, 3)])
def test_latents_of_any_size_keep_their_size(ruled: Ruled, size: tuple[int, int]) -> None:
    sketch, latents = torch.randn(1, 3, size[0] * 8, size[1] * 8), torch.randn(1, 4, *size)
    mask = torch.rand(1, 1, *size)
    hints, context = ruled[0].encode_sketch(sketch), torch.randn(1, 6, 64)
    assert ruled[0].denoise(latents, torch.tensor([5]), hints, context).shape == latents.shape
    split = SplitReference(mask)
    assert ruled[0].denoise(latents, torch.tensor([5]), hints, context, split=split).shape == latents.shape


def test_the_published_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        base = V1(V1_SIZES["base"])
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in (base.unet, base.sketch_encoder)]
    assert counts == [865_910_724, 63_970_960]


@torch.no_grad()
def test_an_untrained_sketch_encoder_changes_nothing(ruled: Ruled) -> None:
    fresh = V1(ruled[0].config).eval()
    fresh.unet.load_state_dict(ruled[0].unet.state_dict())
    latents, timesteps, context = torch.randn(1, 4, 8, 8), torch.tensor([500]), torch.randn(1, 6, 64)
    drawn, empty = torch.randn(1, 3, 64, 64), torch.full((1, 3, 64, 64), -1.0)
    results = [fresh(latents, timesteps, sketch, context) for sketch in (drawn, empty)]
    assert torch.equal(results[0], results[1])
    assert results[0].abs().max() > 0


def test_every_parameter_of_v1_receives_a_gradient(ruled: Ruled) -> None:
    model = V1(ruled[0].config)
    model.load_state_dict(ruled[0].state_dict())
    latents, sketch, context = torch.randn(2, 4, 8, 8), torch.randn(2, 3, 64, 64), torch.randn(2, 6, 64)
    model(latents, torch.tensor([1, 900]), sketch, context).sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not without
