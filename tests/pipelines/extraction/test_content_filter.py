"""Filters that a network judges, in builds: what they drop, and what a change of them makes be read again."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dataprep.corpus_tools.info import open_snapshot
from dataprep.errors import DataError
from dataprep.pictures.identity import content_id
from model.extractors.labels.content import CONVENTIONS, verdict
from pipelines.common.errors import PipelineError
from pipelines.corpus_build.build import BuildReport, run_build
from pipelines.execution.ray_data import in_process
from pipelines.extraction.content_filter import content_mark, content_measure
from pipelines.extraction.learned_operators import with_weights
from pipelines.recipes.build_recipe import BuildRecipe, NetworkSettings
from pipelines.weights.intake import add
from tests.corpus_pictures import SMALL, picture, write_broken, write_pictures
from tests.model.extractors.labels.content_weights import lively_network

COUNT = 6


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return lively_network()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, network: nn.Module) -> Path:
    folder = tmp_path_factory.mktemp("store")
    save_file(network.state_dict(), folder / "by-rule.safetensors")
    add("nsfwjs", str(folder / "by-rule.safetensors"), str(folder))
    return folder


@pytest.fixture(scope="module")
def values(network: nn.Module) -> dict[str, list[float]]:
    """`drawing` and `unsafe` of each picture, by hand."""
    convention, found = CONVENTIONS["nsfwjs"], []
    with torch.inference_mode():
        for seed in range(COUNT):
            planes = torch.from_numpy(convention.prepare(picture(seed)))[None]
            found.append(verdict(convention.finish(network(planes)[0].numpy(), (48, 64))))
    return {name: [each[name] for each in found] for name in ("drawing", "unsafe")}


def middle(values: Sequence[float]) -> float:
    """A number with half of the values below it, well away from each."""
    low, high = sorted(values)[len(values) // 2 - 1 : len(values) // 2 + 1]
    assert high - low > 1e-3
    return (low + high) / 2


def filtered(store: Path, **filters: Any) -> BuildRecipe:
    return replace(
        SMALL, filters=replace(SMALL.filters, **filters), networks=NetworkSettings(weights=str(store), device="cpu")
    )


def kept(out: Path) -> set[str]:
    """Ids of the newest snapshot's rows."""
    return set(open_snapshot(str(out)).table("index")["id"].to_pylist())


def names(source: Path, places: Sequence[int]) -> set[str]:
    return {content_id((source / f"p{place:04d}.png").read_bytes()) for place in places}


def build(source: Path, out: Path, recipe: BuildRecipe) -> BuildReport:
    return run_build([str(source)], str(out), recipe, engine=in_process)


def test_pictures_below_the_least_and_above_the_most_are_rejects_and_only_they(
    tmp_path: Path, store: Path, values: dict[str, list[float]]
) -> None:
    source, out = write_pictures(tmp_path / "source", COUNT), tmp_path / "corpus"
    write_broken(source)
    least, most = middle(values["drawing"]), middle(values["unsafe"])
    drawn = [place for place, value in enumerate(values["drawing"]) if value > least]
    safe = [place for place, value in enumerate(values["unsafe"]) if value < most]

    report = build(source, out, filtered(store, min_drawing=least, max_unsafe=1.0))
    assert report.rejects == {"photograph": COUNT // 2, "unreadable": 1}
    assert kept(out) == names(source, drawn)

    again = build(source, out, filtered(store, max_unsafe=most))
    assert again.rejects == {"unsafe": COUNT // 2, "unreadable": 1}
    assert kept(out) == names(source, safe)
    assert again.pictures_read == 0  # other numbers, the same measures


def test_the_scan_is_made_anew_for_a_network_and_for_other_weights_and_kept_beside_the_one_without(
    tmp_path: Path, store: Path
) -> None:
    source, out = write_pictures(tmp_path / "source", COUNT), tmp_path / "corpus"
    without, asked = filtered(store), filtered(store, max_unsafe=1.0)
    reads = [build(source, out, recipe).pictures_read for recipe in (without, asked, without, asked)]
    assert reads == [COUNT, COUNT, 0, 0]

    same = with_weights(filtered(store, min_drawing=0.5))
    others = replace(asked, weights_sha256=(f"nsfwjs={'0' * 64}",))
    assert content_mark(same) == content_mark(with_weights(asked)) != content_mark(others)


def test_a_build_without_the_weights_names_the_command_that_brings_them(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "source", 1)
    with pytest.raises(PipelineError, match="irodori weights get nsfwjs"):
        build(source, tmp_path / "corpus", filtered(tmp_path / "empty", min_drawing=0.5))


def test_a_recipe_that_asks_for_no_content_takes_no_weights(tmp_path: Path) -> None:
    recipe = with_weights(filtered(tmp_path / "empty"))
    assert (recipe.weights_sha256, content_mark(recipe), content_measure(recipe)) == ((), None, None)


def test_weights_that_nobody_looked_up_are_told(store: Path) -> None:
    with pytest.raises(DataError, match="with_weights"):
        content_measure(filtered(store, min_drawing=0.5))
