"""v1.5 agrees with the released networks, and with v1 where nothing has been added to it."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from model.backbone.attention import AS_TRAINED, AttentionControls, ProjectedContext, Steering
from model.backbone.split_attention import REGIONS, AdaptedLinear, SplitCrossAttention, SplitReference
from model.diffusion.denoiser import Hints
from model.families.v1.network import V1
from model.families.v1.sizes import V1_SIZES
from model.families.v15.network import V15
from model.families.v15.sizes import V15_SIZES
from tests.model.families.v15.golden import ruled_v15
from tests.model.golden import assert_golden, golden, off

Ruled = tuple[V15, dict[str, torch.Tensor]]
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def ruled15() -> Ruled:
    return ruled_v15()


def hints_of(tensors: Tensors) -> Hints:
    return tuple(tensors[f"hint_{index}"] for index in range(5))


def layer_of(model: V15) -> SplitCrossAttention:
    """That of the released numbers of one layer, input_blocks.4."""
    layer = model.unet.get_submodule("down_blocks.1.attentions.0.transformer_blocks.0.attn2")
    assert isinstance(layer, SplitCrossAttention)
    return layer


def test_weights_by_rule_have_the_golden_checksum(ruled15: Ruled) -> None:
    metadata = golden("v15_unet")[1]
    weights = [w for key, w in ruled15[1].items() if key.startswith("model.diffusion_model.")]
    assert len(weights) == int(metadata["weights_count"])
    assert abs(sum(float(w.double().abs().sum()) for w in weights) - float(metadata["weights_abs_sum"])) < 0.1


# ---- the released numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("once", [False, True], ids=["both on all queries", "each query once"])
@pytest.mark.parametrize(
    ("name", "controls", "scale"),
    [
        ("out_fglora0_bglora0_thr0.05", {"foreground_lora": 0.0, "background_lora": 0.0}, 1.0),
        ("out_fglora0_bglora1_thr0.05", {"foreground_lora": 0.0}, 1.0),
        ("out_fglora1_bglora0_thr0.05", {"background_lora": 0.0}, 1.0),
        ("out_fglora1_bglora1_thr0.05", {}, 1.0),
        ("out_fglora1_bglora1_lorascale_fg0.5_bg0.25", {"foreground_lora": 0.5, "background_lora": 0.25}, 1.0),
        (
            "out_fglora1_bglora1_thr0.5_fg0.9_bg0.7_merge0.3_scale0.8",
            {"threshold": 0.5, "foreground": 0.9, "background": 0.7, "merge": 0.3},
            0.8,
        ),
    ],
)
@torch.no_grad()
def test_a_layer_agrees_with_the_released_one(
    ruled15: Ruled, once: bool, name: str, controls: dict[str, float], scale: float
) -> None:
    tensors, _ = golden("v15_lora_attention")
    layer = layer_of(ruled15[0])
    split = SplitReference(tensors["mask"], once=once, **controls).prepared(2)
    context = layer.project_split(torch.cat([tensors["context_fg"], tensors["context_bg"]], 1), split)
    layers = [context] * (layer.layer + 1)
    steering = Steering(ProjectedContext(tuple(layers)), AttentionControls(scale), split, None)
    assert_golden(layer(tensors["x"], steering=steering), tensors[name])


@pytest.mark.parametrize("region", ["fg", "bg"])
@torch.no_grad()
def test_a_mask_of_one_region_is_the_released_layer_without_a_mask(ruled15: Ruled, region: str) -> None:
    tensors, _ = golden("v15_lora_attention")
    layer = layer_of(ruled15[0])
    mask = torch.full_like(tensors["mask"], float(region == "fg"))
    for once in (False, True):
        split = SplitReference(mask, once=once).prepared(2)
        context = layer.project_split(tensors["context_fg"].repeat(1, 2, 1), split)
        steering = Steering(ProjectedContext((context,) * (layer.layer + 1)), AS_TRAINED, split, None)
        assert_golden(layer(tensors["x"], steering=steering), tensors[f"out_unmasked_lora_{region}"])


@pytest.mark.parametrize("once", [False, True], ids=["both on all queries", "each query once"])
@pytest.mark.parametrize(
    ("name", "controls"),
    [
        (f"out_fglora{fg}_bglora{bg}_thr{threshold}", {
            "foreground_lora": fg, "background_lora": bg, "threshold": threshold,
        })
        for fg, bg in ((0, 1), (1, 0), (1, 1))
        for threshold in (0.05, 0.5)
    ]
    + [
        (
            "out_fglora1_bglora1_thr0.5_fg0.9_bg0.7_merge0.3",
            {"threshold": 0.5, "foreground": 0.9, "background": 0.7, "merge": 0.3},
        )
    ],
)  # fmt: skip
@torch.no_grad()
def test_a_prediction_agrees_with_the_released_unet(
    ruled15: Ruled, once: bool, name: str, controls: dict[str, Any]
) -> None:
    model, (tensors, _) = ruled15[0], golden("v15_unet")
    split = SplitReference(tensors["mask"], once=once, **controls)
    context = model.project_split(torch.cat([tensors["context_fg"], tensors["context_bg"]], 1), split)
    out = model.denoise(tensors["x"], tensors["t"], hints_of(tensors), context, split=split)
    assert_golden(out, tensors[name])


@torch.no_grad()
def test_without_a_split_the_low_rank_updates_are_off(ruled15: Ruled) -> None:
    tensors, _ = golden("v15_unet")
    out = ruled15[0].denoise(tensors["x"], tensors["t"], hints_of(tensors), tensors["context_fg"])
    assert_golden(out, tensors["out_unmasked"])


@torch.no_grad()
def test_recovery_and_threshold_embedding_agree_with_the_released_ones(ruled15: Ruled) -> None:
    model, (recovery, _), (embedder, _) = (
        ruled15[0],
        golden("v15_recovery_transformer"),
        golden("v15_threshold_embedder"),
    )
    assert_golden(model.recovery(recovery["tokens"]), recovery["out"])
    assert_golden(model.threshold_embedding(embedder["thresholds"]), embedder["out"])


# ---- what it is at the start ----------------------------------------------------------------------------------------


def over_v1() -> tuple[V1, V15]:
    """A v1 with random weights, and a fresh v1.5 over it whose threshold embedding and recovery say nothing."""
    torch.manual_seed(3)
    below, above = V1(V1_SIZES["tiny"]), V15(replace(V15_SIZES["tiny"], recovery="off"))
    for parameter in below.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    above.load_state_dict(above.state_dict() | below.state_dict())
    for parameter in above.threshold_embedding.layers[2].parameters():
        torch.nn.init.zeros_(parameter)
    return below.eval(), above.eval()


@pytest.mark.parametrize("level", [1.0, 0.0], ids=["all foreground", "all background"])
@torch.no_grad()
def test_a_fresh_network_is_the_v1_below_on_the_tokens_of_the_one_region_there_is(level: float) -> None:
    below, above = over_v1()
    latents, sketch = torch.randn(2, 8, 8, 8), torch.randn(2, 3, 64, 64)
    tokens, background = torch.randn(2, 2, 64, 128)
    timesteps, thresholds = torch.tensor([3, 700]), torch.tensor([[0.2, 0.5], [0.9, 0.1]])
    found = above(
        latents, timesteps, sketch, tokens, background, thresholds, torch.full((2, 1, 8, 8), level), torch.ones(2)
    )
    expected = below(latents, timesteps, sketch, tokens if level else background)
    assert torch.equal(found, expected)


@torch.no_grad()
def test_a_sample_that_is_shown_nothing_sees_no_reference_in_either_region(ruled15: Ruled) -> None:
    model = ruled15[0]
    latents, sketch, tokens = torch.randn(2, 4, 8, 8), torch.randn(2, 3, 64, 64), torch.randn(2, 10, 128)
    mask, thresholds, timesteps = torch.rand(2, 1, 8, 8), torch.full((2, 2), 0.5), torch.tensor([10, 10])
    shown = torch.tensor([True, False])
    out = model(latents, timesteps, sketch, tokens, tokens, thresholds, mask, shown)
    alone = model.denoise(latents, timesteps, model.encode_sketch(sketch), None)
    assert off(out[1:], alone[1:]) < 1e-6
    assert off(out[:1], alone[:1]) > 1e-3


def test_a_position_of_just_the_threshold_is_background() -> None:
    mask = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 1, 3)
    for threshold, background in ((0.0, [True, False, False]), (0.5, [True, True, False]), (1.0, [True] * 3)):
        regions = SplitReference(mask, threshold).prepared(1).regions[3]
        assert regions.background.flatten().tolist() == background
    bar = torch.zeros(1, 1, 16, 16)
    bar[..., 5:11] = 1
    levels = SplitReference(bar, 1.0).prepared(4).regions.values()
    assert len(levels) == 4
    assert all(regions.background.all() for regions in levels), "at a threshold of 1 all is background, at every level"


def test_what_is_added_is_all_that_a_v1_does_not_have() -> None:
    below, above = over_v1()
    added = {id(parameter) for part in above.added() for parameter in part.parameters()}
    names = {name for name, parameter in above.named_parameters() if id(parameter) not in added}
    assert names == set(below.state_dict())


def test_a_network_of_one_reference_refuses_a_split() -> None:
    below, _ = over_v1()
    split = SplitReference(torch.ones(1, 1, 8, 8))
    with pytest.raises(ValueError, match="cannot split its attention"):
        below.denoise(torch.randn(1, 8, 8, 8), torch.tensor([1]), (), torch.randn(1, 8, 128), split=split)


@pytest.mark.parametrize(
    ("preset", "ranks"),
    [("thesis", (16, 4)), ("paper-000", (16, 512)), ("released-v15", (4, 640))],
)
def test_ranks_of_the_widest_published_layer(preset: Any, ranks: tuple[int, int]) -> None:
    with torch.device("meta"):
        model = V15(replace(V15_SIZES["base"], lora=preset))
    to_q = model.unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn2.to_q")
    assert isinstance(to_q, AdaptedLinear)
    assert tuple(to_q.get_parameter(f"{region}_down.weight").shape[0] for region in REGIONS) == ranks
