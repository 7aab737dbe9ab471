"""The student of `v1.distill` is taught what its parent's guided steps arrive at, in as few steps as it will have."""

from typing import Any

import pytest
import torch

from model.batch import Batch
from model.diffusion.noise import TIMESTEPS, add_noise, prediction_target, scales
from model.diffusion.sampling import Conditions, sample
from model.diffusion.sampling_settings import SamplingSettings
from model.diffusion.schedulers import build_scheduler, timesteps_of
from model.families.v1.distillation import DistillStage, step_timesteps
from model.families.v1.training import Noised, V1Stage
from model.stage import WHOLE
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from pipelines.recipes.stages import stage_recipe
from pipelines.training.draws import draw
from pipelines.training.parents import checked_parent
from pipelines.weights.checkpoints import absolute_checkpoint
from tests.model.families.v1.test_training import stage_of

# Below this side the coarsest level has one position, whose group norms enlarge what rounding leaves.
SIDE, COUNT = 128, 3
LAST = torch.full((COUNT,), TIMESTEPS - 1)


def distill_stage(**changes: Any) -> DistillStage:
    """A tiny stage under noise that ends in noise alone, whose teacher's every layer has a part in the result."""
    torch.manual_seed(3)
    values = {"noise_schedule": "zero-terminal", "student_steps": 1, "teacher_steps": 4, "reference_drop": 0.0}
    stage = stage_of("v1.distill", SIDE, **(values | changes))
    assert isinstance(stage, DistillStage)
    stage.teacher.load_state_dict(stage.model.state_dict())
    return stage


def batch_of(stage: V1Stage) -> Batch:
    pictures = torch.rand(COUNT, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5)) * 2 - 1
    named = {"sketch": pictures.sign(), "color": pictures, "reference": pictures}
    return Batch(named, draw(1, range(COUNT), stage.draws(SIDE, SIDE)))


def inputs(stage: DistillStage) -> tuple[Batch, Noised, torch.Tensor, torch.Tensor]:
    """A batch; its latents at the last timestep; its sketches and contexts."""
    batch = batch_of(stage)
    clean = stage.codec.encode(batch.pictures["color"])
    noise = batch.draws["noise"]
    context = stage.image_encoder.encode(batch.pictures["reference"], "local")
    noised = add_noise(clean, noise, LAST, stage.settings.noise_schedule)
    return batch, Noised(noised, clean, noise), batch.pictures["sketch"], context


@pytest.mark.parametrize("steps", [1, 3, 4, 7])
def test_its_timesteps_are_those_that_the_sampler_will_visit(steps: int) -> None:
    visited = timesteps_of(build_scheduler("ddim", "v", spacing="trailing"), steps)
    assert step_timesteps(torch.arange(steps), steps).tolist() == visited
    assert step_timesteps(torch.tensor([steps]), steps).tolist() == [-1]
    stage = distill_stage(student_steps=steps, teacher_steps=2 * steps)
    noised_to = stage.timesteps(torch.arange(TIMESTEPS))
    assert noised_to.unique().tolist() == sorted(visited)
    assert (noised_to >= torch.arange(TIMESTEPS) - 1).all()


@torch.no_grad()
def test_one_step_of_the_student_lands_where_the_sampler_of_its_teacher_does() -> None:
    """The whole way in one: the picture that the target means is what four guided steps of DDIM make of that noise."""
    stage = distill_stage()
    _, noised, sketch, context = inputs(stage)
    conditions = Conditions(context, stage.teacher.encode_sketch(sketch))
    settings = SamplingSettings(sampler="ddim", steps=4, guidance_scale=2.0)
    expected = sample(stage.teacher, conditions, noised.latents, "v", settings, noise_schedule="zero-terminal")
    signal, sigma = scales(LAST, noised.latents, "zero-terminal")
    found = signal * noised.latents - sigma * stage.target(noised, LAST, sketch, context)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_within_the_schedule_it_lands_between() -> None:
    """From the second of two steps' timesteps, the target of two half steps against those steps by hand."""
    stage = distill_stage(student_steps=2, teacher_steps=4, teacher_guidance=1.0)
    _, noised, sketch, context = inputs(stage)
    first, middle = step_timesteps(torch.tensor([0, 1]), 4).tolist()
    end = step_timesteps(torch.tensor([1]), 2)
    latents = noised.latents
    for now, after in ((first, middle), (middle, int(end))):
        v = stage.teacher(latents, torch.full((COUNT,), now), sketch, context)
        signal, sigma = scales(torch.full((COUNT,), now), latents, "zero-terminal")
        clean, noise = signal * latents - sigma * v, sigma * latents + signal * v
        latents = add_noise(clean, noise, torch.full((COUNT,), after), "zero-terminal")
    v = stage.target(noised, LAST, sketch, context)
    signal, sigma = scales(LAST, latents, "zero-terminal")
    clean, noise = signal * noised.latents - sigma * v, sigma * noised.latents + signal * v
    torch.testing.assert_close(add_noise(clean, noise, end.expand(COUNT), "zero-terminal"), latents, rtol=0, atol=1e-4)


@torch.no_grad()
def test_with_as_many_steps_and_no_guidance_the_teacher_has_nothing_to_teach() -> None:
    stage = distill_stage(student_steps=4, teacher_steps=4, teacher_guidance=1.0)
    prepared = stage.prepare(batch_of(stage))
    assert stage.objective(WHOLE, {WHOLE: stage.model}, prepared) < 1e-8
    guided = distill_stage(student_steps=4, teacher_steps=4, teacher_guidance=3.0)
    guided.model.load_state_dict(stage.model.state_dict())
    guided.teacher.load_state_dict(stage.model.state_dict())
    assert guided.objective(WHOLE, {WHOLE: guided.model}, guided.prepare(batch_of(guided))) > 1e-6


@torch.no_grad()
def test_a_picture_without_a_reference_is_taught_without_guidance() -> None:
    """What a dropped reference leaves is the same in both branches, so the scale means nothing."""
    targets = []
    for scale in (1.0, 4.0):
        stage = distill_stage(teacher_guidance=scale)
        _, noised, sketch, context = inputs(stage)
        targets.append(stage.target(noised, LAST, sketch, torch.zeros_like(context)))
    torch.testing.assert_close(*targets, rtol=0, atol=1e-5)


def test_the_teacher_stays_what_it_was_and_leaves_no_trace_in_the_checkpoint() -> None:
    stage = distill_stage()
    before = {name: tensor.clone() for name, tensor in stage.teacher.state_dict().items()}
    optimizer = torch.optim.SGD(stage.model.parameters(), lr=0.1)
    stage.objective(WHOLE, {WHOLE: stage.model}, stage.prepare(batch_of(stage))).backward()
    optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in stage.teacher.state_dict().items())
    assert any(not torch.equal(tensor, before[name]) for name, tensor in stage.model.state_dict().items())
    assert set(stage.model.state_dict()) == set(before)


def test_its_checkpoint_says_how_few_steps_it_takes() -> None:
    sampling = distill_stage(student_steps=4, teacher_steps=8).recorded()["sampling"]
    own = SamplingSettings(**sampling)
    assert (own.sampler, own.spacing, own.steps, own.guidance_scale) == ("ddim", "trailing", 4, 1.0)


def test_the_target_of_every_other_stage_is_the_noised_pictures_own() -> None:
    stage = stage_of("v1.palette", SIDE)
    batch = batch_of(stage)
    clean, noise = stage.codec.encode(batch.pictures["color"]), batch.draws["noise"]
    noised = Noised(add_noise(clean, noise, LAST), clean, noise)
    found = stage.target(noised, LAST, batch.pictures["sketch"], torch.zeros(COUNT, 1, 1))
    assert torch.equal(found, prediction_target(clean, noise, LAST, "v"))


def test_it_needs_a_teacher() -> None:
    with pytest.raises(SettingsError, match="begins with a trained network: give a checkpoint with --from"):
        checked_parent(stage_recipe("v1.distill"), None)
    assert checked_parent(stage_recipe("v1.distill", "small"), absolute_checkpoint("starter"))


def test_it_is_under_its_teachers_noise() -> None:
    other = stage_recipe("v1.distill", "small").changed(noise_schedule="stable-diffusion")
    with pytest.raises(PipelineError, match="give --set noise_schedule=zero-terminal"):
        checked_parent(other, absolute_checkpoint("starter"))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"teacher_steps": 6}, "not a multiple of student_steps=4"),
        ({"student_steps": 0}, "student_steps=0"),
        ({"teacher_guidance": 0.5}, "teacher_guidance"),
        ({"prediction_type": "eps"}, "a student predicts v"),
    ],
)
def test_what_no_teacher_can_do_is_refused(values: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        stage_recipe("v1.distill").changed(**values)
