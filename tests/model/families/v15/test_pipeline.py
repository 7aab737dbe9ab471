"""What a call of v1.5 shows its network: the released interface's conditions, and what masks, modes and controls do."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from model.diffusion.sampling_settings import InjectionSettings, SamplingSettings
from model.diffusion.separation import Separation, without_figure
from model.errors import ModelError
from model.families.v15.network import V15
from model.families.v15.pipeline import SplitPipeline
from model.families.v15.sizes import V15_SIZES
from model.frozen.codec import ImageCodec
from model.frozen.image_encoder import ReferenceEncoder
from tests.model.families.parted import FIGURE, HALF, REFERENCE, SKETCH, assert_alone_as_in_a_batch
from tests.model.families.v15.golden import ruled_v15
from tests.model.golden import assert_golden, golden, off

# The golden conditions: our mode for each, and what else is set.
RELEASED: dict[str, dict[str, Any]] = {
    "plain": {"mode": "vanilla"},
    "bg_masked_reference": {"mode": "background"},
    "bg_masked_merge0.4": {"mode": "background", "merging_scale": 0.4},
    "bg_separate_image": {"mode": "background"},
    "fg_only": {"mode": "foreground"},
    "fg_and_bg": {"mode": "released-full"},
}
THRESHOLDS = {"reference_threshold": 0.5, "sketch_threshold": 0.3}


class GivenTokens(nn.Module):
    """The golden files' image encoder: known pictures have known tokens, and what it was shown is kept."""

    def __init__(self, known: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        super().__init__()
        self.known, self.shown, self.squash = known, list[torch.Tensor](), None

    def encode(self, images: Sequence[torch.Tensor], kind: str) -> torch.Tensor:
        """The tokens of each, (B, N, D)."""
        self.shown += images
        return torch.cat([self._one(image) for image in images])

    def _one(self, image: torch.Tensor) -> torch.Tensor:
        for picture, tokens in self.known:
            if picture.shape[-2:] == image.shape[-2:] and torch.equal(picture[0], image):
                return tokens
        raise AssertionError("a picture that the released code did not show its encoder")


@pytest.fixture(scope="module")
def model() -> V15:
    return ruled_v15()[0]


@pytest.mark.parametrize("name", list(RELEASED))
@torch.no_grad()
def test_conditions_and_branches_agree_with_the_released_interface(model: V15, codec: ImageCodec, name: str) -> None:
    tensors, _ = golden("v15_conditions")
    masked = golden("v15_conditions")[0]["bg_masked_reference.encoded_image_2"]
    encoder = GivenTokens(
        [
            (tensors["reference"], tensors["clip_full_reference"][:, 1:]),
            (masked, tensors["clip_local_masked_reference"]),
            (tensors["background"], tensors["clip_local_background"]),
        ]
    )
    pipeline = SplitPipeline(
        model, codec, encoder, prediction_type="eps", scaling_factor=codec.scaling_factor, released=True
    )
    settings = SamplingSettings(**RELEASED[name] | THRESHOLDS)
    own = tensors["background"][0] if name == "bg_separate_image" else None
    separation = Separation([torch.ones(1, 128, 192)], [tensors["rmask"][0]], [own])
    contexts = pipeline._contexts({0: tensors["reference"][0]}, settings, 4, separation)
    assert_golden(contexts[0].context, tensors[f"{name}.context"])
    if f"{name}.encoded_image_2" in tensors and own is None:
        assert torch.equal(encoder.shown[1], tensors[f"{name}.encoded_image_2"][0])

    # One step of the network, with the mask that the released code hands over.
    hints, z, t = model.encode_sketch(tensors["sketch"]), tensors["z"], tensors["t"]
    split = None
    if settings.mode != "vanilla":
        split = pipeline._split(tensors[f"{name}.mask"], settings)
        if settings.mode == "released-full":
            assert (split.foreground_lora, split.background_lora) == (1, 1)
    context = contexts[0].context
    projected = model.project(context) if split is None else model.project_split(context, split)
    assert_golden(model.denoise(z, t, hints, projected, split=split), tensors[f"{name}.raw_cond"])
    assert_golden(model.denoise(z, t, hints, None), tensors[f"{name}.raw_uncond_reference"])
    empty = model.encode_sketch(torch.full_like(tensors["sketch"], -1.0))
    assert_golden(model.denoise(z, t, empty, projected, split=split), tensors[f"{name}.raw_uncond_sketch"])


# ---- what masks and controls do -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pipeline(codec: ImageCodec, image_encoder: ReferenceEncoder) -> SplitPipeline:
    """A tiny one with random weights everywhere."""
    torch.manual_seed(6)
    network = V15(replace(V15_SIZES["tiny"], recovery="thesis"))
    for parameter in network.parameters():
        if not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.05)
    return SplitPipeline(network.eval(), codec, image_encoder, prediction_type="v", scaling_factor=codec.scaling_factor)


def colored(pipeline: SplitPipeline, separation: Separation | None = None, **settings: Any) -> torch.Tensor:
    chosen = SamplingSettings(sampler="ddim", steps=2, **settings)
    separation = separation or Separation([HALF], [FIGURE])
    return pipeline(SKETCH[None], [REFERENCE], [3], settings=chosen, separation=separation)[0]


def test_without_masks_only_vanilla_colours(pipeline: SplitPipeline) -> None:
    with pytest.raises(ModelError, match="mode=full parts figure from ground by masks"):
        pipeline(SKETCH[None], [REFERENCE], [3], steps=2)
    settings = SamplingSettings(sampler="ddim", steps=2, mode="vanilla")
    plain = pipeline(SKETCH[None], [REFERENCE], [3], settings=settings)
    assert torch.equal(plain[0], colored(pipeline, mode="vanilla")), "masks change nothing of it"


def test_every_control_changes_the_picture(pipeline: SplitPipeline) -> None:
    usual = colored(pipeline)
    for settings in (
        {"mode": "vanilla"}, {"mode": "foreground"}, {"mode": "background"}, {"mode": "released-full"},
        {"foreground_strength": 0.5}, {"background_strength": 0.5}, {"merging_scale": 0.5},
        {"reference_threshold": 0.0}, {"reference_strength": 0.5}, {"sketch_guidance_scale": 2.0},
    ):  # fmt: skip
        assert off(colored(pipeline, **settings), usual) > 1e-3, settings
    soft = Separation([HALF * 0.5], [FIGURE])
    assert off(colored(pipeline, soft, sketch_threshold=0.6), colored(pipeline, soft)) > 1e-3
    separate = Separation([HALF], [FIGURE], [-REFERENCE])
    assert off(colored(pipeline, separate), usual) > 1e-3


def test_a_reference_without_a_figure_is_background_as_a_whole(pipeline: SplitPipeline) -> None:
    nothing = Separation([HALF], [torch.zeros(1, 4, 4)])
    assert torch.equal(colored(pipeline, Separation([HALF], [None])), colored(pipeline, nothing))
    assert torch.equal(colored(pipeline, Separation([HALF])), colored(pipeline, nothing))


def test_where_all_is_figure_the_background_changes_nothing(pipeline: SplitPipeline) -> None:
    everything = torch.ones(1, 72, 80)
    first = colored(pipeline, Separation([everything], [FIGURE], [REFERENCE]))
    assert torch.equal(first, colored(pipeline, Separation([everything], [FIGURE], [-REFERENCE])))


def test_a_picture_is_the_same_alone_and_in_a_batch(pipeline: SplitPipeline) -> None:
    settings = SamplingSettings(sampler="ddim", steps=2, sketch_guidance_scale=1.5)
    assert_alone_as_in_a_batch(pipeline, settings)


def test_injection_reads_the_reference_by_its_own_mask(pipeline: SplitPipeline) -> None:
    # At a threshold of 0 the background is blank whatever the mask: only the injected pass reads it.
    first = colored(pipeline, injection=InjectionSettings(), reference_threshold=0.0)
    other = colored(pipeline, Separation([HALF], [1 - FIGURE]), injection=InjectionSettings(), reference_threshold=0.0)
    assert off(first, other) > 1e-3
    assert off(first, colored(pipeline)) > 1e-3


@pytest.mark.parametrize(
    ("separation", "said"),
    [
        (Separation([]), "1 pictures need as many of a sketch mask, not 0"),
        (Separation([HALF * 2]), "sketch mask 0 is not"),
        (Separation([HALF[0]]), "sketch mask 0 is not"),
        (Separation([HALF], [FIGURE, FIGURE]), "as many of a reference mask"),
        (Separation([HALF], [FIGURE], [REFERENCE] * 2), "as many backgrounds"),
        (Separation([torch.ones(1, 99, 99)], [FIGURE]), "larger than its picture"),
    ],
)
def test_masks_that_do_not_fit_are_refused(pipeline: SplitPipeline, separation: Separation, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        colored(pipeline, separation)


def test_a_figure_is_painted_white_up_to_the_threshold() -> None:
    picture, mask = torch.zeros(3, 1, 3), torch.tensor([[[0.0, 0.5, 1.0]]])
    assert without_figure(picture, mask, 0.5)[0, 0].tolist() == [0, 1, 1]
    assert without_figure(picture, mask, 0.6)[0, 0].tolist() == [0, 0, 1]
