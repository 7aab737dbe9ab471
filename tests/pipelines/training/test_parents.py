"""What a stage may start from, and what of it enters its network; what does not fit is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from model.backbone.config import ReferenceTokens as Tokens
from model.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from model.families.v1.network import V1
from model.families.v1.sizes import V1_SIZES
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.recipes.stages import stage_recipe
from pipelines.training.parents import checked_parent, frozen_weights, network_of, start_network
from pipelines.training.stage import plan_stage
from pipelines.weights.checkpoints import metadata_at
from tests.pipelines.training.untrained import write_checkpoint, write_parted_checkpoint

NOISY, REFINE, CLS, PROJ = (stage_recipe(stage) for stage in ("v1.noisy", "v1.refine", "v1.cls-0.1", "v1.proj-0.1"))


def checkpoint(
    folder: Path, stage: str, prediction_type: str = "v", noise_schedule: str = "stable-diffusion", **network: Any
) -> str:
    """A checkpoint of random weights that says it is of `stage`; `network` changes its sizes."""
    torch.manual_seed(1)
    metadata = CheckpointMetadata(
        stage=stage,
        size="tiny",
        scaling_factor=1.0,
        codec="tiny",
        image_encoder="tiny",
        code_version="test",
        prediction_type=prediction_type,  # type: ignore[arg-type]
        noise_schedule=noise_schedule,  # type: ignore[arg-type]
    )
    save_checkpoint(folder, V1(replace(V1_SIZES["tiny"], **network)), metadata)
    return str(folder)


@pytest.mark.parametrize("stage", ["stable-diffusion", "released"])
@pytest.mark.parametrize("recipe", [NOISY, CLS, PROJ], ids=lambda recipe: recipe.stage)
def test_fresh_stages_start_from_converted_checkpoints(tmp_path: Path, stage: str, recipe: StageRecipe) -> None:
    address = checkpoint(tmp_path / "converted", stage)
    assert checked_parent(recipe, address) == address
    assert checked_parent(recipe, None) is None


def test_the_output_of_a_run_is_found_below_its_address(tmp_path: Path) -> None:
    checkpoint(tmp_path / "run" / "checkpoint", "v1.noisy")
    assert checked_parent(REFINE, str(tmp_path / "run")) == str(tmp_path / "run" / "checkpoint")
    assert len(metadata_at(str(tmp_path / "run")).weights_sha256) == 64


@pytest.mark.parametrize(
    ("recipe", "stage", "told"),
    [
        (REFINE, "stable-diffusion", "v1.refine at this size continues v1 v1.noisy tiny"),
        (REFINE, "v1.noisy-uncropped", "continues v1 v1.noisy tiny"),
        (stage_recipe("v1.refine-uncropped"), "v1.noisy", "continues v1 v1.noisy-uncropped tiny"),
        (NOISY, "v1.noisy", "starts fresh, or from a checkpoint of v1 stable-diffusion tiny or v1 released tiny"),
        (replace(NOISY, model_size="base"), "stable-diffusion", "a checkpoint of v1 stable-diffusion base"),
    ],
    ids=["refine from SD", "refine from uncropped", "uncropped from cropped", "noisy from noisy", "another size"],
)
def test_a_parent_of_the_wrong_kind_is_refused_and_the_right_one_named(
    tmp_path: Path, recipe: StageRecipe, stage: str, told: str
) -> None:
    address = checkpoint(tmp_path / "other", stage)
    with pytest.raises(PipelineError, match=rf"is a v1 {stage} tiny checkpoint; .*{told}"):
        checked_parent(recipe, address)


def test_a_stage_that_continues_another_needs_it() -> None:
    with pytest.raises(SettingsError, match=r"continues v1\.noisy"):
        checked_parent(REFINE, None)


def test_weights_that_predict_something_else_are_refused_with_the_setting(tmp_path: Path) -> None:
    address = checkpoint(tmp_path / "eps", "stable-diffusion", prediction_type="eps")
    with pytest.raises(PipelineError, match="give --set prediction_type=eps"):
        checked_parent(NOISY, address)
    assert checked_parent(NOISY.changed(prediction_type="eps"), address) == address


def test_a_refinement_goes_on_under_its_parents_noise_and_a_fresh_start_may_leave_it(tmp_path: Path) -> None:
    noisy = checkpoint(tmp_path / "noisy", "v1.noisy", noise_schedule="zero-terminal")
    with pytest.raises(PipelineError, match="give --set noise_schedule=zero-terminal"):
        checked_parent(REFINE, noisy)
    assert checked_parent(REFINE.changed(noise_schedule="zero-terminal"), noisy) == noisy
    fresh = checkpoint(tmp_path / "sd", "stable-diffusion")
    assert checked_parent(NOISY.changed(noise_schedule="zero-terminal"), fresh) == fresh


def test_a_refinement_reads_the_tokens_that_its_parent_reads(tmp_path: Path) -> None:
    address = checkpoint(tmp_path / "cls", "v1.noisy", reference_tokens="cls")
    with pytest.raises(PipelineError, match="give --set reference_tokens=cls"):
        checked_parent(REFINE, address)
    assert checked_parent(REFINE.changed(reference_tokens="cls"), address) == address


def test_a_network_of_other_widths_is_refused(tmp_path: Path) -> None:
    address = checkpoint(tmp_path / "wide", "stable-diffusion", stem_widths=(8, 8, 16, 16, 32, 32, 32))
    with pytest.raises(PipelineError, match="network of other sizes"):
        checked_parent(NOISY, address)


def test_a_continued_network_is_its_parent(tmp_path: Path) -> None:
    folder = Path(write_checkpoint(tmp_path / "noisy"))
    started = start_network(REFINE, folder).state_dict()
    given = start_network(replace(REFINE, seed=3), folder).state_dict()
    assert started.keys() == V1(network_of(REFINE)).state_dict().keys()
    assert all(torch.equal(tensor, given[name]) for name, tensor in started.items())


@pytest.mark.parametrize("tokens", ["cls", "proj"])
def test_other_reference_tokens_keep_everything_that_both_networks_have(tmp_path: Path, tokens: Tokens) -> None:
    folder = Path(checkpoint(tmp_path / "sd", "stable-diffusion"))
    given = start_network(NOISY, folder).state_dict()
    recipe = NOISY.changed(reference_tokens=tokens)
    started = start_network(recipe, folder).state_dict()
    own = started.keys() - given.keys()
    assert all(torch.equal(started[name], given[name]) for name in started.keys() & given.keys())
    assert {name.split(".")[0] for name in own} == ({"projection"} if tokens == "proj" else set())
    left_out = {name.split("transformer_blocks.0.")[1] for name in given.keys() - started.keys()}
    unused = {"attn2.to_q.weight", "attn2.to_k.weight", "norm2.weight", "norm2.bias"}
    assert left_out == (unused if tokens == "cls" else set())


def test_a_parent_is_checked_by_what_it_records_before_its_weights_are_at_hand(tmp_path: Path) -> None:
    address = checkpoint(tmp_path / "noisy", "v1.noisy")
    (tmp_path / "noisy" / "model.safetensors").unlink()
    assert checked_parent(REFINE, address) == address


def test_frozen_weights_keep_the_parents_bytes_whatever_the_network_computes_in(tmp_path: Path) -> None:
    folder = Path(write_checkpoint(tmp_path / "noisy"))
    model = start_network(REFINE, folder)
    given = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained = {name for name in given if name.startswith("sketch_encoder.")}
    kept = frozen_weights(model.to(torch.bfloat16), trained, folder)
    assert kept.keys() == given.keys() - trained
    assert all(tensor.dtype == torch.float32 and torch.equal(tensor, given[name]) for name, tensor in kept.items())
    alone = frozen_weights(model, trained, None)
    assert alone.keys() == kept.keys()
    assert all(tensor.dtype == torch.bfloat16 for tensor in alone.values())
    assert frozen_weights(model, set(given), folder) == {}


def test_v15_begins_over_a_trained_v1_and_takes_all_of_it(tmp_path: Path) -> None:
    recipe = stage_recipe("v15.split")
    address = checkpoint(tmp_path / "refined", "v1.refine")
    assert checked_parent(recipe, address) == address
    released = checkpoint(tmp_path / "released", "released")
    assert checked_parent(recipe, released) == released
    below, above = load_checkpoint(Path(address))[0].state_dict(), start_network(recipe, Path(address)).state_dict()
    assert all(torch.equal(above[name], tensor) for name, tensor in below.items())
    with pytest.raises(PipelineError, match=r"v15\.split at this size begins with a checkpoint of v1 v1\.refine tiny"):
        checked_parent(recipe, checkpoint(tmp_path / "noisy", "v1.noisy"))
    with pytest.raises(SettingsError, match="begins with a trained network"):
        checked_parent(recipe, None)


def test_v15_goes_on_from_a_v15_whose_parts_are_its_own(tmp_path: Path) -> None:
    parted = write_parted_checkpoint(tmp_path / "parted")
    recipe = stage_recipe("v15.split").changed(prediction_type="eps")
    assert checked_parent(recipe, parted) == parted
    for setting, value in (("lora", "released-v15"), ("recovery", "released")):
        with pytest.raises(PipelineError, match=f"has {setting}=thesis, the recipe {setting}={value}"):
            checked_parent(recipe.changed(**{setting: value}), parted)


def test_a_corpus_that_lacks_masks_is_refused_before_anything_starts(
    tmp_path: Path, drawn_corpus: str, opaque_corpus: str
) -> None:
    recipe, parent = stage_recipe("v15.split"), checkpoint(tmp_path / "refined", "v1.refine")
    plan_stage(recipe, drawn_corpus, str(tmp_path / "out"), parent, 1)
    with pytest.raises(PipelineError, match=r"have no mask, which v15\.split needs of all: .*learned\.mask=isnetis"):
        plan_stage(recipe.changed(styles=("xdog",)), opaque_corpus, str(tmp_path / "out"), parent, 1)
