"""From sketch and reference to a picture: seeds, batches, sizes, no reference, and the checkpoint's own words."""

import copy
import itertools
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import save_file

from model.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from model.diffusion.injection import InjectionConditions, injection_conditions
from model.diffusion.pipeline import ColorizationPipeline
from model.diffusion.sampling_settings import InjectionSettings, SamplingSettings
from model.errors import ModelError
from model.families.family import RELEASED
from model.families.v1.family import FAMILY
from model.families.v1.network import V1
from model.families.v1.sizes import V1_SIZES
from model.frozen.codec import ImageCodec
from model.frozen.image_encoder import ReferenceEncoder, released_squash, squash
from model.frozen.roles import LOADERS

METADATA = CheckpointMetadata(
    stage="v1.noisy", size="tiny", scaling_factor=0.5, codec="tiny", image_encoder="tiny", code_version="abc1234"
)
TRAINED: dict[str, Any] = {"prediction_type": "eps", "scaling_factor": 0.5}  # as a checkpoint of it records


@pytest.fixture(scope="module")
def pipeline(codec: ImageCodec, image_encoder: ReferenceEncoder) -> ColorizationPipeline:
    torch.manual_seed(5)
    model = V1(V1_SIZES["tiny"]).eval()
    for parameter in model.parameters():  # zero layers would hide the conditions
        if not parameter.abs().max() > 0:
            torch.nn.init.normal_(parameter, std=0.05)
    return ColorizationPipeline(model, codec, image_encoder, **TRAINED)


@pytest.fixture(scope="module")
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    sketches = torch.where(torch.rand(3, 1, 72, 24, generator=generator) < 0.1, 1.0, -1.0).expand(-1, 3, -1, -1)
    return sketches, torch.rand(3, 3, 50, 70, generator=generator) * 2 - 1


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference in units of 1/255 of the range."""
    return float((a - b).abs().max()) / 2 * 255


INJECTED = {"injection": InjectionSettings(), "sketch_guidance_scale": 1.5}


@pytest.mark.parametrize(
    "changes",
    [
        {"sampler": "dpmpp_2m_karras"},
        {"sampler": "euler_a"},
        {"sampler": "dpmpp_2m_sde"},
        {"sampler": "dpm2_a"},
        {"sampler": "ddim", "eta": 1.0},
        {"sampler": "dpmpp_2m_karras"} | INJECTED,
        {"sampler": "dpmpp_2m_sde"} | INJECTED,
    ],
    ids=lambda changes: "-".join([changes["sampler"], *(name for name in changes if name != "sampler")]),
)
def test_a_seed_gives_the_same_picture_alone_or_in_a_batch(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor], changes: dict[str, Any]
) -> None:
    sketches, references = (some[[0, 1, 1]] for some in pictures)
    settings = SamplingSettings(steps=3, **changes)
    together = pipeline(sketches, references, [7, 8, 9], settings=settings)
    assert together.shape == sketches.shape
    assert together.abs().max() <= 1
    assert apart(pipeline(sketches[1:2], references[1:2], [8], settings=settings), together[1:2]) <= 2
    assert apart(together[1], together[2]) > 2


def test_references_of_several_sizes_come_as_a_sequence(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    sketches, references = pictures[0][:2], [pictures[1][0], pictures[1][1, :, :20]]
    together = pipeline(sketches, references, [7, 8], steps=1)
    assert apart(pipeline(sketches[1:], references[1][None], [8], steps=1), together[1:]) <= 2


def test_references_are_squashed_as_they_were_when_the_weights_were_trained(pipeline: ColorizationPipeline) -> None:
    networks = (pipeline.model, pipeline.codec, copy.deepcopy(pipeline.image_encoder))
    for released, way in ((True, released_squash), (False, squash)):
        assert ColorizationPipeline(*networks, **TRAINED, released=released).image_encoder.squash is way
    for stage, way in ((RELEASED, released_squash), ("v1.noisy", squash)):
        metadata = replace(METADATA, stage=stage)
        frozen = {"codec": networks[1], "image_encoder": networks[2]}
        assert FAMILY.colorist is not None
        FAMILY.colorist(networks[0], frozen, metadata)
        assert networks[2].squash is way


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
        "reference padding": pipeline(sketches, references, [1], 2, settings=SamplingSettings(reference_padding=1.5)),
        "injection": pipeline(sketches, references, [1], 2, settings=SamplingSettings(injection=InjectionSettings())),
    }
    for name, other in others.items():
        assert apart(other, base) > 0.01, name


def test_without_a_reference_the_guidance_scale_means_nothing(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    sketches = pictures[0][:2]
    plain = pipeline(sketches, None, [1, 2], steps=2, guidance_scale=1.0)
    assert torch.equal(plain, pipeline(sketches, None, [1, 2], steps=2, guidance_scale=7.0))


def test_without_a_reference_both_dual_rules_are_the_full_sketch_guidance(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    mean, added = (SamplingSettings(steps=1, sketch_guidance_scale=3.0, dual_rule=rule) for rule in ("mean", "sum"))
    sketches = pictures[0][:1]
    assert torch.equal(*(pipeline(sketches, None, [1], settings=settings) for settings in (mean, added)))


@pytest.mark.parametrize("side", [1, 16, 64])
def test_the_smallest_sketches_are_coloured_alone_as_in_a_batch(pipeline: ColorizationPipeline, side: int) -> None:
    """On so little paper a group norm of the tiny network would see one value, which torch refuses."""
    sketches = torch.full((2, 3, side, side), -1.0)
    sketches[1, :, side // 2 :] = 1
    levels: list[torch.Size] = []
    middle = pipeline.model.unet.mid_block
    assert middle is not None
    hook = middle.register_forward_pre_hook(lambda _, inputs: levels.append(inputs[0].shape[-2:]))
    try:
        together = pipeline(sketches, None, [1, 2], steps=2)
        alone = pipeline(sketches[1:], None, [2], steps=2)
    finally:
        hook.remove()
    assert alone.shape == (1, 3, side, side)
    assert apart(alone, together[1:]) <= 2
    assert all(level.numel() > 1 for level in levels)


@pytest.mark.parametrize("size", [(72, 18), (67, 24), (5, 3)])
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
    return [sketches[0], sketches[1, :, :70, :13], sketches[2]], [references[0], references[1, :, :20]]


@pytest.mark.parametrize(
    ("batch_size", "injection"),
    [
        (3, None),
        (100, InjectionSettings(sketch_strength=0.5)),
        pytest.param(2, InjectionSettings(), marks=pytest.mark.slow),
        pytest.param(1, None, marks=pytest.mark.slow),
    ],
)
def test_every_sketch_with_every_reference_is_what_each_is_alone(
    pipeline: ColorizationPipeline,
    pictures: tuple[torch.Tensor, torch.Tensor],
    batch_size: int,
    injection: InjectionSettings | None,
) -> None:
    sketches, references = many(pictures)
    settings = SamplingSettings(
        sampler="euler_a", steps=2, sketch_guidance_scale=1.5, reference_padding=1.5, injection=injection
    )
    found = list(pipeline.every(sketches, references, [4, 5], settings, batch_size))
    assert sorted(colored[:3] for colored in found) == list(itertools.product(range(3), range(2), [4, 5]))
    assert all(colored.picture.shape == sketches[colored.sketch].shape for colored in found)
    for sketch, reference, seed, picture in found[::5]:
        assert reference is not None
        alone = pipeline(sketches[sketch][None], references[reference][None], [seed], settings=settings)[0]
        assert apart(picture, alone) <= 2


def test_sketches_without_a_reference_may_stand_beside_others(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """A group without references, whose guidance is off, changes nothing for the groups of any size after it."""
    sketches, references = many(pictures)
    settings = SamplingSettings(steps=2, sketch_guidance_scale=2.0)
    assert [colored[:3] for colored in pipeline.every(sketches[:1], [], [8], settings)] == [(0, None, 8)]
    pairs: list[tuple[int, int | None]] = [(1, 0), (0, None), (2, 1), (0, 0), (1, None)]
    found = list(pipeline.every(sketches, references, [8], settings, pairs=pairs))
    assert [colored[:2] for colored in found] == [(0, None), (0, 0), (2, 1), (1, 0), (1, None)]
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


def test_what_injection_reads_stays_for_the_references_of_a_batch_only(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[InjectionConditions]] = []

    def watched(*arguments: Any) -> InjectionConditions:
        conditions = injection_conditions(*arguments)
        made.append(weakref.ref(conditions))
        return conditions

    monkeypatch.setattr("model.diffusion.pipeline.injection_conditions", watched)
    settings = SamplingSettings(steps=1, injection=InjectionSettings())
    kept = [
        sum(conditions() is not None for conditions in made)
        for _ in pipeline.every(list(pictures[0][:1]), list(pictures[1]), [1, 2], settings, batch_size=2)
    ]
    assert kept == [1] * 6
    assert len(made) == 3  # the seeds of a reference share it


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


@pytest.fixture
def own_pipeline(pipeline: ColorizationPipeline) -> ColorizationPipeline:
    """A pipeline that a test may change."""
    model, codec, image_encoder = copy.deepcopy((pipeline.model, pipeline.codec, pipeline.image_encoder))
    return ColorizationPipeline(model, codec, image_encoder, **TRAINED)


def test_offload_lets_each_network_compute_in_its_own_turn_with_equal_results(
    pipeline: ColorizationPipeline,
    own_pipeline: ColorizationPipeline,
    pictures: tuple[torch.Tensor, torch.Tensor],
) -> None:
    sketches, references = pictures
    settings = SamplingSettings(steps=2, injection=InjectionSettings())
    expected = pipeline(sketches, references, [1, 2, 3], settings=settings)
    seen = []
    own_pipeline.lower_memory(tiling=False, slicing=False)
    offload = own_pipeline.offload
    assert offload is not None
    networks = {"v1": own_pipeline.model, "codec": own_pipeline.codec, "encoder": own_pipeline.image_encoder}
    parts = {
        "v1": own_pipeline.model.unet,
        "hints": own_pipeline.model.sketch_encoder,
        "codec": own_pipeline.codec.autoencoder.decoder,
        "moments": own_pipeline.codec.autoencoder.encoder,
        "encoder": own_pipeline.image_encoder.vit,
    }
    for name, part in parts.items():
        part.register_forward_pre_hook(lambda *_, name=name: seen.append((name, offload.visitors)))
    made = own_pipeline(sketches, references, [1, 2, 3], settings=settings)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-4)  # a copy's weights are aligned otherwise in memory
    owners = {"v1": "v1", "hints": "v1", "codec": "codec", "moments": "codec", "encoder": "encoder"}
    assert {name for name, _ in seen} == set(owners)
    for name, visitors in seen:
        together = {"v1", "codec"} if name == "moments" else {owners[name]}
        assert visitors == {networks[other] for other in together}, name
    own_pipeline.lower_memory(offload=False)
    assert own_pipeline.offload is None


def test_slicing_and_channels_last_change_rounding_only(
    pipeline: ColorizationPipeline, own_pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    sketches, references = pictures
    expected = pipeline(sketches, references, [1, 2, 3], steps=2)
    own_pipeline.lower_memory(offload=True, tiling=False, slicing=True).optimise(channels_last=True)
    assert own_pipeline.model.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert apart(own_pipeline(sketches, references, [1, 2, 3], steps=2), expected) <= 2
    own_pipeline.optimise(channels_last=False)
    assert own_pipeline.model.unet.conv_in.weight.is_contiguous()


def test_tiling_takes_effect_on_pictures_larger_than_a_tile_only(
    pipeline: ColorizationPipeline, own_pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    own_pipeline.lower_memory(offload=False, tiling=True, slicing=False)
    one = (pictures[0][:1], pictures[1][:1], [1])
    assert torch.equal(own_pipeline(*one, steps=1), pipeline(*one, steps=1))
    large = torch.full((1, 3, 520, 8), -1.0)
    tiled, whole = (p(large, None, [1], steps=1) for p in (own_pipeline, pipeline))
    assert tiled.shape == whole.shape
    assert apart(tiled, whole) > 0


def test_bf16_weights_give_the_picture_but_for_rounding(
    pipeline: ColorizationPipeline, own_pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    for network in (own_pipeline.model, own_pipeline.codec, own_pipeline.image_encoder):
        network.to(torch.bfloat16)
    sketches, references = pictures
    expected = pipeline(sketches, references, [1, 2, 3], steps=2)
    found = own_pipeline(sketches, references, [1, 2, 3], steps=2)
    assert found.dtype == torch.float32
    # Random weights and a guidance scale of 4 magnify rounding; another seed is 124 levels of 255 away.
    assert (found - expected).abs().mean() / 2 * 255 < 8


@pytest.mark.seconds
def test_compilation_is_undone_when_it_is_no_longer_asked_for(own_pipeline: ColorizationPipeline) -> None:
    unet = own_pipeline.model.unet
    own_pipeline.optimise(compile=True)
    assert unet._compiled_call_impl is not None
    own_pipeline.optimise(compile=False)
    assert unet._compiled_call_impl is None


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_picture(
    pipeline: ColorizationPipeline, own_pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    own_pipeline.optimise(compile=True)
    one = (pictures[0][:1], pictures[1][:1], [1])
    assert apart(own_pipeline(*one, steps=2), pipeline(*one, steps=2)) <= 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU; run there: pytest -m gpu tests/model")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1), (torch.float16, 4), (torch.bfloat16, 8)])
@pytest.mark.parametrize("offload", [False, True])
def test_the_gpu_gives_what_the_cpu_gives(
    pipeline: ColorizationPipeline,
    own_pipeline: ColorizationPipeline,
    pictures: tuple[torch.Tensor, torch.Tensor],
    dtype: torch.dtype,
    tolerance: float,
    offload: bool,
) -> None:
    on_gpu = ColorizationPipeline(
        own_pipeline.model.to("cuda", dtype),
        own_pipeline.codec.to("cuda", dtype),
        own_pipeline.image_encoder.to("cuda", dtype),
        **TRAINED,
    )
    on_gpu.lower_memory(offload=offload, tiling=False).optimise()
    sketches, references = pictures
    expected = pipeline(sketches, references, [1, 2, 3], steps=2)
    found = on_gpu(sketches, references, [1, 2, 3], steps=2).cpu()
    assert (found - expected).abs().mean() / 2 * 255 < tolerance


@pytest.mark.parametrize("tokens", ["cls", "proj"])
def test_the_models_of_the_class_token_colour_too(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor], tokens: Literal["cls", "proj"]
) -> None:
    torch.manual_seed(4)
    model = V1(replace(V1_SIZES["tiny"], reference_tokens=tokens, projected_tokens=8)).eval()
    for parameter in model.parameters():
        if not parameter.abs().max() > 0:
            torch.nn.init.normal_(parameter, std=0.05)
    pipeline = ColorizationPipeline(model, pipeline.codec, pipeline.image_encoder, **TRAINED)
    sketches, references = pictures
    first = pipeline(sketches[:1], references[:1], [1], steps=1)
    assert apart(first, pipeline(sketches[:1], references[1:2], [1], steps=1)) > 0.01
    assert apart(first, pipeline(sketches[:1], None, [1], steps=1)) > 0.01


def test_a_pipeline_from_its_checkpoint_gives_the_same_picture(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "checkpoint", pipeline.model, METADATA)
    save_file(pipeline.codec.state_dict(), tmp_path / "codec.safetensors")
    (tmp_path / "codec.json").write_text('{"scaling_factor": 0.5}')
    visual = {f"visual.{name}": tensor for name, tensor in pipeline.image_encoder.vit.state_dict().items()}
    save_file(visual, tmp_path / "clip.safetensors")
    model, metadata = load_checkpoint(tmp_path / "checkpoint")
    frozen = {
        "codec": LOADERS["codec"](metadata.codec, tmp_path / "codec.safetensors"),
        "image_encoder": LOADERS["image_encoder"](metadata.image_encoder, tmp_path / "clip.safetensors"),
    }
    assert FAMILY.colorist is not None
    loaded = FAMILY.colorist(model, frozen, metadata)
    sketches, references = pictures[0][:1], pictures[1][:1]
    assert torch.equal(loaded(sketches, references, [1], steps=2), pipeline(sketches, references, [1], steps=2))


def test_what_the_checkpoint_says_of_its_sampling_holds_where_a_call_gives_no_settings(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    settings = SamplingSettings(sampler="ddim", steps=2, guidance_scale=1.0)
    own = ColorizationPipeline(pipeline.model, pipeline.codec, pipeline.image_encoder, sampling=settings, **TRAINED)
    sketches, references = pictures[0][:1], pictures[1][:1]
    assert torch.equal(own(sketches, references, [1]), pipeline(sketches, references, [1], settings=settings))


def test_noise_without_an_end_is_another_picture(
    pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    trained: dict[str, Any] = TRAINED | {"prediction_type": "v", "noise_schedule": "zero-terminal"}
    usual = ColorizationPipeline(
        pipeline.model, pipeline.codec, pipeline.image_encoder, **(TRAINED | {"prediction_type": "v"})
    )
    other = ColorizationPipeline(pipeline.model, pipeline.codec, pipeline.image_encoder, **trained)
    sketches, references = pictures[0][:1], pictures[1][:1]
    assert apart(other(sketches, references, [1], steps=2), usual(sketches, references, [1], steps=2)) > 0.01


def test_a_codec_of_another_scale_is_refused(codec: ImageCodec, image_encoder: ReferenceEncoder) -> None:
    with pytest.raises(ModelError, match="it is another codec"):
        ColorizationPipeline(V1(V1_SIZES["tiny"]), codec, image_encoder, prediction_type="eps", scaling_factor=0.18215)


@pytest.mark.parametrize("wrong", [torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.full((1, 3, 64, 64), 255.0)])
def test_bytes_are_no_pictures(pipeline: ColorizationPipeline, wrong: torch.Tensor) -> None:
    right = torch.zeros(1, 3, 64, 64)
    for kind, sketches, references in (("sketch", wrong, right), ("reference", right, wrong)):
        with pytest.raises(ModelError, match=rf"{kind} 0 does not hold floating-point numbers in \[-1, 1\]"):
            pipeline(sketches, references, [0])


@pytest.mark.parametrize("part", ["model", "codec"])
def test_a_picture_that_is_not_finite_is_an_error_and_never_black_or_white(
    own_pipeline: ColorizationPipeline, pictures: tuple[torch.Tensor, torch.Tensor], part: str
) -> None:
    weights = own_pipeline.model.unet.conv_out if part == "model" else own_pipeline.codec.autoencoder.decoder.conv_out
    torch.nn.init.constant_(weights.bias, float("inf"))  # an overflow, which a clamp would paint white
    with pytest.raises(ModelError, match="is not finite"):
        own_pipeline(pictures[0][:1], pictures[1][:1], [1], steps=1)
