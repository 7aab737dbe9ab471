"""The benchmarks of operators: what they measure is what a build runs, and what they show is what they say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.costs.networks import measure_network, network_operator, network_recipes
from benchmarks.costs.random_weights import TAGGERS, random_store
from benchmarks.extractors.__main__ import COLUMNS, classical_rows, in_turns, is_met, network_rows
from benchmarks.extractors.contact_sheet import CELL, Tile, available, colored, cut_out, sheet, shrunk_row, tiles
from benchmarks.peak_memory import added_mib
from model.weights.catalogue import CATALOGUE
from pipelines.extraction.learned_operators import EXTRACTORS
from pipelines.recipes.build_recipe import NetworkSettings
from pipelines.weights.store import find_stored
from tests.corpus_pictures import picture, write_pictures


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> NetworkSettings:
    """A store with the smallest network, random."""
    folder = tmp_path_factory.mktemp("weights")
    return NetworkSettings(weights=random_store(folder, ["lineart_sk"]), device="cpu")


def test_every_network_of_the_catalogue_that_makes_a_column_is_measured() -> None:
    measured = {name for _, names in network_recipes(NetworkSettings()).values() for name in names}
    assert measured == {name for extractor in EXTRACTORS.values() for name in extractor.weights}
    assert set(TAGGERS) == {name for name, entry in CATALOGUE.items() if entry.companions}


def test_a_random_store_is_one_that_a_build_takes(store: NetworkSettings) -> None:
    found = find_stored("lineart_sk", store.weights)
    assert found is not None
    assert found.source == "random numbers"
    operator, network = network_operator("sketch_lineart_sk", network_recipes(store)["sketch_lineart_sk"][0])
    value = operator.value(shrunk_row(encoded(), 40))
    assert value is not None
    assert value.startswith(b"\x89PNG")
    assert not network.network().training


def encoded() -> bytes:
    from dataprep.pictures.decode import encode_png

    return encode_png(picture(1, 48, 40))


def test_costs_of_a_network_grow_with_the_picture_where_it_is_fed_as_it_is(store: NetworkSettings) -> None:
    recipe = network_recipes(store)["sketch_lineart_sk"][0]
    costs = measure_network("sketch_lineart_sk", recipe, [picture(1, 32, 32)], (0.001, 0.002), 1)
    fixed, slope = costs["network"]["flops"]
    # 7x7 from 3 to 64 and from 64 to 1 at full size; 64 to 128 and back at a quarter; 128 to 256 and back, and six
    # 256 to 256 at a sixteenth; a product and its sum are two
    by_hand = 2 * (49 * 3 * 64 + 49 * 64 + 2 * 9 * 64 * 128 / 4 + (2 * 9 * 128 * 256 + 6 * 9 * 256 * 256) / 16) * 1e6
    assert (fixed + 0.0015 * slope) / 0.0015 == pytest.approx(by_hand, rel=0.15)
    assert costs["step"]["jpeg"]["bytes"][0] >= 0


def test_operators_are_measured_at_each_size_that_their_network_is_fed(store: NetworkSettings) -> None:
    recipe = network_recipes(store)["sketch_lineart_sk"][0]
    rows = network_rows("sketch_lineart_sk", recipe, picture(1, 32, 32), (32, 32, 48), 1, None)
    assert [row["fed"] for row in rows] == ["3x32x32", "3x48x48"]
    assert tuple(rows[0]) == COLUMNS
    assert rows[1]["GFLOP"] == pytest.approx(rows[0]["GFLOP"] * 2.25, rel=0.01)
    plain = classical_rows(["sketch_xdog", "region_map"], picture(1, 32, 32), (32,), 1)
    assert [row["operator"] for row in plain] == ["sketch_xdog", "region_map"]


def test_the_least_time_of_each_rival_counts() -> None:
    calls: list[str] = []
    assert set(in_turns({"one": lambda: calls.append("one"), "two": lambda: calls.append("two")}, 2)) == {"one", "two"}
    assert calls == ["one", "two", "two", "one", "one", "two"]


def test_what_takes_longer_than_warming_up_is_run_no_more_often_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.extractors.__main__.WARMED_S", 0.0)
    calls: list[str] = []
    given: dict[str, None] = {}
    took = in_turns({"one": lambda: calls.append("one"), "two": lambda: calls.append("two")}, 1, given)
    assert (calls, set(took), set(given)) == (["one", "two"], {"one", "two"}, {"one", "two"})


def test_the_bar_wants_equal_results_and_no_slower_ones() -> None:
    row = {"ratio": 1.2, "difference": 1e-6}
    assert is_met([row, {"ratio": None}]) is True
    assert is_met([row | {"ratio": 0.9}]) is False
    assert is_met([row | {"difference": 1e-3}]) is False
    assert is_met([{"ratio": None}]) is None


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from /proc of Linux")
def test_the_memory_that_work_adds_is_found() -> None:
    added = added_mib(lambda: np.ones(64 * 2**20, np.uint8))
    assert added == pytest.approx(64, abs=4)
    assert added_mib(lambda: torch.ones(2**20).sum()) == pytest.approx(4, abs=4)


def test_the_contact_sheet_draws_what_it_can_and_names_what_is_absent(tmp_path: Path, store: NetworkSettings) -> None:
    (first, *_) = sorted(write_pictures(tmp_path / "pictures", 1, height=60, width=80).glob("*.png"))
    recipes, absent = available(store)
    assert [line.split()[1] for line in absent][:3] == ["keras", "keras_plain", "keras_pured"]
    assert any("isnet_general (irodori weights get isnet_general" in line for line in absent)
    found = list(tiles(first, recipes, 40, ["lineart_sk"]))
    assert [tile.caption for tile in found] == [
        *(first.stem, "xdog", "xdog_common", "lineart_sk", "strokes evened: lineart_sk", "regions of xdog")
    ]
    assert {tile.rgb.shape for tile in found} == {(30, 40, 3)}
    page = sheet([found, found[:2]], absent)
    assert page.width > 6 * CELL


def test_regions_and_cut_outs_are_shown_as_what_they_are() -> None:
    shown = colored(np.array([[0, 1], [1, 2]]))
    assert not shown[0, 0].any()
    assert (shown[0, 1] == shown[1, 0]).all()
    assert (shown[0, 1] != shown[1, 1]).any()
    rgb = np.full((1, 2, 3), 100, np.uint8)
    assert cut_out(rgb, np.array([[255, 0]], np.uint8)).tolist() == [[[100, 100, 100], [255, 0, 255]]]
    assert sheet([[Tile("a", rgb)]], ()).getpixel((8, 22)) == (100, 100, 100)
    assert replace(Tile("a", rgb), caption="b").caption == "b"
