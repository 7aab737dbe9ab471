"""A checkpoint comes back exactly, and anything foreign or damaged is one clear error."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoint import (
    CONFIG,
    EMA,
    WEIGHTS,
    CheckpointMetadata,
    load_checkpoint,
    metadata_of,
    read_metadata,
    save_checkpoint,
)
from model.diffusion.sampling_settings import SamplingSettings
from model.errors import ModelError
from model.families.v1.network import V1
from model.weights.reading import sha256
from pipelines.colorization.picture_settings import target_size
from tests.hostile_documents import assert_refused_or_read

Ruled = tuple[V1, dict[str, torch.Tensor]]
METADATA = CheckpointMetadata(
    stage="v1.noisy", size="tiny", scaling_factor=0.5, codec="tiny", image_encoder="tiny", code_version="abc1234"
)


@pytest.fixture
def saved(tmp_path: Path, ruled: Ruled) -> Path:
    save_checkpoint(tmp_path / "checkpoint", ruled[0], METADATA)
    return tmp_path / "checkpoint"


def rewrite(directory: Path, **changes: object) -> None:
    stored = json.loads((directory / CONFIG).read_text())
    (directory / CONFIG).write_text(json.dumps({**stored, **changes}))


@pytest.mark.seconds
def test_round_trip(saved: Path, ruled: Ruled) -> None:
    model, metadata = load_checkpoint(saved)
    assert metadata.network == ruled[0].config == model.config
    assert metadata == CheckpointMetadata(
        **{**METADATA.__dict__, "network": ruled[0].config, "weights_sha256": sha256(saved / WEIGHTS)}
    )
    assert not model.training
    for name, tensor in ruled[0].state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_saving_again_replaces_and_leaves_nothing_beside(saved: Path, ruled: Ruled) -> None:
    again = save_checkpoint(saved, ruled[0], CheckpointMetadata(**{**METADATA.__dict__, "images_seen": 64}))
    assert read_metadata(saved) == again
    assert again.images_seen == 64
    assert [path.name for path in saved.parent.iterdir()] == ["checkpoint"]


def test_a_failed_save_leaves_the_old_checkpoint(saved: Path, ruled: Ruled) -> None:
    unwritable = CheckpointMetadata(**{**METADATA.__dict__, "parent": object()})
    with pytest.raises(TypeError):
        save_checkpoint(saved, ruled[0], unwritable)
    assert load_checkpoint(saved)[1].parent is None
    assert [path.name for path in saved.parent.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(saved: Path, ruled: Ruled, wrong: float) -> None:
    tensors = {name: tensor.clone() for name, tensor in ruled[0].state_dict().items()}
    name = sorted(tensors)[3]
    tensors[name].view(-1)[0] = wrong
    save_file(tensors, saved / WEIGHTS)
    rewrite(saved, weights_sha256=sha256(saved / WEIGHTS))
    with pytest.raises(ModelError, match=f"{name} is not finite \\(1 of its .* numbers"):
        load_checkpoint(saved)
    with pytest.raises(ModelError, match=f"ema.safetensors: {name} is not finite"):
        save_checkpoint(saved.with_name("another"), ruled[0], METADATA, ema=tensors)
    assert [path.name for path in saved.parent.iterdir()] == ["checkpoint"]


def test_another_family_is_refused(saved: Path) -> None:
    rewrite(saved, family="rasc")
    with pytest.raises(ModelError, match=r"a checkpoint of family 'rasc'; there is no model family 'rasc': known: v1"):
        load_checkpoint(saved)


def test_a_folder_without_metadata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not a checkpoint, config.json is missing"):
        load_checkpoint(tmp_path)


def test_the_folder_of_a_run_names_the_checkpoint_in_it(saved: Path) -> None:
    with pytest.raises(ModelError, match=f"there is one in {saved}"):
        load_checkpoint(saved.parent)


def test_every_hostile_description_is_one_line_or_can_be_worked_with(saved: Path) -> None:
    def read(config: bytes) -> None:
        metadata = metadata_of(config, "here")
        assert target_size("autofit", (640, 480), (metadata.width, metadata.height)) >= (1, 1)
        assert len(f"{metadata.stage}{metadata.images_seen:,}{metadata.scaling_factor:g}") < 500

    counts = assert_refused_or_read(json.loads((saved / CONFIG).read_text()), read, "here")
    assert counts["refused"] > 200


def test_a_description_of_more_than_a_megabyte_is_not_parsed(saved: Path) -> None:
    with (saved / CONFIG).open("r+b") as file:
        file.truncate(1 << 32)  # sparse
    with pytest.raises(ModelError, match="bytes are no description of a checkpoint"):
        read_metadata(saved)


@pytest.mark.parametrize("text", ["{", "[]", '{"family": "v1"}', '{"family": "v1", "network": {"depth": 3}}'])
def test_metadata_that_make_no_sense_are_refused(saved: Path, text: str) -> None:
    (saved / CONFIG).write_text(text)
    with pytest.raises(ModelError, match="checkpoint"):
        load_checkpoint(saved)


def test_how_it_is_best_sampled_from_stands_over_what_nobody_sets(saved: Path) -> None:
    assert read_metadata(saved).own_sampling() == SamplingSettings()
    rewrite(saved, sampling={"steps": 4, "guidance_scale": 1.0})
    own = read_metadata(saved).own_sampling(SamplingSettings(steps=9, eta=0.5, sampler="ddim"))
    assert own == SamplingSettings(steps=4, guidance_scale=1.0, eta=0.5, sampler="ddim")


@pytest.mark.parametrize(
    ("sampling", "why"),
    [
        ([], "mapping"),
        ({"eta": 0.5}, "unknown entries eta"),
        ({"steps": "4"}, "sampling.steps should be a whole number"),
        ({"steps": 0}, "steps=0"),
        ({"sampler": "best"}, "there is no sampler"),
        ({"guidance_scale": -1.0}, "guidance_scale"),
    ],
)
def test_a_sampling_that_no_call_could_give_is_refused(saved: Path, sampling: object, why: str) -> None:
    rewrite(saved, sampling=sampling)
    with pytest.raises(ModelError, match=why):
        read_metadata(saved)


def test_one_flipped_bit_is_found(saved: Path) -> None:
    data = bytearray((saved / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (saved / WEIGHTS).write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        load_checkpoint(saved)


def test_a_file_cut_short_is_refused(saved: Path) -> None:
    (saved / WEIGHTS).write_bytes((saved / WEIGHTS).read_bytes()[:5000])
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        load_checkpoint(saved)


def test_a_missing_weight_file_is_named(saved: Path) -> None:
    (saved / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=r"model.safetensors: the weight file is missing"):
        load_checkpoint(saved)


def test_every_unmatched_key_is_listed(saved: Path) -> None:
    tensors = load_file(saved / WEIGHTS)
    tensors["unet.extra"] = tensors.pop("unet.conv_out.bias")
    save_file(tensors, saved / WEIGHTS)
    rewrite(saved, weights_sha256=sha256(saved / WEIGHTS))
    with pytest.raises(ModelError, match=r"missing: unet.conv_out.bias; unknown: unet.extra"):
        load_checkpoint(saved)


def test_the_moving_average_is_loaded_instead_where_it_is_asked_for(tmp_path: Path, ruled: Ruled) -> None:
    model, directory = ruled[0], tmp_path / "checkpoint"
    average = {name: tensor / 2 for name, tensor in model.state_dict().items()}
    saved = save_checkpoint(directory, model, METADATA, average)
    assert saved.ema_sha256 == sha256(directory / EMA)
    plain, averaged = load_checkpoint(directory)[0].state_dict(), load_checkpoint(directory, ema=True)[0].state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(plain[name], tensor)
        assert torch.equal(averaged[name], tensor / 2)


def test_a_checkpoint_without_a_moving_average_says_so(saved: Path) -> None:
    with pytest.raises(ModelError, match="holds no moving average"):
        load_checkpoint(saved, ema=True)
    assert not (saved / EMA).exists()


def test_a_moving_average_of_other_weights_is_refused(tmp_path: Path, ruled: Ruled) -> None:
    directory = tmp_path / "checkpoint"
    save_checkpoint(directory, ruled[0], METADATA, ruled[0].state_dict())
    tensors = load_file(directory / EMA)
    save_file(tensors | {"unet.conv_out.bias": tensors["unet.conv_out.bias"] + 1}, directory / EMA)
    with pytest.raises(ModelError, match=r"ema.safetensors: damaged"):
        load_checkpoint(directory, ema=True)
    load_checkpoint(directory)
