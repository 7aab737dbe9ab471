"""The diffusion benchmark: rivals compute the same where they must, and what is counted is what is published."""

from dataclasses import replace

import pytest
import torch

from benchmarks.diffusion.__main__ import (
    Run,
    given,
    in_turns,
    left_out,
    loop_rivals,
    loops,
    pipelines,
    training,
    unprepared,
)
from benchmarks.diffusion.operations import parts, picture_operations
from benchmarks.diffusion.peers import ADAPTER_TOKENS, ControlNetWithAdapter, FineTuning, stock_unet
from benchmarks.diffusion.sizes import SIZES, build
from benchmarks.diffusion.training_step import STEPS, TrainingRun, batch_of, one_process, recipe_of, stage_around
from model.stage import WHOLE

TINY = Run("tiny", side=64, batch=2, steps=3, rounds=1, device="cpu", compiled=False)


def test_our_loop_and_a_bare_diffusers_loop_give_the_same_latents() -> None:
    networks = build(SIZES["tiny"])
    rivals = loop_rivals(networks, stock_unet(networks), given(TINY), TINY.steps)
    bare, ours = rivals["bare"](), rivals["ours"]()
    torch.testing.assert_close(ours, bare, rtol=0, atol=1e-4 * float(bare.abs().max()))
    with torch.no_grad():
        for parameter in networks.model.sketch_encoder.block_hints[0].parameters():
            parameter.mul_(3)
    other = loop_rivals(networks, stock_unet(networks), given(TINY), TINY.steps)["ours"]()
    assert not torch.allclose(other, bare, atol=1e-3), "the sketch's hints must matter for the comparison to say much"


@pytest.mark.parametrize("on", [{"once": True}, {"projected": True}, {"skipped": True}, {"shared": True}])
def test_no_optimisation_changes_the_result(on: dict[str, bool]) -> None:
    networks, inputs = build(SIZES["tiny"]), given(TINY)
    plain = unprepared(networks, inputs, TINY.steps)
    torch.testing.assert_close(unprepared(networks, inputs, TINY.steps, **on), plain, rtol=1e-4, atol=1e-4)
    shipped = loop_rivals(networks, stock_unet(networks), inputs, TINY.steps)["ours"]()
    torch.testing.assert_close(shipped, plain, rtol=1e-4, atol=1e-4)


def test_the_peer_uses_its_sketch_and_its_reference() -> None:
    size, inputs = SIZES["tiny"], given(TINY)
    peer = ControlNetWithAdapter(size, build(size), "ddim")
    adapter = peer.pipeline.unet.encoder_hid_proj.image_projection_layers[0]
    assert adapter.num_image_text_embeds == ADAPTER_TOKENS
    calls = {}
    for name, sketches, references in (
        ("as given", inputs.sketches, inputs.references),
        ("other sketch", -inputs.sketches, inputs.references),
        ("other reference", inputs.sketches, -inputs.references),
    ):
        torch.manual_seed(0)
        calls[name] = peer((sketches + 1) / 2, references, 2, 4.0)
    assert calls["as given"].shape == (2, 3, 64, 64)
    assert not torch.equal(calls["as given"], calls["other sketch"])
    assert not torch.equal(calls["as given"], calls["other reference"])


def test_both_training_steps_start_from_the_same_loss() -> None:
    run = TrainingRun("ours", "tiny", side=64, batch=2, device="cpu", precision="fp32")
    recipe, batch = recipe_of(run), batch_of(run)
    stage = stage_around(recipe, SIZES["tiny"], build(SIZES["tiny"]), torch.device("cpu"))
    ours = stage.objective(WHOLE, {WHOLE: stage.model}, stage.prepare(batch))
    theirs = FineTuning(build(SIZES["tiny"]), recipe.optimizer.learning_rate, recipe.optimizer.gradient_clip, "fp32")
    trained = sum(parameter.numel() for parameter in theirs.parameters)
    assert trained == sum(parameter.numel() for parameter in stage.model.parameters() if parameter.requires_grad)
    first = theirs(batch, recipe.method.prediction_type)
    torch.testing.assert_close(ours.detach(), first, rtol=1e-5, atol=1e-5)
    assert theirs(batch, recipe.method.prediction_type) < first


def test_operations_agree_with_the_published_counts() -> None:
    found = parts("base", 512)
    assert found["diffusers' UNet"] / 2e12 == pytest.approx(0.82, abs=0.01)
    assert found["VAE encoder"] / 1e12 == pytest.approx(1.12, abs=0.03)
    assert found["ours"] < found["diffusers' UNet"]
    saved = picture_operations("base", 512, 20) - picture_operations("base", 512, 19)
    assert saved == found["ours"]


def test_both_sides_run_in_half_precision_too() -> None:
    run = replace(TINY, precision="bf16", batch=1, steps=2)
    assert {row["pictures a second"] > 0 for row in pipelines(run).rows} == {True}
    assert max(row["largest difference"] for row in loops(run).rows) < 0.1
    one = {who: TrainingRun(who, "tiny", TINY.side, 2, "cpu", "bf16") for who in STEPS}
    with one_process("cpu"):
        losses = {who: float(STEPS[who](run)(batch_of(run))) for who, run in one.items()}
    assert losses["ours"] == pytest.approx(losses["diffusers"], rel=1e-2)


@pytest.mark.slow
def test_training_is_timed_and_its_memory_is_that_of_a_process_of_its_own() -> None:
    theirs, ours = training(replace(TINY, precision="bf16", batch=1, steps=2), TINY.side).rows
    assert ours["loss of the first step"] == pytest.approx(theirs["loss of the first step"], rel=1e-2)
    assert ours["of the last"] < ours["loss of the first step"]


def test_medians_leave_the_first_run_out() -> None:
    calls: list[str] = []
    found = in_turns({"one": lambda: calls.append("one"), "two": lambda: calls.append("two")}, TINY)
    assert calls == ["one", "two", "two", "one"]
    assert set(found) == {"one", "two"}


def test_what_was_not_measured_is_listed_with_its_command() -> None:
    on_cpu = [row["not measured here; measured by"] for row in left_out(TINY).rows]
    assert any("--device cuda" in command and "--side 1024" in command for command in on_cpu)
    on_gpu = left_out(replace(TINY, device="cuda", side=1024, compiled=True))
    assert on_gpu.rows == []
