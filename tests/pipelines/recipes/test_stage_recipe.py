"""The recipes are the papers' numbers; the tiny column changes what it says it changes; nonsense is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.families.v1.family import FAMILY
from model.families.v1.recipes import PUBLISHED, TINY
from pipelines.common.overrides import SettingsError
from pipelines.recipes.stage_recipe import StageRecipe, check_parent_given, configured, with_length
from pipelines.recipes.stages import stage_recipe

EVERY = [stage_recipe(stage, size) for stage in FAMILY.stages for size in ("base", "tiny")]
LENGTH = ("images", "epochs", "decay_images")
WRITTEN = Path(__file__).parents[2] / "assets" / "written_by_0_1" / "recipes.json"


def test_the_base_size_is_trained_as_published() -> None:
    """ColorizeDiffusion 3.3 and 4.1; thesis 3.2 and 5.4."""
    for recipe in (stage_recipe("v1.noisy", "base"), stage_recipe("v1.refine", "base")):
        optimizer, samples = recipe.optimizer, recipe.samples
        assert (optimizer.learning_rate, optimizer.beta1, optimizer.beta2) == (1e-5, 0.9, 0.999)
        assert (recipe.length.batch_size, optimizer.kind) == (256, "adamw")
        assert (optimizer.warmup_images, optimizer.decay_images, recipe.method.flip_above) == (0, 0, 0.0)
        assert (samples.rescale_max, samples.sketch_crop_max, optimizer.precision) == (1.3, 0.15, "bf16")


@pytest.mark.parametrize("size", ["base", "tiny"])
def test_conditions_and_drop_rates_are_the_papers_at_every_size(size: str) -> None:
    noisy, refine = stage_recipe("v1.noisy", size), stage_recipe("v1.refine", size)
    first, second = noisy.method, refine.method
    assert (first.noisy_reference, first.reference_drop, first.sketch_drop) == (True, 0.1, 0.0)
    assert (second.noisy_reference, second.reference_drop, second.sketch_drop) == (False, 0.5, 0.1)
    assert (noisy.parent_stage, refine.parent_stage) == (None, "v1.noisy")


def test_epochs_are_five_and_two() -> None:
    assert [stage_recipe(stage, "base").length.epochs for stage in ("v1.noisy", "v1.refine")] == [5, 2]


@pytest.mark.parametrize(
    ("stage", "tokens", "dropped"),
    [("v1.drop-0.5", "local", 0.5), ("v1.proj-0.1", "proj", 0.1), ("v1.cls-0.1", "cls", 0.1)],
)
@pytest.mark.parametrize("size", ["base", "tiny"])
def test_an_ablation_trains_as_long_as_both_stages_without_noise_on_the_reference(
    stage: str, tokens: str, dropped: float, size: str
) -> None:
    """Paper 002, section 4.2 and Table 1: seven epochs, the drop rate in the name, local or class tokens."""
    both = ("v1.noisy", "v1.refine")
    recipe, proposed = stage_recipe(stage, size), [stage_recipe(name, size) for name in both]
    method = recipe.method
    assert (method.reference_tokens, method.reference_drop, method.noisy_reference) == (tokens, dropped, False)
    assert recipe.parent_stage is None
    epochs = sum(stage_recipe(name, "base").length.epochs for name in both)
    assert stage_recipe(stage, "base").length.epochs == epochs == 7
    assert recipe.length.images == sum(part.length.images for part in proposed)


@pytest.mark.parametrize("size", ["base", "tiny"])
def test_without_border_crop_both_stages_differ_in_nothing_else(size: str) -> None:
    for stage, parent in (("v1.noisy", None), ("v1.refine", "v1.noisy-uncropped")):
        cropped, uncropped = stage_recipe(stage, size), stage_recipe(f"{stage}-uncropped", size)
        assert (uncropped.samples.sketch_crop_max, uncropped.parent_stage) == (0.0, parent)
        as_cropped = uncropped.changed(sketch_crop_max=0.15)
        assert replace(as_cropped, stage=stage, parent_stage=cropped.parent_stage) == cropped


def test_what_the_papers_do_not_name_is_off() -> None:
    methods = {(r.method.offset_noise, r.method.min_snr_gamma, r.method.flip_above) for r in EVERY}
    assert methods == {(0.0, 0.0, 0.0)}
    assert {r.optimizer.ema_decay for r in EVERY} == {0.0}


@pytest.mark.parametrize("stage", list(FAMILY.stages))
def test_the_tiny_size_changes_its_column_and_its_length_only(stage: str) -> None:
    base, tiny = stage_recipe(stage, "base").flat(), stage_recipe(stage, "tiny").flat()
    assert {key for key in base if base[key] != tiny.get(key)} <= TINY.keys() | PUBLISHED.keys() | {
        "model_size",
        *LENGTH,
    }


@pytest.mark.parametrize("recipe", EVERY, ids=lambda recipe: f"{recipe.stage}-{recipe.model_size}")
def test_a_recipe_is_json_and_says_its_own_name(recipe: Any) -> None:
    assert stage_recipe(recipe.stage, recipe.model_size) == recipe
    published = ["keras", "anime2sketch", "simplified"]
    known = json.loads(json.dumps(recipe.flat()))
    assert known["styles"] == (published if recipe.model_size == "base" else ["drawn", "xdog"])


@pytest.mark.parametrize(("rows", "images"), [(1000, 5120), (256, 1280), (1, 256), (1024, 5120)])
def test_epochs_become_whole_batches_that_cover_them(rows: int, images: int) -> None:
    assert with_length(stage_recipe("v1.noisy", "base"), [rows]).length.images == images


@pytest.mark.parametrize("stage", [recipe.stage for recipe in EVERY if not recipe.method.noisy_reference])
def test_a_flip_without_reference_noise_is_refused(stage: str) -> None:
    with pytest.raises(SettingsError, match="flip_above needs noisy_reference=true"):
        configured(stage_recipe(stage), {"flip_above": "0.9"})
    both = {"flip_above": "0.9", "noisy_reference": "true"}
    assert configured(stage_recipe(stage), both).method.flip_above == 0.9


def test_epochs_that_are_asked_for_count_also_where_the_recipe_counts_images() -> None:
    tiny = stage_recipe("v1.drop-0.5")
    assert tiny.length.images
    assert with_length(configured(tiny, {"epochs": "5"}), [80]).length.images == 400
    assert with_length(configured(tiny, {"epochs": "5", "images": "64"}), [80]).length.images == 64


def test_a_length_in_images_is_rounded_up_to_whole_batches() -> None:
    assert with_length(stage_recipe("v1.noisy").changed(images=33, batch_size=16), [1000]).length.images == 48


def test_with_buckets_each_one_has_whole_batches() -> None:
    assert with_length(stage_recipe("v1.noisy", "base"), [600, 10]).length.images == (12 + 1) * 256


def test_the_papers_random_sizes_are_those_of_base_and_tiny_has_sizes_of_its_own() -> None:
    """Separating Reference Representations: random sizes between 768 and 1280."""
    recipe = stage_recipe("v1.noisy", "base")
    base, tiny = recipe.samples, stage_recipe("v1.noisy", "tiny").samples
    assert (base.sizes, base.width, base.height, base.size_range, base.size_multiple) == (
        "fixed",
        512,
        512,
        (768, 1280),
        64,
    )
    assert (tiny.sizes, tiny.size_range, tiny.size_multiple, tiny.bucket_sizes) == ("fixed", (96, 160), 8, ("tiny",))
    assert configured(recipe, {"size_range": "640,896", "sizes": "random"}).samples.size_range == (640, 896)


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
        {"simplified": "always"},
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
        {"epochs": 0.0},
        {"kind": "sgd"},
    ],
    ids=str,
)
def test_a_recipe_that_cannot_work_is_refused(change: dict[str, Any]) -> None:
    name = next(iter(change))
    with pytest.raises(ValueError, match=name):
        stage_recipe("v1.noisy").changed(**change)


@pytest.mark.parametrize(
    ("stage", "size", "told"),
    [("v1.nosy", "tiny", "v1.noisy"), ("xyz", "tiny", "v1.refine"), ("v1.noisy", "large", "base, small, tiny")],
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


def test_a_setting_is_known_by_its_flat_name_and_by_that_of_its_group() -> None:
    recipe = stage_recipe("v1.noisy")
    assert configured(recipe, {"optimizer.beta1": "0.5"}) == configured(recipe, {"beta1": "0.5"})
    assert configured(recipe, {"beta1": "0.5"}).optimizer.beta1 == 0.5
    with pytest.raises(SettingsError, match=r"there is no setting 'learning_rat'.*did you mean learning_rate"):
        configured(recipe, {"learning_rat": "1"})


OLD = [recipe for recipe in EVERY if recipe.stage not in ("v1.palette", "v1.distill") and recipe.model_size != "small"]


@pytest.mark.parametrize("recipe", OLD, ids=lambda recipe: f"{recipe.stage}-{recipe.model_size}")
def test_a_recipe_is_written_as_version_0_1_wrote_it(recipe: StageRecipe) -> None:
    """Outputs of that version are compared with it key by key, so it may hold no other one either."""
    written = json.loads(WRITTEN.read_text())
    assert set(written) == {old.stage for old in OLD}
    known = json.loads(json.dumps(recipe.flat()))
    assert known == written[recipe.stage][recipe.model_size] | _published(recipe.model_size)


def _published(size: str) -> dict[str, Any]:
    """Version 0.1 had the sketches of the tiny size at the published one too."""
    return json.loads(json.dumps(PUBLISHED)) if size == "base" else {}


def test_a_run_of_the_published_size_goes_on_with_the_sketches_it_had() -> None:
    written = json.loads(WRITTEN.read_text())["v1.noisy"]["base"]
    as_it_was = configured(stage_recipe("v1.noisy", "base"), {"styles": "drawn,xdog", "simplified": "among"})
    assert json.loads(json.dumps(as_it_was.flat())) == written


def test_what_version_0_1_could_not_set_is_written_where_it_is_set() -> None:
    assert "kind" not in stage_recipe("v1.noisy").flat()
    assert stage_recipe("v1.noisy").changed(kind="adam").flat()["kind"] == "adam"


def test_a_stage_that_continues_another_needs_a_parent_and_a_fresh_one_may_have_weights_to_start_from() -> None:
    check_parent_given(stage_recipe("v1.noisy"), None)
    check_parent_given(stage_recipe("v1.noisy"), "weights/sd-2.1")
    check_parent_given(stage_recipe("v1.refine"), "runs/noisy")
    with pytest.raises(SettingsError, match="--from"):
        check_parent_given(stage_recipe("v1.refine"), None)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"learning_rate": "fast"}, r"^learning_rate=fast is not a number"),
        ({"width": "100"}, r"^width cannot be set so: width and height"),
        ({"learnin_rate": "1"}, r"^there is no setting 'learnin_rate': did you mean learning_rate\?"),
        ({"optimizer.learning_rate": "fast"}, r"^optimizer\.learning_rate=fast is not a number"),
    ],
)
def test_a_setting_is_refused_under_the_name_that_was_given(values: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        configured(stage_recipe("v1.noisy"), values)


def test_flat_and_dotted_names_set_the_same() -> None:
    flat = configured(stage_recipe("v1.noisy"), {"learning_rate": "0.5", "reference_drop": "0.25"})
    dotted = configured(stage_recipe("v1.noisy"), {"optimizer.learning_rate": "0.5", "method.reference_drop": "0.25"})
    assert flat == dotted
    assert (flat.optimizer.learning_rate, flat.method.reference_drop) == (0.5, 0.25)


def test_a_recipe_stands_on_disk_in_the_order_of_version_0_1() -> None:
    written = json.loads(WRITTEN.read_text())
    for stage, sizes in written.items():
        for size, values in sizes.items():
            now = [name for name in stage_recipe(stage, size).flat() if name in values]
            assert now == list(values)


def test_zero_terminal_noise_needs_a_network_that_predicts_v() -> None:
    with pytest.raises(SettingsError, match="needs prediction_type=v"):
        configured(stage_recipe("v1.palette", "base"), {"noise_schedule": "zero-terminal"})
    assert stage_recipe("v1.palette", "small").method.noise_schedule == "zero-terminal"
    assert "noise_schedule" not in stage_recipe("v1.palette", "tiny").flat()
