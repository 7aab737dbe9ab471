"""v2 agrees with the released networks, and with v1 where nothing has been added to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from model.backbone.decoder_features import DecoderFeatures
from model.backbone.feature_encoder import FeatureEncoder, ratio_embedding, size_ratios
from model.backbone.split_attention import AdaptedLinear, SplitReference
from model.families.v1.network import V1
from model.families.v1.sizes import V1_SIZES
from model.families.v2.network import V2, Told
from model.families.v2.sizes import V2_SIZES
from tests.model.families.v2.golden import ruled_v2
from tests.model.golden import assert_golden, golden, off

Ruled = tuple[V2, dict[str, torch.Tensor]]
SIZE, REFERENCE, BACKGROUND = (128, 192), (96, 160), (160, 208)


@pytest.fixture(scope="module")
def ruled() -> Ruled:
    return ruled_v2()


def test_weights_by_rule_have_the_golden_checksum(ruled: Ruled) -> None:
    metadata = golden("v2_unet")[1]
    assert len(ruled[1]) == int(metadata["weights_count"])
    total = sum(float(weight.double().abs().sum()) for weight in ruled[1].values())
    assert abs(total - float(metadata["weights_abs_sum"])) < 1


# ---- the released numbers -----------------------------------------------------------------------------------------


@torch.no_grad()
def test_both_encoders_agree_with_the_released_ones(ruled: Ruled) -> None:
    tensors, _ = golden("v2_encoders")
    model = ruled[0]
    for part, name in (("background", "bg_feature"), ("style", "style_vector")):
        encoder = getattr(model, f"{part}_encoder")
        with _told(encoder, tensors["y"]):
            found = encoder(tensors["z"], tensors["context"], torch.zeros(2, 2))
        assert len(found) == 12
        for number, feature in enumerate(found):
            assert_golden(feature, tensors[f"{name}_{number}"])


@contextmanager
def _told(encoder: FeatureEncoder, embedding: torch.Tensor) -> Iterator[None]:
    """The encoder with the golden file's embedding of ratios, which it does not say the ratios of."""
    hook = encoder.size_embedding.register_forward_pre_hook(lambda module, inputs: (embedding,))
    try:
        yield
    finally:
        hook.remove()


def test_the_ratio_of_sizes_and_its_embedding_agree_with_the_released_ones() -> None:
    tensors, _ = golden("v2_size_ratio")
    sizes = [(int(height), int(width)) for height, width in tensors["input_height_width"].tolist()]
    ratios = size_ratios(sizes, SIZE)
    assert_golden(ratios, tensors["ratio_height_width"], 1e-6)
    assert_golden(ratio_embedding(ratios, 32), tensors["embedding"], 1e-5)


@pytest.mark.parametrize("once", [False, True], ids=["every position", "those of the background"])
@torch.no_grad()
def test_injection_and_modulation_agree_with_the_released_ones(ruled: Ruled, once: bool) -> None:
    tensors, _ = golden("v2_decoder_blocks")
    unet = ruled[0].unet
    assert unet.background_injections is not None
    assert unet.style_modulations is not None
    injection: Any = unet.background_injections[5]
    height, width = tensors["skip"].shape[-2:]
    everywhere = SplitReference(torch.zeros(2, 1, height, width), once=once).prepared(1)
    features = DecoderFeatures((injection.project(tensors["bg_feature"]),), (), everywhere)
    warped = injection(tensors["skip"], features.background[0], features.regions(tensors["skip"]))
    assert_golden(warped, tensors["warped_skip"])
    modulated = unet.style_modulations[1](tensors["h"], tensors["style_vector"], tensors["time_embedding"])
    assert_golden(modulated, tensors["modulated"])


@pytest.mark.parametrize("once", [False, True], ids=["both on all queries", "each query once"])
@pytest.mark.parametrize("name", [
    "vanilla", "vanilla_right_after_bg_run_lora_left_on", "style", "bg_masked_reference", "bg_separate_image",
    "bg_masked_fg0.9_bg0.7_merge0.25", "full_masked_reference", "full_separate_image_merge0.4",
    "style_background_merge0.4",
])  # fmt: skip
@torch.no_grad()
def test_a_prediction_agrees_with_the_released_one(ruled: Ruled, name: str, once: bool) -> None:
    model, (tensors, _) = ruled[0], golden("v2_unet")
    whole, latents = tensors["clip_full_reference"][:, 1:], tensors["z_reference"]
    separate, masked = "separate" in name or "style_background" in name, "bg_" in name or name.startswith("full")
    merge = float(name.rpartition("merge")[2]) if "merge" in name else 0.0
    ground = tensors["clip_local_background" if separate else "clip_local_masked_reference"]
    size = BACKGROUND if separate else REFERENCE

    split = background = style = None
    context, factor = whole, 1.0
    if masked and not name.startswith("vanilla"):
        split = SplitReference(
            tensors["smask_latent"].repeat(2, 1, 1, 1),
            0.3,
            foreground=0.9 if "fg0.9" in name else 1.0,
            background=0.7 if "bg0.7" in name else 1.0,
            # A style that is blended with the background's is what the merging scale acts on then.
            merge=0.0 if separate else merge,
            once=once,
        )
        context = torch.cat([whole, ground], dim=1)
        # With a style the released interface shows the background's encoder the reference's tokens.
        seen = ground if separate and not name.startswith("full") else whole
        z = tensors["z_background" if separate else "z_masked_reference"]
        background = model.background_features(z, seen, size_ratios([size], SIZE))
        factor = 0.8 if name == "bg_separate_image" else 1.0  # the released interface's background factor
        for number in (0, 5) if "fg0.9" not in name else ():
            assert_golden(background[number] * factor, tensors[f"{name}.hs_bg_{number}"][:1])
    if "style" in name or name.startswith("full"):
        style = model.style_features(latents, whole, size_ratios([REFERENCE], SIZE))
        if separate:
            other = model.style_features(tensors["z_background"], ground, size_ratios([BACKGROUND], SIZE))
            style = tuple(own * (1 - merge) + of * merge for own, of in zip(style, other, strict=True))
        for number in (0, 5, 11):
            assert_golden(style[number], tensors[f"{name}.style_{number}"][:1])
    if f"{name}.context" in tensors:
        assert_golden(context, tensors[f"{name}.context"][:1])

    rows = context.repeat(2, 1, 1)
    projected = model.project(rows) if split is None else model.project_split(rows, split)
    one = None if split is None else replace(split, mask=split.mask[:1])
    features = model.decoder_features(background, style, one, factor)
    hints = tuple(hint.repeat(2, 1, 1, 1) for hint in model.encode_sketch(tensors["sketch"]))
    out = model.denoise(tensors["z_t"], tensors["t"], hints, projected, split=split, features=features.repeat(2))
    expected = "vanilla" if name.startswith("vanilla") else name
    assert_golden(out, tensors[f"{expected}.out"])
    if name == "vanilla_right_after_bg_run_lora_left_on":
        assert off(out, tensors[f"{name}.out"]) > 1e-3, "updates that stayed on after a masked run"


# ---- what it is at the start ----------------------------------------------------------------------------------------


def over_v1() -> tuple[V1, V2]:
    """A v1 with random weights, and a fresh v2 over it."""
    torch.manual_seed(3)
    below, above = V1(V1_SIZES["tiny"]), V2(V2_SIZES["tiny"])
    for parameter in below.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    above.load_state_dict(above.state_dict() | below.state_dict())
    return below.eval(), above.eval()


def inputs(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    latents, sketch = (
        torch.randn(batch, 8, 8, 8, generator=generator),
        torch.randn(batch, 3, 64, 64, generator=generator),
    )
    return latents, torch.tensor([10, 700]), sketch, torch.randn(batch, 16, 128, generator=generator)


def told(mask: torch.Tensor, **changes: torch.Tensor) -> Told:
    """Everything switched on, with a mask (2, 1, 8, 8)."""
    generator = torch.Generator().manual_seed(2)
    given: dict[str, torch.Tensor] = {
        "shown": torch.ones(2),
        "ratios": torch.ones(2, 2),
        "background": torch.randn(2, 16, 128, generator=generator),
        "mask": mask,
        "threshold": torch.full((2,), 0.5),
        "background_latents": torch.randn(2, 8, 8, 8, generator=generator),
        "style_latents": torch.randn(2, 8, 8, 8, generator=generator),
    }
    return Told(**given | changes)


@torch.no_grad()
def test_without_its_parts_and_with_a_fresh_style_it_is_the_v1_below_bit_by_bit() -> None:
    below, above = over_v1()
    latents, timesteps, sketch, tokens = inputs()
    expected = below(latents, timesteps, sketch, tokens)
    assert torch.equal(above(latents, timesteps, sketch, tokens, Told(torch.ones(2))), expected)
    style = Told(torch.ones(2), torch.ones(2, 2), style_latents=torch.randn(2, 8, 8, 8))
    assert torch.equal(above(latents, timesteps, sketch, tokens, style), expected)


@torch.no_grad()
def test_where_all_is_figure_a_fresh_v2_is_the_v1_below_bit_by_bit_and_elsewhere_it_is_not() -> None:
    below, above = over_v1()
    latents, timesteps, sketch, tokens = inputs()
    expected = below(latents, timesteps, sketch, tokens)
    assert torch.equal(above(latents, timesteps, sketch, tokens, told(torch.ones(2, 1, 8, 8))), expected)
    # The injection's last layer starts at zero, its attention does not (released code).
    assert off(above(latents, timesteps, sketch, tokens, told(torch.zeros(2, 1, 8, 8))), expected) > 1e-3


@torch.no_grad()
def test_a_skip_stays_bit_by_bit_where_the_mask_is_greater_than_the_threshold() -> None:
    torch.manual_seed(4)
    model = V2(V2_SIZES["tiny"])
    injection: Any = model.unet.background_injections[-1]  # type: ignore[index]
    skip, feature = torch.randn(1, 32, 8, 8), torch.randn(1, 64, 32)
    mask = (torch.rand(1, 1, 8, 8) > 0.5).float()
    for once in (False, True):
        split = SplitReference(mask, 0.5, once=once).prepared(1)
        found = injection(skip, injection.project(feature), split.regions[64])
        figure = mask.bool().expand_as(skip)
        assert torch.equal(found[figure], skip[figure])
        assert not torch.equal(found[~figure], skip[~figure])


@torch.no_grad()
def test_a_sample_whose_parts_are_left_out_is_the_v1_below_beside_one_that_has_them(ruled: Ruled) -> None:
    """By a mask of one region and a factor of 0 of the low-rank updates."""
    torch.manual_seed(5)
    model = V2(V2_SIZES["tiny"])
    for parameter in model.parameters():
        if not bool(parameter.any()):
            torch.nn.init.normal_(parameter, std=0.05)
    model.eval()
    latents, timesteps, sketch, tokens = inputs()
    mask, lora = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)]), torch.tensor([1.0, 0.0])
    both = model(latents, timesteps, sketch, tokens, told(mask, lora=lora)._replace(style_latents=None))
    vanilla = model(latents, timesteps, sketch, tokens, Told(torch.ones(2)))
    assert off(both[1], vanilla[1]) < 1e-5
    assert off(both[0], vanilla[0]) > 1e-2


@torch.no_grad()
def test_split_encoders_read_two_references_by_the_references_mask() -> None:
    torch.manual_seed(6)
    model = V2(replace(V2_SIZES["tiny"], split_encoders=True)).eval()
    for parameter in model.parameters():
        if not bool(parameter.any()):
            torch.nn.init.normal_(parameter, std=0.05)
    latents, ground = torch.randn(1, 8, 8, 8), torch.randn(1, 16, 128)
    tokens, ratios = torch.randn(1, 16, 128), torch.ones(1, 2)
    first = model.background_features(
        latents, torch.cat([tokens, ground], 1), ratios, SplitReference(torch.ones(1, 1, 8, 8))
    )
    other = model.background_features(
        latents, torch.cat([tokens, -ground], 1), ratios, SplitReference(torch.ones(1, 1, 8, 8))
    )
    assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True)), "all figure: the background has no part"
    empty = model.background_features(
        latents, torch.cat([tokens, ground], 1), ratios, SplitReference(torch.zeros(1, 1, 8, 8))
    )
    assert off(empty[0], first[0]) > 1e-3
    plain = V2(V2_SIZES["tiny"])
    with pytest.raises(ValueError, match="cannot split its attention"):
        plain.background_features(
            latents, torch.cat([tokens, ground], 1), ratios, SplitReference(torch.zeros(1, 1, 8, 8))
        )


def test_the_released_preset_has_updates_in_the_decoder_alone() -> None:
    model = ruled_v2()[0]
    adapted = {name.split(".")[1] for name, module in model.named_modules() if isinstance(module, AdaptedLinear)}
    assert adapted == {"up_blocks"}
    ranks = {
        name.split(".")[-2]: tensor.shape for name, tensor in model.named_parameters() if "foreground_down" in name
    }
    assert {shape[0] for shape in ranks.values()} == {4}
