"""What a stage trains, and how its network is conditioned: the papers' formulas, on the stage's own frozen networks."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from model.batch import Batch
from model.diffusion.noise import TIMESTEPS, alphas_cumprod
from model.families.v1.family import FAMILY
from model.families.v1.training import BANDS, NO_SKETCH, Conditioned, V1Stage
from model.stage import WHOLE, trained_names
from pipelines.recipes.stages import stage_recipe
from pipelines.training.draws import draw
from pipelines.training.step import build_stage

CPU, COUNT, SIDE = torch.device("cpu"), 8, 32


def stage_of(name: str, side: int = SIDE, **changes: Any) -> V1Stage:
    """A tiny stage; layers that start at zero are random, so that every parameter has a part in the result."""
    stage = build_stage(stage_recipe(name).changed(width=side, height=side, **changes), None, CPU)[0]
    assert isinstance(stage, V1Stage)
    for parameter in stage.model.parameters():
        if not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.05)
    return stage


def batch_of(stage: V1Stage, ordinals: range = range(COUNT)) -> Batch:
    generator = torch.Generator().manual_seed(5)
    pictures = torch.rand(len(ordinals), 3, SIDE, SIDE, generator=generator) * 2 - 1
    named = {"sketch": pictures.sign(), "color": pictures, "reference": pictures}
    return Batch(named, draw(1, ordinals, stage.draws(SIDE, SIDE)))


def kept(stage: V1Stage, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(B,) each: whether a sample keeps its reference, and its sketch."""
    reference, sketch = batch.draws["chances"].unbind(1)
    return reference >= stage.settings.reference_drop, sketch >= stage.settings.sketch_drop


def minimised(stage: V1Stage, network: nn.Module, prepared: Conditioned) -> torch.Tensor:
    return stage.objective(WHOLE, {WHOLE: network}, prepared)


def conditioned(stage: V1Stage, **options: Any) -> tuple[Batch, Conditioned]:
    batch = batch_of(stage)
    return batch, stage.prepare(batch, **options)


# ---- what is trained ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(FAMILY.stages))
def test_a_step_changes_all_of_unet_and_sketch_encoder_and_nothing_else(name: str) -> None:
    stage = stage_of(name, reference_drop=0.0, sketch_drop=0.0)
    frozen = copy.deepcopy([stage.codec.state_dict(), stage.image_encoder.state_dict()])
    before = {key: tensor.clone() for key, tensor in stage.model.state_dict().items()}
    optimizer = torch.optim.AdamW(stage.model.parameters(), lr=1e-3, weight_decay=0.0)
    minimised(stage, stage.model, conditioned(stage)[1]).backward()
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
    abar = alphas_cumprod()[batch.draws["timesteps"]].float().view(-1, 1, 1)
    tokens = stage.image_encoder.encode(batch.pictures["reference"])
    noised = abar.sqrt() * tokens + (1 - abar).sqrt() * batch.draws["token_noise"]
    wanted = noised * kept(stage, batch)[0].view(-1, 1, 1)
    torch.testing.assert_close(found.context, wanted, rtol=0, atol=1e-5)


def test_the_released_flip_turns_the_reference_noise_round_from_nine_tenths_on() -> None:
    stage = stage_of("v1.noisy", flip_above=0.9, reference_drop=0.0)
    batch = batch_of(stage)
    batch.draws["timesteps"].copy_(torch.tensor([0, 100, 899, 900, 950, 990, 998, 999]))
    own = [0, 100, 899, *(TIMESTEPS - 1 - t for t in (900, 950, 990, 998, 999))]
    abar = alphas_cumprod()[own].float().view(-1, 1, 1)
    tokens = stage.image_encoder.encode(batch.pictures["reference"])
    wanted = abar.sqrt() * tokens + (1 - abar).sqrt() * batch.draws["token_noise"]
    found = stage.prepare(batch)
    torch.testing.assert_close(found.context, wanted, rtol=0, atol=1e-5)
    assert torch.equal(found.timesteps, batch.draws["timesteps"])


@pytest.mark.parametrize("name", ["v1.refine", "v1.drop-0.5"])
def test_without_noisy_training_references_are_clean_or_dropped(name: str) -> None:
    stage = stage_of(name)
    batch, found = conditioned(stage)
    keep = kept(stage, batch)[0]
    assert 0 < keep.sum() < COUNT
    torch.testing.assert_close(found.context[keep], stage.image_encoder.encode(batch.pictures["reference"])[keep])
    assert not found.context[~keep].any()


@pytest.mark.parametrize("name", ["v1.proj-0.1", "v1.cls-0.1"])
def test_the_class_token_is_the_whole_context_of_its_ablations(name: str) -> None:
    stage = stage_of(name, reference_drop=0.0)
    batch, found = conditioned(stage)
    torch.testing.assert_close(found.context, stage.image_encoder.encode(batch.pictures["reference"], "cls"))
    assert batch.draws["token_noise"].shape == found.context.shape


def test_dropped_sketches_are_empty_ones() -> None:
    stage = stage_of("v1.refine", sketch_drop=0.5)
    batch, found = conditioned(stage)
    keep = kept(stage, batch)[1]
    assert 0 < keep.sum() < COUNT
    assert torch.equal(found.sketch[keep], batch.pictures["sketch"][keep])
    assert bool((found.sketch[~keep] == NO_SKETCH).all())


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_offset_noise_is_in_the_noised_latents_and_in_the_target(prediction: str) -> None:
    plain, shifted = (stage_of("v1.noisy", prediction_type=prediction, offset_noise=s) for s in (0.0, 0.1))
    batch, before = conditioned(plain)
    after = shifted.prepare(batch)
    abar = alphas_cumprod()[batch.draws["timesteps"]].float().view(-1, 1, 1, 1)
    shift = 0.1 * batch.draws["shift"].expand_as(before.noised)
    torch.testing.assert_close(after.noised - before.noised, (1 - abar).sqrt() * shift, rtol=0, atol=1e-5)
    in_target = abar.sqrt() * shift if prediction == "v" else shift
    torch.testing.assert_close(after.target - before.target, in_target, rtol=0, atol=1e-5)


def test_validation_sees_no_drops_no_reference_noise_and_no_offset() -> None:
    stage = stage_of("v1.noisy", offset_noise=0.1, reference_drop=1.0, sketch_drop=1.0)
    batch, found = conditioned(stage, training=False)
    torch.testing.assert_close(found.context, stage.image_encoder.encode(batch.pictures["reference"]))
    assert torch.equal(found.sketch, batch.pictures["sketch"])
    abar = alphas_cumprod()[batch.draws["timesteps"]].float().view(-1, 1, 1, 1)
    noised = abar.sqrt() * stage.codec.encode(batch.pictures["color"]) + (1 - abar).sqrt() * batch.draws["noise"]
    torch.testing.assert_close(found.noised, noised, rtol=0, atol=1e-5)


def test_min_snr_weighs_what_is_minimised_and_not_what_is_measured() -> None:
    stage, plain = stage_of("v1.noisy", min_snr_gamma=5.0), stage_of("v1.noisy")
    batch, found = conditioned(stage)
    snr = [float(a / (1 - a)) for a in alphas_cumprod()[batch.draws["timesteps"]]]
    with torch.no_grad():
        losses = plain.losses(plain.model, found)
        weighted, measured = minimised(stage, plain.model, found), stage.losses(plain.model, found)
        unweighted = minimised(plain, plain.model, found)
    by_hand = sum(min(s, 5.0) / (s + 1) * float(loss) for s, loss in zip(snr, losses, strict=True)) / COUNT
    assert float(weighted) == pytest.approx(by_hand, rel=1e-5)
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


# ---- drops --------------------------------------------------------------------------------------------------------


def test_a_larger_drop_rate_drops_the_same_samples_and_more() -> None:
    few, many = (stage_of("v1.refine", reference_drop=rate, sketch_drop=rate) for rate in (0.1, 0.5))
    batch = batch_of(few, range(60))
    less, more = few.prepare(batch), many.prepare(batch)
    for name, empty in (("context", 0.0), ("sketch", NO_SKETCH)):
        still, left = ((getattr(found, name) != empty).flatten(1).any(1) for found in (less, more))
        assert bool((left <= still).all()), name
        assert left.sum() < still.sum(), name


@pytest.mark.parametrize(("rate", "keeps"), [(0.0, True), (1.0, False)])
def test_drop_rates_of_zero_and_one_are_exact(rate: float, keeps: bool) -> None:
    stage = stage_of("v1.refine", reference_drop=rate, sketch_drop=rate)
    found = stage.prepare(batch_of(stage, range(60)))
    for name, empty in (("context", 0.0), ("sketch", NO_SKETCH)):
        assert set((getattr(found, name) != empty).flatten(1).any(1).tolist()) == {keeps}, name


# ---- what the loop asks of it -------------------------------------------------------------------------------------


def test_it_is_one_network_with_the_recipes_optimizer_that_is_exported_whole() -> None:
    stage = stage_of("v1.noisy", learning_rate=3e-4, beta1=0.8)
    assert list(stage.networks) == list(stage.optimizers) == [WHOLE]
    assert (stage.optimizers[WHOLE].learning_rate, stage.optimizers[WHOLE].beta1) == (3e-4, 0.8)
    assert set(trained_names(stage.networks)) == set(stage.model.state_dict())


def test_the_loss_is_measured_in_each_band_and_averaged_over_the_samples() -> None:
    stage = stage_of("v1.noisy")
    assert stage.needs.strata is not None
    assert (stage.needs.strata.draw, stage.needs.strata.ranges) == ("timesteps", BANDS)
    with torch.no_grad():
        measured = stage.validate(batch_of(stage, range(len(BANDS))))
    assert measured["losses"].shape == (len(BANDS),)
    summary = stage.summarize(
        [{"losses": torch.tensor([1.0, 2.0, 3.0, 4.0])}, {"losses": torch.tensor([3.0, 4, 5, 6])}]
    )
    assert summary == {
        "validation_loss": 3.5,
        "validation_loss_0_250": 2.0,
        "validation_loss_250_500": 3.0,
        "validation_loss_500_750": 4.0,
        "validation_loss_750_1000": 5.0,
    }
