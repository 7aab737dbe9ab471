"""From sketch and reference to a picture: seeds, batches, sizes, no reference, and the checkpoint's own words."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.checkpoint import CheckpointMetadata, save_checkpoint
from model.codec import ImageCodec
from model.config import V1_SIZES
from model.errors import ModelError
from model.image_encoder import ReferenceEncoder
from model.pipeline import ColorizationPipeline
from model.settings import SamplingSettings
from model.v1 import V1

# diffusers' schedulers hand tensors to numpy in a way that numpy 2 warns about
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

METADATA = CheckpointMetadata(
    stage="v1.noisy", size="tiny", scaling_factor=0.5, codec="tiny", image_encoder="tiny", code_version="abc1234"
)


@pytest.fixture(scope="module")
def pipeline(codec: ImageCodec, image_encoder: ReferenceEncoder) -> ColorizationPipeline:
    torch.manual_seed(5)
    model = V1(V1_SIZES["tiny"]).eval()
    for parameter in model.parameters():  # zero layers would hide the conditions
        if not parameter.abs().max() > 0:
            torch.nn.init.normal_(parameter, std=0.05)
    return ColorizationPipeline(model, codec, image_encoder, METADATA)


@pytest.fixture(scope="module")
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    sketches = torch.where(torch.rand(3, 1, 64, 48, generator=generator) < 0.1, 1.0, -1.0).expand(-1, 3, -1, -1)
    return sketches, torch.rand(3, 3, 50, 70, generator=generator) * 2 - 1


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference in units of 1/255 of the range."""
    return float((a - b).abs().max()) / 2 * 255


@pytest.mark.parametrize("sampler", ["dpmpp_2m_karras", "euler_a"])
def test_a_seed_gives_the_same_picture_alone_or_in_a_batch(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor], sampler: str
) -> None:
    sketches, references = pictures
    settings = SamplingSettings(sampler=sampler, steps=4)
    together = pipeline(sketches, references, [7, 8, 9], settings=settings)
    assert together.shape == sketches.shape
    assert together.abs().max() <= 1
    alone = pipeline(sketches[1:2], references[1:2], [8], settings=settings)
    assert apart(alone, together[1:2]) <= 2
    assert apart(pipeline(sketches[1:2], references[1:2], [9], settings=settings), alone) > 2


def test_reference_sketch_and_guidance_each_change_the_picture(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    sketches, references = pictures[0][:1], pictures[1][:1]
    base = pipeline(sketches, references, [1], steps=2)
    others = {
        "reference": pipeline(sketches, pictures[1][1:2], [1], steps=2),
        "sketch": pipeline(pictures[0][1:2], references, [1], steps=2),
        "guidance": pipeline(sketches, references, [1], steps=2, guidance_scale=1.0),
        "sketch guidance": pipeline(sketches, references, [1], 2, settings=SamplingSettings(sketch_guidance_scale=3)),
        "sketch strength": pipeline(sketches, references, [1], 2, settings=SamplingSettings(sketch_strength=0.5)),
        "reference strength": pipeline(sketches, references, [1], 2, settings=SamplingSettings(reference_strength=0.5)),
    }
    for name, other in others.items():
        assert apart(other, base) > 0.01, name


def test_without_a_reference_the_guidance_scale_means_nothing(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    sketches = pictures[0][:2]
    plain = pipeline(sketches, None, [1, 2], steps=2, guidance_scale=1.0)
    assert torch.equal(plain, pipeline(sketches, None, [1, 2], steps=2, guidance_scale=7.0))


@pytest.mark.parametrize("size", [(64, 50), (61, 48), (5, 3)])
def test_any_size_is_coloured_as_if_it_lay_in_the_middle_of_paper(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor], size: tuple[int, int]
) -> None:
    height, width = size
    whole = pictures[0][:1].new_full((1, 3, -(-height // 8) * 8, -(-width // 8) * 8), -1.0)
    top, left = (whole.shape[2] - height) // 2, (whole.shape[3] - width) // 2
    sketch = pictures[0][:1].repeat(1, 1, 1, 2)[..., :height, :width]
    whole[..., top : top + height, left : left + width] = sketch
    expected = pipeline(whole, pictures[1][:1], [3], steps=2)[..., top : top + height, left : left + width]
    assert torch.equal(pipeline(sketch, pictures[1][:1], [3], steps=2), expected)


def many(pictures: tuple[torch.Tensor, torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Three sketches of two sizes, and two references of two sizes."""
    sketches, references = pictures
    return [sketches[0], sketches[1, :, :50, :33], sketches[2]], [references[0], references[1, :, :20]]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_every_sketch_with_every_reference_is_what_each_is_alone(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor], batch_size: int
) -> None:
    sketches, references = many(pictures)
    settings = SamplingSettings(sampler="euler_a", steps=2, sketch_guidance_scale=1.5, reference_padding=1.5)
    found = list(pipeline.every(sketches, references, [4, 5], settings, batch_size))
    assert sorted(colored[:3] for colored in found) == list(itertools.product(range(3), range(2), [4, 5]))
    for sketch, reference, seed, picture in found:
        alone = pipeline(sketches[sketch][None], references[reference][None], [seed], settings=settings)[0]
        assert picture.shape == sketches[sketch].shape
        assert apart(picture, alone) <= 2


def test_sketches_without_a_reference_may_stand_beside_others(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    sketches, references = many(pictures)
    settings = SamplingSettings(steps=2)
    assert [colored[:3] for colored in pipeline.every(sketches[:1], [], [8], settings)] == [(0, None, 8)]
    found = list(pipeline.every(sketches, references, [8], settings, pairs=[(0, None), (2, 1), (0, 1), (2, None)]))
    assert [colored[:2] for colored in found] == [(0, None), (2, None), (0, 1), (2, 1)]
    for sketch, reference, seed, picture in found:
        other = None if reference is None else references[reference][None]
        assert apart(picture, pipeline(sketches[sketch][None], other, [seed], settings=settings)[0]) <= 2


@pytest.mark.parametrize("batch_size", [1, 4])
def test_every_sketch_and_every_reference_is_encoded_once(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor], batch_size: int
) -> None:
    encoded = {"sketch": 0, "reference": 0}

    def count(kind: str) -> Callable[[torch.nn.Module, tuple[torch.Tensor]], None]:
        return lambda _, inputs: encoded.update({kind: encoded[kind] + len(inputs[0])})

    sketches, references = many(pictures)
    hooks = [
        pipeline.model.sketch_encoder.register_forward_pre_hook(count("sketch")),
        pipeline.image_encoder.vit.register_forward_pre_hook(count("reference")),
    ]
    try:
        list(pipeline.every(sketches, references, [1, 2], SamplingSettings(steps=1), batch_size))
    finally:
        for hook in hooks:
            hook.remove()
    assert encoded == {"sketch": 3, "reference": 2}


def test_what_cannot_be_coloured_is_refused_before_any_picture_is_made(pipeline: ColorizationPipeline) -> None:
    sketch, reference = torch.zeros(3, 8, 8), torch.zeros(3, 9, 9)
    with pytest.raises(ModelError, match=r"sketch 1 is of shape \[1, 8, 8\], not \(3, height, width\)"):
        pipeline.every([sketch, sketch[:1]], [reference], [1])
    with pytest.raises(ModelError, match=r"reference 0 is of shape \[3, 9, 0\]"):
        pipeline.every([sketch], [reference[..., :0]], [1])
    with pytest.raises(ModelError, match="batch_size=0 is not at least 1"):
        pipeline.every([sketch], [reference], [1], batch_size=0)
    with pytest.raises(ModelError, match="there is no sketch"):
        pipeline(torch.zeros(0, 3, 8, 8), None, [])


def test_counts_that_do_not_fit_are_refused(pipeline: ColorizationPipeline) -> None:
    with pytest.raises(ModelError, match=r"2 sketches need as many seeds \(1\)"):
        pipeline(torch.zeros(2, 3, 64, 64), None, [1])
    with pytest.raises(ModelError, match=r"references \(1\)"):
        pipeline(torch.zeros(2, 3, 64, 64), torch.zeros(1, 3, 64, 64), [1, 2])


def test_a_pipeline_from_its_checkpoint_gives_the_same_picture(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "checkpoint", pipeline.model, METADATA)
    save_file(pipeline.codec.state_dict(), tmp_path / "codec.safetensors")
    (tmp_path / "codec.json").write_text('{"scaling_factor": 0.5}')
    visual = {f"visual.{name}": tensor for name, tensor in pipeline.image_encoder.vit.state_dict().items()}
    save_file(visual, tmp_path / "clip.safetensors")
    loaded = ColorizationPipeline.from_checkpoint(
        tmp_path / "checkpoint",
        codec_weights=tmp_path / "codec.safetensors",
        image_encoder_weights=tmp_path / "clip.safetensors",
    )
    sketches, references = pictures[0][:1], pictures[1][:1]
    assert torch.equal(loaded(sketches, references, [1], steps=2), pipeline(sketches, references, [1], steps=2))


def test_a_codec_of_another_scale_is_refused(codec: ImageCodec, image_encoder: ReferenceEncoder) -> None:
    with pytest.raises(ModelError, match="it is another codec"):
        ColorizationPipeline(V1(V1_SIZES["tiny"]), codec, image_encoder, replace(METADATA, scaling_factor=0.18215))
