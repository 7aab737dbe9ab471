"""What a stage trains, and what its network is told: by the papers' formulas, on the stage's own frozen networks."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from model.diffusion.noise import TIMESTEPS, alphas_cumprod
from pipelines.recipes.stage_recipe import STAGES, stage_recipe
from pipelines.training.draws import draw
from pipelines.training.feeder import Batch
from pipelines.training.stages import NO_SKETCH, Conditioned, V1Stage

CPU, COUNT, SIDE = torch.device("cpu"), 8, 32


def stage_of(name: str, **changes: Any) -> V1Stage:
    """A tiny stage; layers that start at zero are random, so that every parameter has a part in the result."""
    stage = V1Stage(replace(stage_recipe(name), width=SIDE, height=SIDE, **changes), None, CPU)
    for parameter in stage.model.parameters():
        if not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.05)
    return stage


def batch_of(stage: V1Stage, ordinals: range = range(COUNT)) -> Batch:
    generator = torch.Generator().manual_seed(5)
    pictures = torch.rand(len(ordinals), 3, SIDE, SIDE, generator=generator) * 2 - 1
    shapes, recipe = stage.shapes, stage.recipe
    drops = recipe.reference_drop, recipe.sketch_drop
    draws = draw(1, ordinals, shapes.latent_shape(SIDE, SIDE), shapes.token_shape, *drops)
    return Batch(pictures.sign(), pictures, pictures, draws)


def conditioned(stage: V1Stage, **options: Any) -> tuple[Batch, Conditioned]:
    batch = batch_of(stage)
    return batch, stage.condition(batch, **options)


# ---- what is trained ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(STAGES))
def test_a_step_changes_all_of_unet_and_sketch_encoder_and_nothing_else(name: str) -> None:
    stage = stage_of(name, reference_drop=0.0, sketch_drop=0.0)
    frozen = copy.deepcopy([stage.codec.state_dict(), stage.image_encoder.state_dict()])
    before = {key: tensor.clone() for key, tensor in stage.model.state_dict().items()}
    optimizer = torch.optim.AdamW(stage.model.parameters(), lr=1e-3, weight_decay=0.0)
    stage.training_loss(stage.model, conditioned(stage)[1]).backward()
    optimizer.step()
    after = stage.model.state_dict()
    assert [key for key, tensor in before.items() if torch.equal(tensor, after[key])] == []
    for network, weights in zip((stage.codec, stage.image_encoder), frozen, strict=True):
        assert all(torch.equal(tensor, weights[key]) for key, tensor in network.state_dict().items())
        assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "parts", "has_queries"),
    [
        ("v1.noisy", {"unet", "sketch_encoder"}, True),
        ("v1.drop-0.5", {"unet", "sketch_encoder"}, True),
        ("v1.proj-0.1", {"unet", "sketch_encoder", "projection"}, True),
        ("v1.cls-0.1", {"unet", "sketch_encoder"}, False),
    ],
)
def test_what_there_is_to_train_follows_the_reference_tokens(name: str, parts: set[str], has_queries: bool) -> None:
    names = [name for name, parameter in stage_of(name).model.named_parameters() if parameter.requires_grad]
    assert {name.split(".")[0] for name in names} == parts
    assert any("attn2.to_q" in name for name in names) is has_queries
    assert any("attn2.to_v" in name for name in names)


# ---- what the network is told -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["v1.noisy", "v1.noisy-uncropped"])
def test_the_noisy_stage_noises_the_reference_with_the_samples_own_timestep(name: str) -> None:
    stage = stage_of(name)
    batch, found = conditioned(stage)
    abar = alphas_cumprod()[batch.draws.timesteps].float().view(-1, 1, 1)
    tokens = stage.image_encoder.encode(batch.reference)
    wanted = (abar.sqrt() * tokens + (1 - abar).sqrt() * batch.draws.token_noise) * batch.draws.keep_reference.view(
        -1, 1, 1
    )
    torch.testing.assert_close(found.context, wanted, rtol=0, atol=1e-5)


def test_the_released_flip_turns_the_reference_noise_round_from_nine_tenths_on() -> None:
    stage = stage_of("v1.noisy", flip_above=0.9, reference_drop=0.0)
    batch = batch_of(stage)
    batch.draws.timesteps.copy_(torch.tensor([0, 100, 899, 900, 950, 990, 998, 999]))
    own = [0, 100, 899, *(TIMESTEPS - 1 - t for t in (900, 950, 990, 998, 999))]
    abar = alphas_cumprod()[own].float().view(-1, 1, 1)
    wanted = abar.sqrt() * stage.image_encoder.encode(batch.reference) + (1 - abar).sqrt() * batch.draws.token_noise
    found = stage.condition(batch)
    torch.testing.assert_close(found.context, wanted, rtol=0, atol=1e-5)
    assert torch.equal(found.timesteps, batch.draws.timesteps)


@pytest.mark.parametrize("name", ["v1.refine", "v1.drop-0.5"])
def test_without_noisy_training_references_are_clean_or_dropped(name: str) -> None:
    stage = stage_of(name)
    batch, found = conditioned(stage)
    keep = batch.draws.keep_reference.bool()
    assert 0 < keep.sum() < COUNT
    torch.testing.assert_close(found.context[keep], stage.image_encoder.encode(batch.reference)[keep])
    assert not found.context[~keep].any()


@pytest.mark.parametrize("name", ["v1.proj-0.1", "v1.cls-0.1"])
def test_the_class_token_is_the_whole_context_of_its_ablations(name: str) -> None:
    stage = stage_of(name, reference_drop=0.0)
    batch, found = conditioned(stage)
    torch.testing.assert_close(found.context, stage.image_encoder.encode(batch.reference, "cls"))
    assert stage.shapes.token_shape == tuple(found.context.shape[1:])


def test_dropped_sketches_are_empty_ones() -> None:
    stage = stage_of("v1.refine", sketch_drop=0.5)
    batch, found = conditioned(stage)
    keep = batch.draws.keep_sketch.bool()
    assert 0 < keep.sum() < COUNT
    assert torch.equal(found.sketch[keep], batch.sketch[keep])
    assert bool((found.sketch[~keep] == NO_SKETCH).all())


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_offset_noise_is_in_the_noised_latents_and_in_the_target(prediction: str) -> None:
    plain, shifted = (stage_of("v1.noisy", prediction_type=prediction, offset_noise=s) for s in (0.0, 0.1))
    batch, before = conditioned(plain)
    after = shifted.condition(batch)
    abar = alphas_cumprod()[batch.draws.timesteps].float().view(-1, 1, 1, 1)
    shift = 0.1 * batch.draws.shift.expand_as(before.noised)
    torch.testing.assert_close(after.noised - before.noised, (1 - abar).sqrt() * shift, rtol=0, atol=1e-5)
    in_target = abar.sqrt() * shift if prediction == "v" else shift
    torch.testing.assert_close(after.target - before.target, in_target, rtol=0, atol=1e-5)


def test_validation_sees_no_drops_no_reference_noise_and_no_offset() -> None:
    stage = stage_of("v1.noisy", offset_noise=0.1, reference_drop=1.0, sketch_drop=1.0)
    batch, found = conditioned(stage, training=False)
    torch.testing.assert_close(found.context, stage.image_encoder.encode(batch.reference))
    assert torch.equal(found.sketch, batch.sketch)
    abar = alphas_cumprod()[batch.draws.timesteps].float().view(-1, 1, 1, 1)
    noised = abar.sqrt() * stage.codec.encode(batch.color) + (1 - abar).sqrt() * batch.draws.noise
    torch.testing.assert_close(found.noised, noised, rtol=0, atol=1e-5)


def test_min_snr_weighs_what_is_minimised_and_not_what_is_measured() -> None:
    stage, plain = stage_of("v1.noisy", min_snr_gamma=5.0), stage_of("v1.noisy")
    batch, found = conditioned(stage)
    snr = [float(a / (1 - a)) for a in alphas_cumprod()[batch.draws.timesteps]]
    with torch.no_grad():
        losses = plain.losses(plain.model, found)
        minimised, measured = stage.training_loss(plain.model, found), stage.losses(plain.model, found)
        unweighted = plain.training_loss(plain.model, found)
    by_hand = sum(min(s, 5.0) / (s + 1) * float(loss) for s, loss in zip(snr, losses, strict=True)) / COUNT
    assert float(minimised) == pytest.approx(by_hand, rel=1e-5)
    torch.testing.assert_close(measured, losses)
    torch.testing.assert_close(unweighted, losses.mean())


def test_frozen_networks_compute_in_the_recipes_precision_and_what_is_drawn_from_them_stays_float32() -> None:
    whole, half = (stage_of("v1.noisy", precision=precision) for precision in ("fp32", "bf16"))
    assert (whole.codec.dtype, whole.image_encoder.dtype) == (torch.float32, torch.float32)
    assert (half.codec.dtype, half.image_encoder.dtype) == (torch.bfloat16, torch.bfloat16)
    exact, rounded = (conditioned(stage)[1] for stage in (whole, half))
    for name in ("noised", "context", "target"):
        fine, coarse = getattr(exact, name), getattr(rounded, name)
        assert coarse.dtype == torch.float32
        assert 0 < float((fine - coarse).abs().mean() / fine.abs().mean()) < 0.02, name
