"""The learned operators of recipes: which network, by which convention, looking at what."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dataprep.errors import DataError
from dataprep.lines.region_map import RegionSettings
from dataprep.lines.strokes import StrokeSettings
from dataprep.operators.learned_columns import LearnedSettings
from dataprep.operators.operator import Operator, fingerprint
from dataprep.operators.row_input import RowInput
from dataprep.operators.styles import EXTRACTED, REWORKED, StyleSettings
from dataprep.pictures.decode import Picture, decode_png, encode_png
from dataprep.plan.columns import classical
from model.weights.catalogue import CATALOGUE
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from pipelines.extraction.learned_operators import EXTRACTORS, corpus_operators, network_names, with_weights
from pipelines.recipes.build_recipe import BuildRecipe, NetworkSettings
from pipelines.recipes.corpora import CORPUS_RECIPES
from pipelines.weights.store import combined_sha256
from tests.corpus_pictures import picture
from tests.model.golden import with_rule_weights


def named(recipe: BuildRecipe) -> dict[str, Operator]:
    return {operator.column: operator for operator in corpus_operators(recipe)}


def with_styles(**shares: float) -> BuildRecipe:
    return BuildRecipe(styles=StyleSettings(**shares))


def keep_weights(store: Path, name: str, conv_gain: float = 0.5) -> str:
    """Weights by rule in a store; their hash."""
    module, _, builder = CATALOGUE[name].network.partition(":")
    network = with_rule_weights(getattr(import_module(module), builder)(), conv_gain=conv_gain)
    path = store / f"{name}.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, path)
    from model.weights.reading import sha256

    files = {path.name: sha256(path)}
    record: dict[str, Any] = {"name": name, "files": files, "sha256": combined_sha256(files), "source": "by rule"}
    record |= {"source_sha256": files[path.name], "known_sha256": None, "licence": "none", "format": "safetensors"}
    (store / f"{name}.json").write_text(json.dumps(record))
    return record["sha256"]


@pytest.mark.parametrize("name", EXTRACTORS)
def test_every_extractor_has_weights_in_the_catalogue_and_its_convention(name: str) -> None:
    extractor = EXTRACTORS[name]
    module = import_module(f"model.extractors.{extractor.module}")
    assert extractor.convention in module.CONVENTIONS
    assert extractor.joined is None or len(extractor.weights) > 1
    assert extractor.own_weights.keys() <= module.CONVENTIONS.keys()
    for weights in (*extractor.weights, *(name for names in extractor.own_weights.values() for name in names)):
        assert CATALOGUE[weights].network.startswith(module.__name__)


def test_every_convention_can_be_written_into_a_snapshot() -> None:
    for extractor in EXTRACTORS.values():
        for name, convention in import_module(f"model.extractors.{extractor.module}").CONVENTIONS.items():
            settings = asdict(convention)
            assert settings["name"] == name
            assert json.loads(json.dumps(settings)) == {
                key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()
            }


def test_every_style_has_an_extractor_and_a_share() -> None:
    learned = {*EXTRACTED, *REWORKED}
    assert learned <= EXTRACTORS.keys()
    assert {field.name for field in fields(StyleSettings)} == learned | {"xdog", "xdog_common"}


def test_without_learned_columns_no_network_is_wanted() -> None:
    recipe = BuildRecipe()
    assert network_names(recipe) == []
    assert with_weights(recipe) == recipe
    assert [operator.column for operator in corpus_operators(recipe)] == [
        *(operator.column for operator in classical(recipe)),
        "region_map",
    ]


@pytest.mark.parametrize("name", CORPUS_RECIPES)
def test_every_recipe_makes_its_inputs_before_what_reads_them(name: str) -> None:
    seen: set[str] = set()
    for operator in corpus_operators(CORPUS_RECIPES[name]):
        assert {needed.column for needed in operator.inputs} <= seen
        seen.add(operator.column)


def test_missing_weights_are_named_with_the_command_before_work_starts(tmp_path: Path) -> None:
    recipe = replace(with_styles(keras=1), networks=NetworkSettings(weights=str(tmp_path)))
    with pytest.raises(PipelineError, match="irodori weights add sketch_keras hf://"):
        with_weights(recipe)


def test_a_store_named_by_the_environment_or_from_here_reaches_workers_as_a_whole_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_weights(tmp_path, "hed")
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("IRODORI_WEIGHTS", str(tmp_path))
    for given in ("", tmp_path.name):
        recipe = with_weights(replace(with_styles(hed=1), networks=NetworkSettings(weights=given)))
        assert recipe.networks.weights == str(tmp_path)


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="wd_swinv2_v3"):
        corpus_operators(BuildRecipe(learned=LearnedSettings(tagger="wd_swin_v3")))
    for asked, near in (("anime2scetch=released", "anime2sketch"), ("mask=rembg", "valid are: anime2sketch")):
        with pytest.raises(SettingsError, match=near):
            corpus_operators(replace(with_styles(anime2sketch=1), networks=NetworkSettings(conventions=(asked,))))
    wrong = NetworkSettings(conventions=("keras=originl-plain",))
    with pytest.raises(SettingsError, match="original-plain"):
        corpus_operators(replace(with_styles(keras=1), networks=wrong))


def test_weights_convention_and_shares_are_in_the_fingerprint_and_where_it_runs_is_not() -> None:
    recipe = replace(with_styles(hed=1), weights_sha256=("hed=aa",))
    base = fingerprint(named(recipe)["sketch_hed"])
    others = [
        replace(recipe, weights_sha256=("hed=bb",)),
        replace(recipe, networks=NetworkSettings(conventions=("hed=first-side",))),
        replace(recipe, styles=StyleSettings(hed=0.5)),
        replace(recipe, strokes=StrokeSettings(styles=("hed",))),
        replace(recipe, networks=NetworkSettings(precision="float16")),
    ]
    marks = [fingerprint(named(other)["sketch_hed"]) for other in others]
    assert len({base, *marks}) == 6
    other = replace(with_styles(anime2sketch=1), networks=NetworkSettings(precision="float16"))  # which does not hold
    single = named(with_styles(anime2sketch=1))["sketch_anime2sketch"]
    assert fingerprint(named(other)["sketch_anime2sketch"]) == fingerprint(single)
    elsewhere = NetworkSettings(device="cpu", actors=3, cpus=2, window=8, batch_megapixels=1, weights="s3://a/b")
    assert fingerprint(named(replace(recipe, networks=elsewhere))["sketch_hed"]) == base


def test_weights_that_are_known_to_be_others_than_the_published_show_in_the_operators_name(tmp_path: Path) -> None:
    sha256 = keep_weights(tmp_path, "hed")
    record = json.loads((tmp_path / "hed.json").read_text())
    (tmp_path / "hed.json").write_text(json.dumps(record | {"known_sha256": False}))
    recipe = with_weights(replace(with_styles(hed=1), networks=NetworkSettings(weights=str(tmp_path))))
    operator = named(recipe)["sketch_hed"]
    assert (operator.name, operator.weights) == ("hed (weights that are not the published ones)", f"hed:{sha256}")


def test_what_needs_a_sketch_of_every_row_is_refused_where_rows_would_have_none() -> None:
    with pytest.raises(DataError, match="not every row gets xdog"):
        corpus_operators(with_styles(xdog=0.5))
    nowhere = replace(with_styles(xdog=0, hed=0.9), regions=RegionSettings(lines=()))
    with pytest.raises(SettingsError, match="no style has the share 1"):
        corpus_operators(replace(nowhere, learned=LearnedSettings(sketch_mask="isnet_sketch")))
    assert "region_map" in named(replace(with_styles(xdog=0.5, hed=1), regions=RegionSettings(lines=("xdog", "hed"))))


def test_a_convention_of_other_weights_asks_for_those() -> None:
    recipe = with_styles(xdog_simplified=1)
    assert network_names(recipe) == ["simplify_gan"]
    other = replace(recipe, networks=NetworkSettings(conventions=("xdog_simplified=mse",)))
    assert network_names(other) == ["simplify_mse"]


def test_regions_of_line_art_that_is_not_made_are_refused() -> None:
    with pytest.raises(DataError, match="names xdog, which this recipe does not make"):
        corpus_operators(with_styles(xdog=0))


def test_a_simplified_sketch_is_made_from_the_one_it_is_named_for() -> None:
    made = named(with_styles(simplified=0.3, xdog_simplified=1))
    assert [needed.column for needed in made["sketch_simplified"].inputs] == ["sketch_keras"]
    assert [needed.column for needed in made["sketch_xdog_simplified"].inputs] == ["sketch_xdog"]
    assert made["sketch_keras"].settings["shares"] == {"simplified": 0.3}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    keep_weights(folder, "hed")
    return folder


def row(number: int, alpha: np.ndarray | None = None, columns: Mapping[str, bytes | None] | None = None) -> RowInput:
    pixels = picture(number)
    seen = Picture(pixels, alpha, source_is_plain_rgb=alpha is None)
    return RowInput(f"{number:064x}", encode_png(pixels), seen, columns=columns or {})


def test_a_network_from_the_store_gives_the_sketch_of_a_row(store: Path) -> None:
    recipe = with_weights(replace(with_styles(hed=1), networks=NetworkSettings(weights=str(store), device="cpu")))
    operator = named(recipe)["sketch_hed"]
    assert operator.network is not None
    operator.network.load()
    module = import_module("model.extractors.lines.hed")
    convention = module.CONVENTIONS[EXTRACTORS["hed"].convention]
    planes = torch.from_numpy(convention.prepare(row(1).picture.rgb)[None])
    with torch.inference_mode():
        expected = convention.infer(with_rule_weights(module.HED(), conv_gain=0.5), planes)[0].numpy()
    value = operator.value(row(1))
    assert value is not None
    np.testing.assert_allclose(decode_png(value) / 255, convention.finish(expected, (48, 64)), atol=0.6 / 255)


def test_rows_that_do_not_draw_a_style_have_none_and_about_its_share_does(store: Path) -> None:
    networks = NetworkSettings(weights=str(store), device="cpu")
    recipe = with_weights(replace(with_styles(hed=0.3), networks=networks))
    step = named(recipe)["sketch_hed"].network
    assert step is not None
    drawn = [number for number in range(400) if step.prepare(row(number)) is not None]
    assert 90 <= len(drawn) <= 150
    more = named(replace(recipe, styles=StyleSettings(hed=0.6)))["sketch_hed"].network
    assert more is not None
    assert all(more.prepare(row(number)) is not None for number in drawn)


def test_the_mask_is_the_sources_own_where_it_has_one_and_asked_of_the_network_elsewhere() -> None:
    operator = named(BuildRecipe(learned=LearnedSettings(mask="isnet_general")))["mask"]
    assert operator.network is not None
    alpha = np.zeros((48, 64), np.uint8)
    alpha[10:30] = 255
    assert operator.network.prepare(row(1, alpha)) is None
    np.testing.assert_array_equal(decode_png(operator.value(row(1, alpha)) or b""), alpha)
    planes = operator.network.prepare(row(1))
    assert planes is not None
    assert planes.shape == (3, 1024, 1024)


def test_a_sketch_that_another_is_made_from_must_be_there() -> None:
    step = named(with_styles(simplified=1))["sketch_simplified"].network
    assert step is not None
    with pytest.raises(DataError, match="there is no sketch_keras"):
        step.prepare(row(1, columns={"sketch_keras": None}))


def test_an_operator_whose_weights_were_not_looked_up_does_not_run() -> None:
    operator = named(with_styles(hed=1))["sketch_hed"]
    assert operator.weights is None
    with pytest.raises(DataError, match="not looked up"):
        operator.value(row(1))
