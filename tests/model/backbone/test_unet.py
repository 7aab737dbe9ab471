"""The UNet agrees with the released one, with its reference scaled and absent."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from model.backbone.attention import (
    AttentionControls,
    CrossAttention,
    ProjectedContext,
    SelfAttentionBank,
)
from model.diffusion.denoiser import Hints
from model.diffusion.sampling_settings import LAYERS
from model.families.v1.network import V1
from tests.model.golden import assert_golden, golden, off

Ruled = tuple[V1, dict[str, torch.Tensor]]
Context = torch.Tensor | ProjectedContext | None
Prepare = Callable[[torch.Tensor], Context]


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
def run(ruled: Ruled, tensors: dict[str, torch.Tensor], context: Context, **options: Any) -> torch.Tensor:
    return ruled[0].denoise(tensors["x"], tensors["t"], hints_of(tensors), context, **options)


@pytest.fixture(params=["projected in the call", "projected before"])
def prepare(request: pytest.FixtureRequest, ruled: Ruled) -> Prepare:
    """Both ways to hand a context over."""
    return torch.no_grad()(ruled[0].project) if request.param == "projected before" else lambda context: context


def test_weights_by_rule_have_the_golden_checksum(ruled: Ruled) -> None:
    metadata = golden("v1_unet")[1]
    weights = [w for key, w in ruled[1].items() if key.startswith("model.diffusion_model.")]
    assert len(weights) == int(metadata["weights_count"])
    assert abs(sum(float(w.double().abs().sum()) for w in weights) - float(metadata["weights_abs_sum"])) < 0.1


def test_prediction_and_intermediates_agree_with_the_released_unet(
    ruled: Ruled, inputs: dict[str, torch.Tensor], prepare: Prepare
) -> None:
    unet = ruled[0].unet
    with (
        tap(unet.time_embedding) as time_embed,
        tap(unet.down_blocks[0]) as input_block_3,
        tap(unet.mid_block) as middle,
        tap(unet.get_submodule("up_blocks.1.upsamplers.0")) as output_block_5,
    ):
        out = run(ruled, inputs, prepare(inputs["context"]))
    assert_golden(time_embed[0], inputs["tap.time_embed"])
    assert_golden(input_block_3[0], inputs["tap.input_blocks.3"])
    assert_golden(middle[0], inputs["tap.middle_block"])
    assert_golden(output_block_5[0], inputs["tap.output_blocks.5"])
    assert_golden(out, inputs["out"])


def test_reference_strength_scales_before_the_output_projection(
    ruled: Ruled, inputs: dict[str, torch.Tensor], prepare: Prepare
) -> None:
    out = run(ruled, inputs, prepare(inputs["context"]), attention=AttentionControls(0.6))
    assert_golden(out, inputs["out_reference_scale_0.6"])


def test_no_reference_is_what_zeros_say_however_many(ruled: Ruled, inputs: dict[str, torch.Tensor]) -> None:
    empty = torch.zeros_like(inputs["context"])
    for context in (None, empty, empty[:, :1]):
        out = run(ruled, inputs, context)
        assert_golden(out, inputs["out_zero_context"])
        assert_golden(out, inputs["out_zero_token"])


def test_rows_beyond_the_context_are_computed_as_if_it_were_zeros(
    ruled: Ruled, inputs: dict[str, torch.Tensor], prepare: Prepare
) -> None:
    assert len(inputs["x"]) == 2
    out = run(ruled, inputs, prepare(inputs["context"][:1]))
    assert_golden(out[:1], inputs["out"][:1])
    assert_golden(out[1:], inputs["out_zero_context"][1:])
    zeros = torch.cat([inputs["context"][:1], torch.zeros_like(inputs["context"][:1])])
    assert off(out, run(ruled, inputs, zeros)) < 1e-6


def test_layers_run_in_the_order_of_their_names(ruled: Ruled, inputs: dict[str, torch.Tensor]) -> None:
    model, order = copy.deepcopy(ruled[0]), []
    unet = model.unet
    level = {"down": lambda n: unet.down_blocks[n], "up": lambda n: unet.up_blocks[3 - n]}
    for name in LAYERS:
        place, _, index = name.partition(".attn")
        block = unet.mid_block if place == "middle" else level[place[:-1]](int(place[-1]))
        layer = block.attentions[int(index or 0)].transformer_blocks[0].attn2
        assert layer.layer == LAYERS.index(name)
        layer.register_forward_hook(lambda _m, _i, _o, name=name: order.append(name))
    run((model, {}), inputs, inputs["context"])
    assert tuple(order) == LAYERS


@torch.no_grad()
def test_a_layer_scale_multiplies_that_layer_before_its_output_projection(
    ruled: Ruled, inputs: dict[str, torch.Tensor]
) -> None:
    scales = tuple(0.1 * index for index in range(16))
    found = run(ruled, inputs, inputs["context"], attention=AttentionControls(0.8, scales))
    by_hand = copy.deepcopy(ruled[0])
    for layer in (module for module in by_hand.modules() if isinstance(module, CrossAttention)):
        layer.get_parameter("to_out.0.weight").mul_(0.8 * scales[layer.layer])
    assert off(found, run((by_hand, {}), inputs, inputs["context"])) < 3e-6
    assert off(found, inputs["out"]) > 1e-3


def test_scales_or_rows_that_do_not_fit_are_refused(ruled: Ruled, inputs: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="16 factors"):
        run(ruled, inputs, inputs["context"], attention=AttentionControls(1.0, (1.0,) * 15))
    with pytest.raises(ValueError, match="3 rows is too long for a batch of 2"):
        run(ruled, inputs, inputs["context"][:1].repeat(3, 1, 1))


@pytest.mark.seconds
def test_reading_its_own_pass_changes_nothing(ruled: Ruled, inputs: dict[str, torch.Tensor]) -> None:
    # tokens that are all there twice have the same weighted mean; only then is a layer's bank its own
    bank = SelfAttentionBank()
    assert_golden(run(ruled, inputs, inputs["context"], bank=bank.write()), inputs["out"])
    assert_golden(run(ruled, inputs, inputs["context"], bank=bank.read()), inputs["out"])
    run(ruled, inputs | {"x": -inputs["x"]}, inputs["context"], bank=bank.write())
    injected = run(ruled, inputs, inputs["context"], bank=bank.read())
    assert off(injected, inputs["out"]) > 1e-3
    plain = run(ruled, inputs, inputs["context"], bank=bank.read(1.0, slice(1, 2)))
    assert_golden(plain, torch.cat([injected[:1], inputs["out"][1:]]))


@torch.no_grad()
def test_channels_last_gives_the_same(ruled: Ruled, inputs: dict[str, torch.Tensor]) -> None:
    model = copy.deepcopy(ruled[0]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    last = {k: v.to(memory_format=torch.channels_last) if v.ndim == 4 else v for k, v in inputs.items()}
    out = run((model, {}), last, inputs["context"])
    assert out.is_contiguous(memory_format=torch.channels_last), "no layer went back"
    assert_golden(out, inputs["out"])


@torch.no_grad()
@pytest.mark.parametrize("size", [(9, 13), (7, 5), (1, 3)])
def test_latents_of_any_size_keep_their_size(ruled: Ruled, size: tuple[int, int]) -> None:
    sketch, latents = torch.randn(1, 3, size[0] * 8, size[1] * 8), torch.randn(1, 4, *size)
    hints, context = ruled[0].encode_sketch(sketch), torch.randn(1, 6, 64)
    assert ruled[0].denoise(latents, torch.tensor([5]), hints, context).shape == latents.shape


@torch.no_grad()
def test_an_untrained_sketch_encoder_changes_nothing(ruled: Ruled) -> None:
    fresh = V1(ruled[0].config).eval()
    fresh.unet.load_state_dict(ruled[0].unet.state_dict())
    latents, timesteps, context = torch.randn(1, 4, 8, 8), torch.tensor([500]), torch.randn(1, 6, 64)
    drawn, empty = torch.randn(1, 3, 64, 64), torch.full((1, 3, 64, 64), -1.0)
    results = [fresh(latents, timesteps, sketch, context) for sketch in (drawn, empty)]
    assert torch.equal(results[0], results[1])
    assert results[0].abs().max() > 0
