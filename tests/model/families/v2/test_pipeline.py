"""What a call of v2 shows its network: which parts its modes switch on, and what masks and controls do."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from model.diffusion.sampling_settings import InjectionSettings, SamplingSettings
from model.diffusion.separation import Separation
from model.errors import ModelError
from model.families.v2.modes import PARTS, V2_MODES, usual_mode
from model.families.v2.network import V2
from model.families.v2.pipeline import SeparatePipeline
from model.families.v2.sizes import V2_SIZES, V2Config
from model.frozen.codec import ImageCodec
from model.frozen.image_encoder import ReferenceEncoder
from tests.model.families.parted import FIGURE, HALF, REFERENCE, SKETCH, assert_alone_as_in_a_batch
from tests.model.golden import off


def pipeline_of(
    codec: ImageCodec, image_encoder: ReferenceEncoder, config: V2Config, released: bool = False
) -> SeparatePipeline:
    """One with random weights everywhere."""
    torch.manual_seed(6)
    network = V2(config)
    for parameter in network.parameters():
        if not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.05)
    return SeparatePipeline(
        network.eval(),
        codec,
        image_encoder,
        prediction_type="v",
        scaling_factor=codec.scaling_factor,
        released=released,
    )


@pytest.fixture(scope="module")
def pipeline(codec: ImageCodec, image_encoder: ReferenceEncoder) -> SeparatePipeline:
    return pipeline_of(codec, image_encoder, V2_SIZES["tiny"])


BOTH = Separation([HALF], [FIGURE])


def colored(pipeline: SeparatePipeline, separation: Separation | None = BOTH, **settings: Any) -> torch.Tensor:
    chosen = SamplingSettings(sampler="ddim", steps=2, **settings)
    return pipeline(SKETCH[None], [REFERENCE], [3], settings=chosen, separation=separation)[0]


def test_every_mode_makes_another_picture_and_full_is_the_usual_one(pipeline: SeparatePipeline) -> None:
    made = {mode: colored(pipeline, mode=mode) for mode in PARTS}
    names = list(made)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            assert off(made[first], made[second]) > 1e-3, (first, second)
    assert torch.equal(colored(pipeline), made["full"])
    # Nothing of a call stays for the next one: the official code leaves the updates of a masked run on.
    assert torch.equal(colored(pipeline, mode="vanilla"), made["vanilla"])
    assert V2_MODES.keys() == PARTS.keys()


def test_modes_that_read_no_mask_need_none(pipeline: SeparatePipeline) -> None:
    for mode in ("vanilla", "style"):
        assert torch.equal(colored(pipeline, None, mode=mode), colored(pipeline, mode=mode))
    for mode in ("split", "background", "full"):
        with pytest.raises(ModelError, match=f"mode={mode} parts figure from ground by masks"):
            colored(pipeline, None, mode=mode)
    with pytest.raises(ModelError, match="as many of a sketch mask, not 0"):
        colored(pipeline, Separation([], [FIGURE]))
    with pytest.raises(ModelError, match="no mode=foreground; it has: vanilla, style, split, background, full"):
        colored(pipeline, mode="foreground")


def test_every_control_changes_the_picture(pipeline: SeparatePipeline) -> None:
    usual = colored(pipeline)
    for settings in (
        {"foreground_strength": 0.5}, {"background_strength": 0.5}, {"merging_scale": 0.5}, {"background_factor": 0.5},
        {"background_factor": 2.0}, {"reference_threshold": 0.0}, {"reference_strength": 0.5},
        {"sketch_guidance_scale": 2.0}, {"injection": InjectionSettings()},
    ):  # fmt: skip
        assert off(colored(pipeline, **settings), usual) > 1e-3, settings
    soft = Separation([HALF * 0.5], [FIGURE])
    assert off(colored(pipeline, soft, sketch_threshold=0.6), colored(pipeline, soft)) > 1e-3
    separate = Separation([HALF], [FIGURE], [-REFERENCE])
    assert off(colored(pipeline, separate), usual) > 1e-3


def test_where_all_is_figure_the_background_changes_nothing(pipeline: SeparatePipeline) -> None:
    everything = torch.ones(1, 72, 80)
    first = colored(pipeline, Separation([everything], [FIGURE], [REFERENCE]), mode="background")
    assert torch.equal(first, colored(pipeline, Separation([everything], [FIGURE], [-REFERENCE]), mode="background"))
    assert off(colored(pipeline, Separation([1 - everything], [FIGURE]), mode="background"), first) > 1e-3


def test_the_style_of_a_background_of_its_own_is_blended_in_and_the_attention_left_alone(
    pipeline: SeparatePipeline,
) -> None:
    own = Separation([HALF], [FIGURE], [-REFERENCE])
    for mode in ("style", "full"):
        assert off(colored(pipeline, own, mode=mode, merging_scale=0.7), colored(pipeline, own, mode=mode)) > 1e-3
    # Without a style it is the attention that is blended, as of a reference without one.
    assert off(colored(pipeline, own, mode="split", merging_scale=0.7), colored(pipeline, own, mode="split")) > 1e-3
    split = _splits(pipeline, own, "full")
    assert split.merge == 0.0
    assert _splits(pipeline, own, "background").merge == 0.7
    assert _splits(pipeline, BOTH, "full").merges


def _splits(pipeline: SeparatePipeline, separation: Separation, mode: Any) -> Any:
    """What the network is told of figure and ground."""
    seen: list[Any] = []
    denoise = pipeline.model.denoise

    def watched(*inputs: Any, **options: Any) -> torch.Tensor:
        seen.append(options["split"])
        return denoise(*inputs, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.model, "denoise", watched)
        colored(pipeline, separation, mode=mode, merging_scale=0.7)
    return seen[0]


def test_each_encoder_sees_a_reference_once_whatever_the_steps_and_the_batches(pipeline: SeparatePipeline) -> None:
    calls: list[str] = []
    hooks = [
        getattr(pipeline.model, part).register_forward_pre_hook(lambda module, inputs, part=part: calls.append(part))
        for part in ("background_encoder", "style_encoder")
    ]
    settings = SamplingSettings(sampler="ddim", steps=3)
    separation = Separation([HALF] * 2, [FIGURE])
    list(pipeline.every([SKETCH] * 2, [REFERENCE], [1, 2, 3], settings, batch_size=2, separation=separation))
    for hook in hooks:
        hook.remove()
    assert sorted(calls) == ["background_encoder", "style_encoder"]


def test_a_picture_is_the_same_alone_and_in_a_batch(pipeline: SeparatePipeline) -> None:
    settings = SamplingSettings(sampler="ddim", steps=2, sketch_guidance_scale=1.5, merging_scale=0.4)
    assert_alone_as_in_a_batch(pipeline, settings)


def test_the_tokens_of_the_released_interface_are_shown_to_the_backgrounds_encoder(
    codec: ImageCodec, image_encoder: ReferenceEncoder
) -> None:
    """Of a background of its own: its own tokens; the released interface's are the reference's beside a style."""
    own = Separation([HALF], [FIGURE], [-REFERENCE])
    for released, mode, whose in (
        (False, "full", -REFERENCE),
        (True, "full", REFERENCE),
        (True, "background", -REFERENCE),
    ):
        found = pipeline_of(codec, image_encoder, V2_SIZES["tiny"], released)
        seen: list[torch.Tensor] = []
        hook = found.model.background_encoder.register_forward_pre_hook(
            lambda module, inputs, seen=seen: seen.append(inputs[1])
        )
        colored(found, own, mode=mode)
        hook.remove()
        torch.testing.assert_close(seen[0], found.image_encoder.encode([whose], "local"))


def test_a_network_colours_with_all_that_it_has_and_says_what_it_lacks(
    codec: ImageCodec, image_encoder: ReferenceEncoder
) -> None:
    bare = replace(V2_SIZES["tiny"], background=False, style=False)
    for config, mode in (
        (replace(bare, lora="off"), "vanilla"),
        (bare, "split"),
        (replace(bare, background=True), "background"),
        (replace(bare, style=True, lora="off"), "style"),
        (V2_SIZES["tiny"], "full"),
    ):
        assert usual_mode(config) == mode
        found = pipeline_of(codec, image_encoder, config)
        assert torch.equal(colored(found), colored(found, mode=mode))
    found = pipeline_of(codec, image_encoder, bare)
    with pytest.raises(ModelError, match="mode=full needs a background and a style encoder"):
        colored(found, mode="full")
    with pytest.raises(ModelError, match=r"v2\.background makes one"):
        colored(found, mode="background")


def test_split_encoders_read_the_reference_by_its_own_mask(codec: ImageCodec, image_encoder: ReferenceEncoder) -> None:
    found = pipeline_of(codec, image_encoder, replace(V2_SIZES["tiny"], split_encoders=True))
    first = colored(found, mode="style")
    assert off(colored(found, Separation([HALF], [1 - FIGURE]), mode="style"), first) < 1e-6, "one reference alone"
    # At a threshold of 0 the ground is blank whatever the mask: only the encoders read it.
    full = colored(found, reference_threshold=0.001)
    other = colored(found, Separation([HALF], [1 - FIGURE]), reference_threshold=0.001)
    assert off(full, other) > 1e-4


def test_less_memory_and_another_order_give_the_same_picture(
    codec: ImageCodec, image_encoder: ReferenceEncoder
) -> None:
    found = pipeline_of(codec, image_encoder, V2_SIZES["tiny"])
    usual = colored(found)
    assert torch.equal(colored(found.lower_memory(tiling=False)), usual)
    found.lower_memory(offload=False, tiling=False, slicing=False)
    assert off(colored(found.optimise()), usual) < 1e-4
