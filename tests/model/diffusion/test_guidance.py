"""A whole guided step against the released code, and the formulas by hand."""

import pytest
import torch

from model.diffusion.guidance import classifier_free, dual_mean, dual_sum, reference_acts
from model.diffusion.sampling import Branches, Conditions, GuidedNetwork, guided
from model.diffusion.sampling_settings import DualRule, SamplingSettings
from model.families.v1.network import V1
from tests.model.golden import assert_golden, golden

Ruled = tuple[V1, dict[str, torch.Tensor]]
DUAL = SamplingSettings(guidance_scale=4.0, sketch_guidance_scale=2.0)


@pytest.fixture(scope="module")
def numbers() -> dict[str, torch.Tensor]:
    return golden("v1_guidance")[0]


@pytest.fixture(scope="module")
def conditions(ruled: Ruled, numbers: dict[str, torch.Tensor]) -> Conditions:
    """Batch of 2 of one sketch and one reference, at sketch strength 0.8, from the image encoder's full tokens."""
    with torch.no_grad():
        sketch = numbers["sketch"].repeat(2, 1, 1, 1)
        hints = ruled[0].encode_sketch(sketch, 0.8)
        empty = ruled[0].encode_sketch(torch.full_like(sketch, -1), 0.8)
    return Conditions(numbers["clip_full_tokens"][:, 1:].repeat(2, 1, 1), hints, empty)


@torch.no_grad()
def test_conditions_agree_with_the_released_code(conditions: Conditions, numbers: dict[str, torch.Tensor]) -> None:
    assert conditions.context is not None
    assert_golden(conditions.context, numbers["context_cond"])
    assert conditions.empty_hints is not None
    for index in range(5):
        assert_golden(conditions.hints[index], numbers[f"hint_cond_{index}"])
        assert_golden(conditions.empty_hints[index], numbers[f"hint_uncond_sketch_{index}"])


@torch.no_grad()
def test_guided_steps_agree_with_the_released_code(
    ruled: Ruled, conditions: Conditions, numbers: dict[str, torch.Tensor]
) -> None:
    sigma, x = numbers["sigma"], numbers["x"]
    timesteps, s = numbers["t_of_sigma"], sigma.view(-1, 1, 1, 1)
    scale = (s**2 + 1).rsqrt()  # from x = clean + sigma noise to the network's input
    branches = GuidedNetwork(ruled[0], conditions, DUAL).branches(x * scale, timesteps)
    assert branches.no_reference is not None
    assert branches.no_sketch is not None
    assert_golden(branches.conditional, numbers["raw_cond"])
    assert_golden(branches.no_reference, numbers["raw_uncond_reference"])
    assert_golden(branches.no_sketch, numbers["raw_uncond_sketch"])

    dual = guided(branches, DUAL)
    assert_golden(x - s * dual, numbers["denoised_dual"])
    assert_golden(x * scale**2 - s * scale * dual, numbers["denoised_dual_v"])
    single = {"none": (1.0, 1.0), "reference": (4.0, 1.0), "sketch": (1.0, 2.0)}
    for name, (reference_scale, sketch_scale) in single.items():
        settings = SamplingSettings(guidance_scale=reference_scale, sketch_guidance_scale=sketch_scale)
        prediction = GuidedNetwork(ruled[0], conditions, settings).guided(x * scale, timesteps)
        assert_golden(x - s * prediction, numbers[f"denoised_{name}"])


@torch.no_grad()
def test_the_guidance_window_closes_and_opens_again(
    ruled: Ruled, conditions: Conditions, numbers: dict[str, torch.Tensor]
) -> None:
    """The released code overwrites its condition, so its window never opens again; ours gives the intact numbers."""
    settings = SamplingSettings(guidance_scale=4.0, guidance_window=(0.2, 0.8))
    network = GuidedNetwork(ruled[0], conditions, settings)
    for timestep, name in ((500, "inside_t500_fresh_dict"), (900, "outside_t900"), (500, "inside_t500_fresh_dict")):
        branches = network.branches(numbers["x"], torch.tensor(timestep), reference_acts(timestep, settings))
        assert branches.no_reference is not None
        assert_golden(torch.cat([branches.conditional, branches.no_reference]), numbers[f"window_{name}"])


def test_guidance_formulas_by_hand() -> None:
    c, u_r, u_s = torch.tensor([3.0]), torch.tensor([1.0]), torch.tensor([2.0])
    assert classifier_free(c, u_r, 4).item() == 9
    assert dual_mean(c, u_r, u_s, 4, 2).item() == 6.5  # (9 + 4) / 2
    assert dual_sum(c, u_r, u_s, 4, 2).item() == 10  # 3 + 3 * 2 + 1 * 1
    assert dual_sum(c, u_r, u_s, 1, 1).item() == dual_mean(c, u_r, u_s, 1, 1).item() == 3


def test_a_guidance_that_runs_alone_has_its_full_scale_under_both_rules() -> None:
    c, u = torch.tensor([3.0]), torch.tensor([2.0])
    for rule in ("mean", "sum"):
        settings = SamplingSettings(guidance_scale=4.0, sketch_guidance_scale=2.0, dual_rule=rule)
        assert guided(Branches(c, None, u), settings).item() == 4  # 2 + 2 * (3 - 2)
        assert guided(Branches(c, u, None), settings).item() == 6  # 2 + 4 * (3 - 2)


@torch.no_grad()
def test_without_a_reference_the_sketch_guidance_is_not_halved(
    ruled: Ruled, conditions: Conditions, numbers: dict[str, torch.Tensor]
) -> None:
    x, timestep = numbers["x"], torch.tensor(300)
    alone = Conditions(None, conditions.hints, conditions.empty_hints)
    assert alone.empty_hints is not None
    c, u = (ruled[0].denoise(x, timestep.expand(2), hints, None) for hints in (alone.hints, alone.empty_hints))
    settings = SamplingSettings(guidance_scale=1.0, sketch_guidance_scale=2.0, dual_rule="mean")
    assert_golden(GuidedNetwork(ruled[0], alone, settings).guided(x, timestep), u + 2 * (c - u))


def test_windows_run_from_noise_to_clean_and_the_second_one_closes_within_the_first() -> None:
    early = SamplingSettings(guidance_window=(0.0, 0.5))
    assert [reference_acts(t, early) for t in (999, 500, 400, 0)] == [True, True, False, False]
    hole = SamplingSettings(guidance_window=(0.1, 1.0), no_guidance_window=(0.4, 0.6))
    assert [reference_acts(t, hole) for t in (999, 700, 500, 300, 0)] == [False, True, False, True, True]


def by_hand(model: V1, conditions: Conditions, latents: torch.Tensor) -> Branches:
    """Each branch in a pass of its own, told "no reference" by zeros."""
    assert conditions.context is not None
    assert conditions.empty_hints is not None
    timesteps = torch.full((2,), 300)
    return Branches(
        model.denoise(latents, timesteps, conditions.hints, conditions.context),
        model.denoise(latents, timesteps, conditions.hints, torch.zeros_like(conditions.context)),
        model.denoise(latents, timesteps, conditions.empty_hints, conditions.context),
    )


@torch.no_grad()
@pytest.mark.parametrize(("dual_rule", "scales"), [("mean", (4.0, 2.0)), ("sum", (4.0, 2.0)), ("sum", (3.0, 1.0))])
def test_branches_of_one_batch_are_those_of_passes_of_their_own(
    ruled: Ruled,
    conditions: Conditions,
    numbers: dict[str, torch.Tensor],
    dual_rule: DualRule,
    scales: tuple[float, float],
) -> None:
    settings = SamplingSettings(guidance_scale=scales[0], sketch_guidance_scale=scales[1], dual_rule=dual_rule)
    alone = by_hand(ruled[0], conditions, numbers["x"])
    network = GuidedNetwork(ruled[0], conditions, settings)
    found = network.branches(numbers["x"], torch.tensor(300.0))
    assert_golden(found.conditional, alone.conditional)
    assert (found.no_reference is None) == (scales[0] == 1)
    assert (found.no_sketch is None) == (scales[1] == 1)
    expected = Branches(
        alone.conditional,
        None if scales[0] == 1 else alone.no_reference,
        None if scales[1] == 1 else alone.no_sketch,
    )
    assert_golden(network.guided(numbers["x"], torch.tensor(300.0)), guided(expected, settings))


@torch.no_grad()
def test_no_reference_is_what_a_context_of_zeros_is(
    ruled: Ruled, conditions: Conditions, numbers: dict[str, torch.Tensor]
) -> None:
    assert conditions.context is not None
    none, zeros = (
        Conditions(context, conditions.hints, conditions.empty_hints)
        for context in (None, torch.zeros_like(conditions.context))
    )
    found, expected = (
        GuidedNetwork(ruled[0], told, DUAL).guided(numbers["x"], torch.tensor(300)) for told in (none, zeros)
    )
    assert_golden(found, expected)


def test_sketch_guidance_without_an_empty_sketch_is_refused(ruled: Ruled, conditions: Conditions) -> None:
    bare = Conditions(conditions.context, conditions.hints)
    with pytest.raises(ValueError, match="empty sketch"):
        GuidedNetwork(ruled[0], bare, DUAL)
