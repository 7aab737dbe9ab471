"""The recipes are the papers' numbers; the tiny column changes what it says it changes; nonsense is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest

from pipelines.common.overrides import SettingsError
from pipelines.recipes.stage_recipe import (
    STAGES,
    TINY,
    check_parent_given,
    configured,
    stage_recipe,
    with_length,
)

EVERY = [recipe for sizes in STAGES.values() for recipe in sizes.values()]


def test_the_base_size_is_trained_as_published() -> None:
    """ColorizeDiffusion 3.3 and 4.1; thesis 3.2 and 5.4."""
    for recipe in (STAGES["v1.noisy"]["base"], STAGES["v1.refine"]["base"]):
        assert (recipe.learning_rate, recipe.beta1, recipe.beta2, recipe.batch_size) == (1e-5, 0.9, 0.999, 256)
        assert (recipe.warmup_images, recipe.decay_images, recipe.flip_above) == (0, 0, 0.0)
        assert (recipe.rescale_max, recipe.sketch_crop_max, recipe.precision) == (1.3, 0.15, "bf16")


@pytest.mark.parametrize("size", ["base", "tiny"])
def test_conditions_and_drop_rates_are_the_papers_at_every_size(size: str) -> None:
    noisy, refine = STAGES["v1.noisy"][size], STAGES["v1.refine"][size]
    assert (noisy.noisy_reference, noisy.reference_drop, noisy.sketch_drop) == (True, 0.1, 0.0)
    assert (refine.noisy_reference, refine.reference_drop, refine.sketch_drop) == (False, 0.5, 0.1)
    assert (noisy.parent_stage, refine.parent_stage) == (None, "v1.noisy")


def test_epochs_are_five_and_two() -> None:
    assert [STAGES[stage]["base"].epochs for stage in ("v1.noisy", "v1.refine")] == [5, 2]


@pytest.mark.parametrize(
    ("stage", "tokens", "dropped"),
    [("v1.drop-0.5", "local", 0.5), ("v1.proj-0.1", "proj", 0.1), ("v1.cls-0.1", "cls", 0.1)],
)
@pytest.mark.parametrize("size", ["base", "tiny"])
def test_an_ablation_trains_as_long_as_both_stages_without_noise_on_the_reference(
    stage: str, tokens: str, dropped: float, size: str
) -> None:
    """Paper 002, section 4.2 and Table 1: seven epochs, the drop rate in the name, local or class tokens."""
    recipe, proposed = STAGES[stage][size], [STAGES[name][size] for name in ("v1.noisy", "v1.refine")]
    assert (recipe.reference_tokens, recipe.reference_drop, recipe.noisy_reference) == (tokens, dropped, False)
    assert recipe.parent_stage is None
    assert STAGES[stage]["base"].epochs == sum(STAGES[name]["base"].epochs for name in ("v1.noisy", "v1.refine")) == 7
    assert recipe.images == sum(part.images for part in proposed)


@pytest.mark.parametrize("size", ["base", "tiny"])
def test_without_border_crop_both_stages_differ_in_nothing_else(size: str) -> None:
    for stage, parent in (("v1.noisy", None), ("v1.refine", "v1.noisy-uncropped")):
        cropped, uncropped = STAGES[stage][size], STAGES[f"{stage}-uncropped"][size]
        assert (uncropped.sketch_crop_max, uncropped.parent_stage) == (0.0, parent)
        assert replace(uncropped, stage=stage, sketch_crop_max=0.15, parent_stage=cropped.parent_stage) == cropped


def test_what_the_papers_do_not_name_is_off() -> None:
    assert {(r.offset_noise, r.min_snr_gamma, r.ema_decay, r.flip_above) for r in EVERY} == {(0.0, 0.0, 0.0, 0.0)}


@pytest.mark.parametrize("stage", list(STAGES))
def test_the_tiny_size_changes_its_column_and_its_length_only(stage: str) -> None:
    base, tiny = STAGES[stage]["base"].flat(), STAGES[stage]["tiny"].flat()
    assert {key for key in base if base[key] != tiny[key]} <= TINY.keys() | {"images", "epochs", "decay_images"}


@pytest.mark.parametrize("recipe", EVERY, ids=lambda recipe: f"{recipe.stage}-{recipe.model_size}")
def test_a_recipe_is_json_and_says_its_own_name(recipe: Any) -> None:
    assert stage_recipe(recipe.stage, recipe.model_size) == recipe
    assert json.loads(json.dumps(recipe.flat()))["styles"] == ["drawn", "xdog"]


@pytest.mark.parametrize(("rows", "images"), [(1000, 5120), (256, 1280), (1, 256), (1024, 5120)])
def test_epochs_become_whole_batches_that_cover_them(rows: int, images: int) -> None:
    assert with_length(stage_recipe("v1.noisy", "base"), [rows]).images == images


@pytest.mark.parametrize("stage", [recipe.stage for recipe in EVERY if not recipe.noisy_reference])
def test_a_flip_without_reference_noise_is_refused(stage: str) -> None:
    with pytest.raises(SettingsError, match="flip_above needs noisy_reference=true"):
        configured(stage_recipe(stage), {"flip_above": "0.9"})
    assert configured(stage_recipe(stage), {"flip_above": "0.9", "noisy_reference": "true"}).flip_above == 0.9


def test_epochs_that_are_asked_for_count_also_where_the_recipe_counts_images() -> None:
    tiny = stage_recipe("v1.drop-0.5")
    assert tiny.images
    assert with_length(configured(tiny, {"epochs": "5"}), [80]).images == 400
    assert with_length(configured(tiny, {"epochs": "5", "images": "64"}), [80]).images == 64


def test_a_length_in_images_is_rounded_up_to_whole_batches() -> None:
    assert with_length(replace(stage_recipe("v1.noisy"), images=33, batch_size=16), [1000]).images == 48


def test_with_buckets_each_one_has_whole_batches() -> None:
    assert with_length(stage_recipe("v1.noisy", "base"), [600, 10]).images == (12 + 1) * 256


def test_the_papers_random_sizes_are_those_of_base_and_tiny_has_sizes_of_its_own() -> None:
    """Separating Reference Representations: random sizes between 768 and 1280."""
    base, tiny = stage_recipe("v1.noisy", "base"), stage_recipe("v1.noisy", "tiny")
    assert (base.sizes, base.width, base.height, base.size_range, base.size_multiple) == (
        "fixed",
        512,
        512,
        (768, 1280),
        64,
    )
    assert (tiny.sizes, tiny.size_range, tiny.size_multiple, tiny.bucket_sizes) == ("fixed", (96, 160), 8, ("tiny",))
    assert configured(base, {"size_range": "640,896", "sizes": "random"}).size_range == (640, 896)


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "fp16"},
        {"width": 100},
        {"width": 0},
        {"height": -8},
        {"reference_drop": 1.5},
        {"sketch_drop": -0.1},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"batch_size": 0},
        {"micro_batch": 0},
        {"checkpoint_images": 0},
        {"beta2": 1.0},
        {"images": -1},
        {"rescale_max": 0.5},
        {"sketch_crop_max": 0.5},
        {"styles": ()},
        {"seed": -1},
        {"sizes": "any"},
        {"bucket_weights": "none"},
        {"bucket_sizes": ("100x100",)},
        {"size_multiple": 12},
        {"size_range": (100, 160)},
        {"size_range": (160, 96)},
        {"reference_tokens": "full"},
        {"offset_noise": -0.1},
        {"min_snr_gamma": -1.0},
        {"ema_decay": 1.0},
    ],
    ids=str,
)
def test_a_recipe_that_cannot_work_is_refused(change: dict[str, Any]) -> None:
    name = next(iter(change))
    with pytest.raises(ValueError, match=name):
        replace(stage_recipe("v1.noisy"), **change)


@pytest.mark.parametrize(
    ("stage", "size", "told"),
    [("v1.nosy", "tiny", "v1.noisy"), ("xyz", "tiny", "v1.refine"), ("v1.noisy", "large", "base, tiny")],
)
def test_an_unknown_stage_or_size_names_the_valid_ones(stage: str, size: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        stage_recipe(stage, size)


def test_settings_change_a_recipe_but_not_what_it_is() -> None:
    recipe = stage_recipe("v1.noisy")
    assert configured(recipe, {"seed": "4"}) == replace(recipe, seed=4)
    for name in ("stage", "family", "model_size", "parent_stage"):
        with pytest.raises(SettingsError, match=name):
            configured(recipe, {name: "other"})


def test_a_stage_that_continues_another_needs_a_parent_and_a_fresh_one_may_have_weights_to_start_from() -> None:
    check_parent_given(stage_recipe("v1.noisy"), None)
    check_parent_given(stage_recipe("v1.noisy"), "weights/sd-2.1")
    check_parent_given(stage_recipe("v1.refine"), "runs/noisy")
    with pytest.raises(SettingsError, match="--from"):
        check_parent_given(stage_recipe("v1.refine"), None)
