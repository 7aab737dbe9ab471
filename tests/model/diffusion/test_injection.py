"""Attention injection: what the second pass is told, which rows it mixes, when it starts, and that a seed repeats."""

from typing import Any

import pytest
import torch

from model.backbone.attention import SelfAttentionBank
from model.diffusion.injection import InjectionConditions, NoisedReferences, injection_conditions
from model.diffusion.noise import add_noise
from model.diffusion.sampling import Conditions, GuidedNetwork, guided, sample
from model.diffusion.sampling_settings import InjectionSettings, SamplingSettings
from model.families.v1.network import V1
from model.frozen.codec import ImageCodec

Ruled = tuple[V1, dict[str, torch.Tensor]]
INJECTION = InjectionSettings(fidelity=0.3, start=0.4)
SETTINGS = SamplingSettings(steps=3, guidance_scale=3.0, sketch_guidance_scale=2.0, injection=INJECTION)


@pytest.fixture(scope="module")
@torch.no_grad()
def conditions(ruled: Ruled) -> Conditions:
    torch.manual_seed(7)
    sketches = torch.where(torch.rand(2, 1, 64, 64) < 0.1, 1.0, -1.0).expand(-1, 3, -1, -1)
    hints, empty = (ruled[0].encode_sketch(sketch) for sketch in (sketches, torch.full_like(sketches, -1)))
    return Conditions(torch.randn(2, 5, 64), hints, empty, InjectionConditions(torch.randn(2, 4, 8, 8)))


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def one(conditions: Conditions, row: int) -> Conditions:
    assert conditions.context is not None
    assert conditions.injection is not None
    rows = slice(row, row + 1)
    return Conditions(
        conditions.context[rows],
        tuple(hint[rows] for hint in conditions.hints),
        tuple(hint[rows] for hint in conditions.empty_hints or ()),
        InjectionConditions(conditions.injection.reference_latents[rows]),
    )


@torch.no_grad()
def test_each_branch_reads_a_pass_over_the_reference_told_the_same_context(
    ruled: Ruled, conditions: Conditions
) -> None:
    """By hand: every branch alone, with a bank of its own; only the one without a reference is mixed."""
    model = ruled[0]
    assert conditions.context is not None
    assert conditions.empty_hints is not None
    latents, noised, times = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.full((2,), 500.0)
    silent = tuple(torch.zeros_like(hint) for hint in conditions.hints)

    def alone(hints: tuple[torch.Tensor, ...], context: torch.Tensor, plain: slice) -> torch.Tensor:
        bank = SelfAttentionBank()
        model.denoise(noised, times, silent, context, bank=bank.write())
        return model.denoise(latents, times, hints, context, bank=bank.read(0.3, plain))

    found = GuidedNetwork(model, conditions, SETTINGS).branches(latents, times[0], injected=noised)
    assert found.no_reference is not None
    assert found.no_sketch is not None
    nothing = torch.zeros_like(conditions.context)
    close: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(found.conditional, alone(conditions.hints, conditions.context, slice(0)), **close)
    torch.testing.assert_close(found.no_sketch, alone(conditions.empty_hints, conditions.context, slice(0)), **close)
    torch.testing.assert_close(found.no_reference, alone(conditions.hints, nothing, slice(0, 2)), **close)


@torch.no_grad()
def test_the_branch_without_a_reference_runs_outside_the_window_too_when_something_is_injected(
    ruled: Ruled, conditions: Conditions
) -> None:
    network = GuidedNetwork(ruled[0], conditions, SETTINGS)
    latents, noised = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    plain = network.branches(latents, torch.tensor(500.0), acts=False)
    assert plain.no_reference is not None
    assert torch.equal(plain.conditional, plain.no_reference)
    injected = network.branches(latents, torch.tensor(500.0), acts=False, injected=noised)
    assert injected.no_reference is not None
    assert not torch.allclose(injected.conditional, injected.no_reference)
    assert not torch.allclose(guided(injected, SETTINGS), guided(plain, SETTINGS))


@pytest.mark.parametrize("windows", [{}, {"guidance_window": (1.0, 1.0)}, {"no_guidance_window": (0.0, 1.0)}], ids=str)
def test_injection_begins_at_its_own_start_whatever_the_guidance_windows(
    ruled: Ruled, conditions: Conditions, windows: dict[str, tuple[float, float]]
) -> None:
    settings = SamplingSettings(sampler="ddim", steps=2, guidance_scale=1.0, injection=INJECTION, **windows)  # type: ignore[arg-type]
    passes = []
    hook = ruled[0].unet.register_forward_pre_hook(lambda _, inputs: passes.append(float(inputs[1][0])))
    try:
        sample(ruled[0], conditions, torch.randn(2, 4, 8, 8), "eps", settings, generators(8, 9))
    finally:
        hook.remove()
    assert passes == [501, 501, 1, 1]  # 1 - 501 / 999 is past the start of 0.4


def test_references_are_noised_to_each_timestep_from_the_start_on_and_repeat_with_the_seed() -> None:
    latents, timesteps = torch.randn(2, 4, 8, 8), [999.0, 600.4, 300.0, 1.0]
    noised = NoisedReferences(InjectionConditions(latents), INJECTION, timesteps, generators(5, 6))
    assert [noised.at(index) is None for index in range(4)] == [True, True, False, False]
    noise = [torch.randn(4, 4, 8, 8, generator=generator) for generator in generators(5, 6)]
    for index in (2, 3):
        expected = add_noise(
            latents, torch.stack([n[index] for n in noise]), torch.tensor([round(timesteps[index])] * 2)
        )
        torch.testing.assert_close(noised.at(index), expected)
    alone = NoisedReferences(InjectionConditions(latents[1:]), INJECTION, timesteps, generators(6))
    torch.testing.assert_close(alone.at(2), noised.at(2)[1:])  # type: ignore[index]


@pytest.mark.parametrize("sampler", ["dpmpp_2m_karras", "dpm2_a"])
def test_an_injected_seed_repeats_alone_and_in_a_batch_with_second_order_samplers_too(
    ruled: Ruled, conditions: Conditions, sampler: str
) -> None:
    settings = SamplingSettings(sampler=sampler, steps=2, injection=InjectionSettings())
    noise = torch.randn(2, 4, 8, 8)
    together = sample(ruled[0], conditions, noise, "eps", settings, generators(8, 9))
    alone = sample(ruled[0], one(conditions, 1), noise[1:], "eps", settings, generators(9))
    assert (alone - together[1:]).abs().max() < 1e-3 * together.abs().max()
    plain = SamplingSettings(sampler=sampler, steps=2)
    assert not torch.allclose(sample(ruled[0], conditions, noise, "eps", plain, generators(8, 9)), together, rtol=0.01)


@torch.no_grad()
def test_conditions_are_the_latents_at_the_pictures_size_and_hints_of_the_negative(
    ruled: Ruled, codec: ImageCodec
) -> None:
    references = torch.rand(2, 3, 64, 96) * 2 - 1
    same = injection_conditions(ruled[0], codec, references, (64, 96), InjectionSettings(sketch_strength=0.5))
    torch.testing.assert_close(same.reference_latents, codec.encode(references), rtol=1e-4, atol=1e-4)
    assert same.hints is not None
    for hint, whole in zip(same.hints, ruled[0].encode_sketch(-references), strict=True):
        torch.testing.assert_close(hint, whole / 2, rtol=1e-3, atol=1e-4)
    other = injection_conditions(ruled[0], codec, references, (32, 40), InjectionSettings())
    assert other.reference_latents.shape[-2:] == (4, 5)
    assert other.hints is None


def test_injection_without_latents_or_generators_is_refused(ruled: Ruled, conditions: Conditions) -> None:
    noise = torch.zeros(2, 4, 8, 8)
    bare = Conditions(conditions.context, conditions.hints, conditions.empty_hints)
    with pytest.raises(ValueError, match="needs the reference's latents"):
        sample(ruled[0], bare, noise, "eps", SETTINGS, generators(1, 2))
    with pytest.raises(ValueError, match="attention injection adds noise and needs one generator per sample"):
        sample(ruled[0], conditions, noise, "eps", SETTINGS)
