"""Every setting acts: what a user can set changes what it says it changes, or is refused.

All settings classes of the product are found in its source, and all their fields are walked, so that a new setting
fails here until it has an effect. Those of corpora, samples and line art are changed one by one, and what they decide
is computed with and without the change; of all others it is held that code outside of their class reads them off their
own group (what they do there, the tests of that code hold).
"""

import ast
import importlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pyarrow as pa
import pytest

from dataprep.corpus.schema import SCAN_SCHEMA
from dataprep.faults import Failure, attempt
from dataprep.lines.line_art import LineArtSettings, read_line_art
from dataprep.operators.operator import fingerprint
from dataprep.operators.row_input import RowInput
from dataprep.pictures.assembled import coloring, shipped_templates, to_json
from dataprep.pictures.canvas import placed
from dataprep.pictures.decode import decode, encode_png
from dataprep.plan.filters import judge
from dataprep.plan.row_plan import make_plan
from dataprep.randomness import generator
from dataprep.samples.deformation import DeformationSettings, deform
from dataprep.samples.sample import training_sample
from dataprep.samples.sample_settings import SampleSettings
from dataprep.sources.choose import choose
from dataprep.sources.items import CANDIDATES
from pipelines.common.overrides import flatten, override
from pipelines.corpus_build.report import underfilled
from pipelines.extraction.learned_operators import corpus_operators
from pipelines.recipes.build_recipe import BuildRecipe
from tests.corpus_pictures import picture
from tests.dataprep.plan.test_row_plan import record
from tests.dataprep.sources.test_selection import candidates

ROOT = Path(__file__).parents[3]
PRODUCT = ("dataprep", "model", "eval", "pipelines", "jobs")


class Change(NamedTuple):
    """A value that differs from the default, and what else must be set for the setting to have a say."""

    value: Any
    beside: Mapping[str, Any] = {}


# ---- corpora: what columns hold -------------------------------------------------------------------------------------

DRAWN = {"regions.lines": "drawn"}
TREATED = {"strokes.styles": "drawn"}
PATCHES = DRAWN | {"regions.variant": "patches"}
THINNED = DRAWN | {"regions.thin": "true"}
WITHOUT_REGIONS = {"regions.lines": ""}
COLUMNS: dict[str, Change] = {
    "seed": Change(1),
    "xdog.sigma": Change(0.9),
    "xdog.tau": Change(0.99),
    "xdog.kappa": Change(1.6),
    "xdog.epsilon": Change(-1e-6),
    "xdog.phi": Change(1e4),
    "xdog.long_side": Change(64),
    "canvas.size": Change(96),
    "canvas.padding": Change("white", {"canvas.size": 96}),
    "styles.xdog": Change(0.5, WITHOUT_REGIONS),
    "styles.xdog_common": Change(0.5),
    "strokes.styles": Change("drawn"),
    "strokes.threshold": Change(60, TREATED),
    "strokes.gap": Change(0, TREATED),
    "strokes.angle": Change(1, TREATED),
    "strokes.width": Change(5, TREATED),
    "strokes.widest": Change(1, TREATED),
    "regions.lines": Change("xdog"),
    "regions.threshold": Change(100, DRAWN),
    "regions.variant": Change("patches"),
    "regions.schedule": Change([[5, "max"]], DRAWN),
    "regions.max_fills": Change(1, {"regions.lines": "xdog"}),
    "regions.max_rest": Change(1),
    "regions.merge_sweeps": Change(0),
    "regions.thin": Change("true", DRAWN),
    "regions.thin_sweeps": Change(1, THINNED),
    "regions.patch": Change(50, PATCHES),
}
# Columns by networks, whose weights are not at hand: they are made, and by another fingerprint.
NETWORKS: dict[str, Change] = {
    **{
        f"styles.{name}": Change(0.5)
        for name in (
            *("keras", "keras_plain", "keras_pured", "manga_line", "anime2sketch", "anime2sketch_improved"),
            *("lineart_sk", "hed", "simplified", "xdog_simplified"),
        )
    },
    "learned.mask": Change("isnetis"),
    "learned.sketch_mask": Change("isnet_sketch"),
    "learned.tagger": Change("wd_vit_v3"),
    "learned.aesthetic": Change("true"),
    "networks.conventions": Change("keras=port-plain", {"styles.keras": 1}),
    "networks.precision": Change("float16", {"styles.keras": 1}),
    "weights_sha256": Change("sketch_keras=" + "ab" * 32, {"styles.keras": 1}),
    "extra_operators": Change(f"{__name__}:blank_column"),
}


def changed(key: str, change: Change) -> BuildRecipe:
    recipe: BuildRecipe = override(BuildRecipe(), {**change.beside, key: change.value})
    return recipe


def drawing() -> np.ndarray:
    """Line art with broken, faint, slanted and wide strokes, and a ring that is open."""
    page = np.full((160, 200), 255, np.uint8)
    for number, gap in enumerate((3, 5, 7)):
        cv2.line(page, (10, 15 + 12 * number), (60, 15 + 12 * number), 0, 2)
        cv2.line(page, (60 + gap, 16 + 12 * number + number), (120, 20 + 12 * number), 0, 2)
    cv2.line(page, (10, 70), (120, 90), 150, 2)
    cv2.ellipse(page, (60, 120), (30, 24), 0, 8, 340, 0, 2)
    cv2.rectangle(page, (130, 20), (190, 80), 40, 7)
    for step in range(0, 60, 5):
        cv2.line(page, (125 + step, 95), (130 + step, 150), 20, 1)
    return page


SOURCE = encode_png(cv2.GaussianBlur(picture(5, 160, 200), (0, 0), 0.8).astype(np.uint8))
SKETCH = encode_png(drawing())
IDS = ["ab" * 32, "cd" * 32, "13" * 32]


def columns_of(recipe: BuildRecipe, *, computed: bool) -> dict[str, Any]:
    """Column -> fingerprint and, where they are computed, the values of three rows."""
    made = corpus_operators(recipe)
    if not computed:
        return {operator.column: fingerprint(operator) for operator in made}
    found: dict[str, Any] = {operator.column: [fingerprint(operator)] for operator in made}
    for row_id in IDS:
        shown, placement = placed(decode(SOURCE), recipe.canvas)
        values: dict[str, bytes | None] = {}
        for operator in made:
            row = RowInput(row_id, SOURCE, shown, drawn_sketch=SKETCH, columns=values, placement=placement)
            value = attempt(partial(operator.value, row))
            values[operator.column] = value if isinstance(value, bytes) else None
            found[operator.column].append(value)
    return found


def test_all_operators_work_on_the_row_that_settings_are_tried_on() -> None:
    recipe = override(BuildRecipe(), TREATED | {"styles.xdog_common": 1})
    assert not [value for values in columns_of(recipe, computed=True).values() for value in values if is_failure(value)]


def is_failure(value: Any) -> bool:
    return isinstance(value, Failure)


@pytest.mark.parametrize("key", COLUMNS)
def test_a_setting_of_columns_changes_a_value_and_its_fingerprint(key: str) -> None:
    before, after = (
        columns_of(recipe, computed=True)
        for recipe in (override(BuildRecipe(), COLUMNS[key].beside), changed(key, COLUMNS[key]))
    )
    differing = [column for column in before.keys() & after.keys() if before[column] != after[column]]
    differing += sorted(before.keys() ^ after.keys())
    assert differing
    told = [column for column in differing if before.get(column, [0])[0] != after.get(column, [0])[0]]
    shown = [column for column in differing if before.get(column, [0])[1:] != after.get(column, [0])[1:]]
    assert shown, "no value is another one"
    assert set(shown) <= set(told), "values differ under one fingerprint"


@pytest.mark.parametrize("key", NETWORKS)
def test_a_setting_of_networks_makes_another_column(key: str) -> None:
    before = columns_of(override(BuildRecipe(), NETWORKS[key].beside), computed=False)
    assert columns_of(changed(key, NETWORKS[key]), computed=False) != before


def blank_column(recipe: BuildRecipe, made: Mapping[str, Any]) -> Any:
    """An operator of somebody else's."""
    return importlib.import_module("dataprep.operators.operator").Operator("own", "own", 1, lambda row: None)


# ---- corpora: which pictures, and where they lie --------------------------------------------------------------------

SELECTED: dict[str, Change] = {
    "select.all_tags": Change("hat"),
    "select.any_tags": Change("hat"),
    "select.no_tags": Change("hat"),
    "select.ratings": Change("s"),
    "select.min_score": Change(5),
    "select.max_score": Change(5),
    "select.min_side": Change(500),
    "select.max_side": Change(500),
    "select.date_from": Change("2016"),
    "select.date_to": Change("2016"),
    "select.group_by": Change("pool"),
    "select.take_deleted": Change("true"),
    "select.take_banned": Change("true"),
}
FILTERED: dict[str, Change] = {
    "filters.min_side": Change(90),
    "filters.max_side": Change(900),
    "filters.max_aspect": Change(2),
    "filters.min_contrast": Change(50),
    "filters.min_chroma": Change(12),
    "filters.ratings": Change("g"),
    "filters.min_score": Change(3),
    "filters.max_score": Change(3),
    "filters.watermark_tags": Change("hat"),
    "filters.min_drawing": Change(0.5),
    "filters.max_unsafe": Change(0.5),
}
PLANNED: dict[str, Change] = {
    "filters.phash_distance": Change(0),
    "buckets.sizes": Change("xl"),
    "validation_share": Change(0.5),
    "shard_rows": Change(3),
    "batch_rows": Change(2),
}


def selection(recipe: BuildRecipe) -> Any:
    rows = [row | {"group": "a", "pool": "b"} for row in candidates(60, 0)]
    counts: Counter[str] = Counter()
    return choose(pa.Table.from_pylist(rows, CANDIDATES), recipe.select, counts), counts


def filtered(recipe: BuildRecipe) -> Any:
    known: dict[str, Any] = {
        "width": 100,
        "height": 80,
        "contrast": 100,
        "chroma": 60,
        "rating": "g",
        "score": 5.0,
        "drawing": 0.9,
    }
    known |= {"unsafe": 0.1, "tags": []}
    odd: tuple[dict[str, Any], ...] = (
        {"width": 950, "height": 400},
        {"width": 300},
        {"contrast": 20},
        {"chroma": 5},
        {"rating": "e"},
    )
    odd += ({"score": 1.0}, {"tags": ["hat"]}, {"drawing": 0.2}, {"unsafe": 0.9}, {})
    table = [record(number) | known | values for number, values in enumerate(odd)]
    return judge(pa.Table.from_pylist(table, SCAN_SCHEMA), recipe.filters)


def planned(recipe: BuildRecipe) -> Any:
    records = [record(number, width=100 + 9 * number) for number in range(20)]
    records[1]["phash"] = records[0]["phash"] ^ 1
    plan = make_plan(pa.Table.from_pylist(records, SCAN_SCHEMA), recipe)
    return plan.index(), plan.rejects, underfilled(plan, recipe.batch_rows)


DECIDED: dict[str, tuple[Change, Callable[[BuildRecipe], Any]]] = {
    **{key: (change, selection) for key, change in SELECTED.items()},
    **{key: (change, filtered) for key, change in FILTERED.items()},
    **{key: (change, planned) for key, change in PLANNED.items()},
}


@pytest.mark.parametrize("key", DECIDED)
def test_a_setting_of_rows_changes_which_there_are_or_where_they_lie(key: str) -> None:
    change, decide = DECIDED[key]
    assert decide(BuildRecipe()) != decide(changed(key, change))


def test_every_setting_of_a_corpus_is_tried() -> None:
    """Or is one of those that decide how a build runs, which are read as `networks` and `limits` (below)."""
    known = {key for key in flatten(asdict(BuildRecipe())) if key not in READ_OF_CORPORA}
    assert known == COLUMNS.keys() | NETWORKS.keys() | DECIDED.keys()


# ---- samples and line art -------------------------------------------------------------------------------------------

TURNED = {"pictures": ("sketch", "color", "deformed_reference")}
SAMPLED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # what differs, and what else must be set
    "width": ({"width": 64}, {}),
    "height": ({"height": 64}, {}),
    "rescale_max": ({"rescale_max": 2.0}, {}),
    "sketch_crop_max": ({"sketch_crop_max": 0.4}, {}),
    "styles": ({"styles": ("drawn",)}, {}),
    "simplified": ({"simplified": "instead"}, {"styles": ("drawn", "xdog", "simplified")}),
    "reference_size": ({"reference_size": 32}, {}),
    "pictures": ({"pictures": ("sketch", "color")}, {}),
    "reference_crop": ({"reference_crop": "joint"}, {}),
    "tags": ({"tags": True}, {}),
    "deformation": ({"deformation": DeformationSettings()}, TURNED),
    "recolored": ({"recolored": 1.0}, {}),
    "palette_references": ({"palette_references": 1.0}, {}),
}
ASSEMBLED = [{"assembly": to_json(coloring(template, 0, 0))} for template in list(shipped_templates().values())[:2]]
BENT: dict[str, Any] = {"grid": 3, "bend": 0.2, "flip": 1.0, "rotation": 90.0}
BENT |= {name: 0.5 for name in ("brightness", "contrast", "saturation", "hue")}
READ_AS: dict[str, dict[str, Any]] = {"polarity": {"polarity": "light"}, "levels": {"levels": False}}


@pytest.mark.parametrize("name", [entry.name for entry in fields(SampleSettings)])
def test_a_setting_of_samples_changes_a_sample(name: str) -> None:
    row: dict[str, Any] = {
        "id": "a",
        "color": SOURCE,
        "tags": ["hat"],
        "sketch_drawn": SKETCH,
        "sketch_xdog": encode_png(drawing().T),
    }
    row |= {"sketch_simplified": encode_png(255 - drawing())} | ASSEMBLED[0]
    difference, beside = SAMPLED[name]

    def shown(settings: SampleSettings) -> list[Any]:
        samples = [
            training_sample(row, settings, generator(0, number, "augment"), second=ASSEMBLED[1]) for number in range(6)
        ]
        return [
            (one.style, one.tags, [(key, value.shape, value.tobytes()) for key, value in one.pictures.items()])
            for one in samples
        ]

    assert shown(SampleSettings(**beside)) != shown(SampleSettings(**beside | difference))


@pytest.mark.parametrize("name", [entry.name for entry in fields(DeformationSettings)])
def test_a_setting_of_a_deformation_bends_or_colours_otherwise(name: str) -> None:
    before, after = (
        deform(picture(5), generator(0, 0, "bent"), settings)
        for settings in (DeformationSettings(), replace(DeformationSettings(), **{name: BENT[name]}))
    )
    assert (before != after).any()


@pytest.mark.parametrize("name", [entry.name for entry in fields(LineArtSettings)])
def test_a_setting_of_line_art_reads_it_otherwise(name: str) -> None:
    page = encode_png(cv2.addWeighted(drawing(), 0.6, np.full((160, 200), 90, np.uint8), 1.0, 0.0).astype(np.uint8))
    before, after = (
        read_line_art(page, settings) for settings in (LineArtSettings(), LineArtSettings(**READ_AS[name]))
    )
    assert (before.gray != after.gray).any()


# ---- all others: read off their own group ---------------------------------------------------------------------------

# Settings class -> the names under which code holds one.
HELD_AS: dict[str, tuple[str, ...]] = {
    "dataprep.corpus_tools.export_settings:ExportSettings": ("settings",),
    "dataprep.corpus_tools.tags:VocabularySettings": ("settings",),
    "dataprep.limits:LimitSettings": ("limits",),
    "eval.protocols.protocol:PublishedSettings": ("settings", "stated"),
    "model.diffusion.sampling_settings:InjectionSettings": ("injection", "settings"),
    "model.diffusion.sampling_settings:SamplingSettings": ("settings",),
    "model.families.v1.settings:V1Settings": ("settings",),
    "model.families.v1.settings:DistillSettings": ("settings",),
    "model.families.v15.settings:PartedSettings": ("settings",),
    "model.families.v15.settings:V15Settings": ("settings",),
    "model.families.v2.settings:BackboneSettings": ("settings",),
    "model.families.v2.settings:V2Settings": ("settings",),
    "model.optimizer:OptimizerSettings": ("settings", "optimizer"),
    "pipelines.colorization.picture_settings:PictureSettings": ("settings",),
    "pipelines.colorization.run_settings:RunSettings": ("run",),
    "pipelines.recipes.build_recipe:NetworkSettings": ("networks",),
    "pipelines.recipes.stage_settings:LengthSettings": ("length",),
    "pipelines.recipes.stage_settings:SizeSettings": ("samples",),
    "pipelines.recipes.stage_settings:TrainedSettings": ("settings", "optimizer"),
    "pipelines.recipes.stage_settings:WatchSettings": ("watch",),
}
TRIED = {  # above, one by one
    "dataprep.lines.line_art:LineArtSettings",
    "dataprep.lines.region_map:RegionSettings",
    "dataprep.lines.strokes:StrokeSettings",
    "dataprep.lines.xdog:XDoGSettings",
    "dataprep.operators.learned_columns:LearnedSettings",
    "dataprep.operators.styles:StyleSettings",
    "dataprep.pictures.canvas:CanvasSettings",
    "dataprep.plan.filters:FilterSettings",
    "dataprep.samples.buckets:BucketSettings",
    "dataprep.samples.deformation:DeformationSettings",
    "dataprep.samples.sample_settings:SampleSettings",
}
# What its own class hands on: the method that does, which others call.
HANDED_ON = {
    "BackboneSettings": {"preset": "phases", "phase_shares": "phases", "phase_drops": "phases"},
    "PictureSettings": {"sampling": "sampling"},
    "NetworkSettings": {"conventions": "convention"},
}
READ_OF_CORPORA = {
    f"{group}.{name}"
    for group, names in {
        "networks": ("weights", "device", "actors", "cpus", "per_gpu", "batch_megapixels", "window"),
        "limits": ("seconds_per_picture", "memory_bytes", "seconds_per_pass"),
    }.items()
    for name in names
}


def settings_classes(folder: str) -> set[str]:
    """Every dataclass of that name that the product has, as "module:Class"."""
    found = set()
    for file in sorted((ROOT / folder).rglob("*.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("Settings") and node.decorator_list:
                found.add(f"{module}:{node.name}")
    return found


def reads() -> dict[str, set[tuple[str, str]]]:
    """Attribute -> (what it is read off: the last name before the dot, the class in whose body that stands)."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for folder in PRODUCT:
        for file in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            owners = {
                inner: node.name for node in tree.body if isinstance(node, ast.ClassDef) for inner in ast.walk(node)
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    holder = node.value
                    name = holder.id if isinstance(holder, ast.Name) else getattr(holder, "attr", "")
                    found[node.attr].add((name, owners.get(node, "")))
    return found


@pytest.fixture(scope="module")
def read() -> dict[str, set[tuple[str, str]]]:
    return reads()


def test_every_settings_class_is_walked() -> None:
    found = {name for folder in PRODUCT for name in settings_classes(folder)}
    assert found == HELD_AS.keys() | TRIED


@pytest.mark.seconds
@pytest.mark.parametrize("name", HELD_AS)
def test_a_setting_is_read_off_its_group_outside_of_its_class(name: str, read: dict[str, set[tuple[str, str]]]) -> None:
    module, _, kind = name.partition(":")
    settings = getattr(importlib.import_module(module), kind)
    assert is_dataclass(settings)
    for entry in fields(settings):
        wanted = HANDED_ON.get(kind, {}).get(entry.name, entry.name)
        holders = {holder for holder, owner in read[wanted] if owner != kind}
        assert holders & set(HELD_AS[name]), f"{kind}.{entry.name} is read by nothing"
