"""Forecasts worked by hand on a table of round numbers, and one held against a build that was timed."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.costs.__main__ import measure_steps
from benchmarks.costs.fitting import fitted, relative_line
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from pipelines.corpus_build.build import run_build
from pipelines.execution.cluster_file import WorkerGroup, group_for, read_cluster, this_machine
from pipelines.execution.ray_data import in_process
from pipelines.forecast.corpus import EFFICIENCY, SHARES, Forecast, Line, Request, forecast_corpus, pool_hours
from pipelines.forecast.measured import MIXES, CostTable, Linear, PictureMix, StepCost, load_costs, log_normal_mean
from pipelines.forecast.rates import TRAINING, RateGiven
from pipelines.forecast.text import document, duration_of_hours, text
from pipelines.forecast.training import forecast_stage, mean_area
from pipelines.recipes.corpora import CORPUS_RECIPES
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.recipes.stages import stage_recipe
from tests.corpus_pictures import picture, write_pictures

CLUSTER = Path(__file__).parents[3] / "ray_cluster.yaml"
PLAIN = CORPUS_RECIPES["plain"]


def toy(name: str, ms: tuple[float, float], size: tuple[float, float]) -> dict[str, StepCost]:
    """A JPEG costs this, a PNG twice as much."""
    jpeg = StepCost(Linear(*ms), Linear(*size))
    png = StepCost(Linear(2 * ms[0], 2 * ms[1]), Linear(2 * size[0], 2 * size[1]))
    return {"jpeg": jpeg, "png": png}


TABLE = CostTable(
    {"machine": "a toy", "date": "2030-01-01", "pictures": "none"},
    {
        "scan": toy("scan", (1, 2), (0, 100)),
        "read": toy("read", (0, 1), (0, 100)),
        "color": toy("color", (1, 0), (0, 100)),
        "sketch_xdog": toy("sketch_xdog", (2, 3), (10, 40)),
        "sketch_drawn": toy("sketch_drawn", (5, 5), (50, 50)),
        "mask": toy("mask", (4, 4), (20, 20)),
        "region_map": toy("region_map", (0, 100), (0, 30)),
        "row": toy("row", (0.5, 0), (200, 0)),
    },
    {"v1.base": {"flops": 1e12, "area": 512 * 512, "rates": {}}},
)
GROUP = WorkerGroup("cpu", machines=10, cpus=32, price=2.0)
ROWS = 256 * 3200  # 3,200 shards: ten for each of 320 cores


def ask(**changes: Any) -> Request:
    return replace(Request("plain", PLAIN, ROWS, PictureMix("toy", 2.0, 1.0, "given")), **changes)


def line(forecast: Forecast, step: str) -> Line:
    return next(line for phase in forecast.phases for line in phase.lines if line.step == step)


def test_milliseconds_and_bytes_are_those_of_the_lines() -> None:
    forecast = forecast_corpus(ask(), TABLE, GROUP)
    assert line(forecast, "sketch_xdog").ms == 2 + 3 * 2
    assert line(forecast, "sketch_xdog").core_hours == pytest.approx(ROWS * 8 / 1000 / 3600)
    assert line(forecast, "sketch_xdog").written_bytes == pytest.approx(ROWS * (10 + 40 * 2))
    assert line(forecast, "scan").read_bytes == pytest.approx(ROWS * 200)
    assert line(forecast, "mask").core_hours == 0  # no row brings one unless that is said
    half = forecast_corpus(ask(shares=SHARES | {"mask": 0.5}), TABLE, GROUP)
    assert line(half, "mask").core_hours == pytest.approx(ROWS / 2 * 12 / 3.6e6)


def test_a_mixture_of_jpeg_and_png_costs_what_its_parts_cost() -> None:
    quarter_png = ask(mix=PictureMix("toy", 2.0, 0.75, "given"))
    assert line(forecast_corpus(quarter_png, TABLE, GROUP), "region_map").ms == pytest.approx(200 * 1.25)


def test_hours_machine_hours_and_price_follow_from_core_hours() -> None:
    forecast = forecast_corpus(ask(), TABLE, GROUP)
    per_picture = {"scan": 1 + 2 * 2, "columns": 2 + 1 + 8 + 200 + 0.5}
    assert {phase.name: phase.core_hours for phase in forecast.phases} == pytest.approx(
        {name: ms * ROWS / 3.6e6 for name, ms in per_picture.items()}
    )
    columns = forecast.phases[1]
    assert columns.hours == pytest.approx(columns.core_hours / 320 / EFFICIENCY)
    assert forecast.machine_hours == pytest.approx(10 * forecast.hours)
    assert forecast.cost == pytest.approx(2.0 * forecast.machine_hours)
    assert forecast_corpus(ask(), TABLE, replace(GROUP, price=None)).cost is None
    with_head = forecast_corpus(ask(), TABLE, replace(GROUP, head_price=0.5))
    assert forecast.cost is not None
    assert with_head.cost == pytest.approx(forecast.cost + 0.5 * forecast.hours)


def test_few_tasks_use_few_machines_and_take_whole_waves() -> None:
    assert pool_hours(10.0, tasks=10, cores=4) == pytest.approx(3 * 1.0 / EFFICIENCY)
    assert pool_hours(10.0, tasks=10, cores=400) == pytest.approx(1.0 / EFFICIENCY)
    small = forecast_corpus(ask(rows=256 * 33), TABLE, GROUP)
    assert small.phases[1].machine_hours == pytest.approx(2 * small.phases[1].hours)


def test_requests_are_counted_from_the_layout() -> None:
    forecast = forecast_corpus(ask(), TABLE, GROUP)
    assert line(forecast, "list the source").lists == math.ceil(ROWS / 1000)
    assert line(forecast, "scan").gets == line(forecast, "read and decode").gets == ROWS
    assert [line(forecast, column).puts for column in ("color", "sketch_xdog", "region_map", "row")] == [3200] * 4
    totals = document(forecast)["totals"]
    scan_tasks = ROWS // 1024
    assert totals["puts"] == 6 * 3200 + 50 + 5 + scan_tasks + math.ceil(scan_tasks / 64)
    on_disk = document(forecast_corpus(ask(store="disk"), TABLE, GROUP))["totals"]
    assert (on_disk["gets"], on_disk["puts"], on_disk["lists"]) == (0, 0, 0)
    assert on_disk["written_bytes"] == totals["written_bytes"]


def test_a_rebuild_renews_a_column_with_what_hangs_on_it_and_reads_upstream() -> None:
    regions = forecast_corpus(ask(rebuild=("region_map",)), TABLE, GROUP)
    assert [phase.name for phase in regions.phases] == ["columns"]
    found = {line.step for line in regions.phases[0].lines if line.puts and line.ms}
    assert found == {"region_map"}
    assert line(regions, "region_map").gets == 2 * 3200  # drawn and XDoG lines of each shard
    lines = forecast_corpus(ask(rebuild=("sketch_xdog",)), TABLE, GROUP)
    assert line(lines, "region_map").gets == 3200
    with pytest.raises(SettingsError, match="did you mean region_map"):
        forecast_corpus(ask(rebuild=("region_mop",)), TABLE, GROUP)


def test_an_operator_that_nobody_measured_is_named() -> None:
    less = replace(TABLE, steps={name: cost for name, cost in TABLE.steps.items() if name != "region_map"})
    with pytest.raises(PipelineError, match="no measurement of 'region_map'"):
        forecast_corpus(ask(), less, GROUP)


def test_the_text_says_what_is_measured_assumed_and_unknown() -> None:
    told = text(forecast_corpus(ask(), TABLE, replace(GROUP, price=None)))
    assert "no price known: give --price cpu=AMOUNT" in told
    assert "measured: milliseconds and bytes of one core of a toy, 2030-01-01" in told
    assert "2.00 megapixels a picture in the mean, 100% JPEG (given)" in told
    assert "assumed: 0% of the rows bring a mask" in told
    assert json.loads(json.dumps(document(forecast_corpus(ask(), TABLE, GROUP))))["rows"] == ROWS


def test_the_mean_of_a_log_normal_is_the_textbook_one() -> None:
    assert log_normal_mean(1.0, 0.8) == pytest.approx(1.3771, abs=1e-4)
    assert MIXES["danbooru"].megapixels == log_normal_mean(1.0, 0.8)


def published(stage: str, **changes: Any) -> StageRecipe:
    """The stage at the published size, on sketches whose costs TABLE has."""
    return stage_recipe(stage, "base").changed(styles=("drawn", "xdog"), **changes)


def test_a_stage_takes_its_images_over_the_rate_of_all_devices() -> None:
    group = WorkerGroup("gpu", machines=2, cpus=96, gpus=8, price=30.0)
    given = RateGiven(images_per_s=10.0)
    mix = PictureMix("toy", 2.0, 1.0, "given")
    forecast = forecast_stage(published("v1.noisy"), 1_000_000, TABLE, group, mix, given, SHARES)
    images = math.ceil(5_000_000 / 256) * 256
    assert forecast.hours == pytest.approx(images / 160 / 3600)
    assert forecast.cost == pytest.approx(forecast.hours * 2 * 30)
    assert not forecast.estimate
    # colour, drawn and XDoG lines; of a row group of 16 rows, no row with drawn lines
    assert line(forecast, "read samples").read_bytes == pytest.approx(images * 16 * (200 + 90))
    assert line(forecast, "read samples").gets == images * 3


def test_without_a_measured_rate_operations_over_a_share_of_the_peak_are_an_estimate() -> None:
    group = WorkerGroup("gpu", machines=1, cpus=96, gpus=8, instance="p5.48xlarge")
    mix, recipe = PictureMix("toy", 2.0, 1.0, "given"), published("v1.refine")
    forecast = forecast_stage(recipe, 1000, TABLE, group, mix, RateGiven(), SHARES)
    assert forecast.estimate
    assert forecast.hours == pytest.approx(2048 / (989e12 * TRAINING / 1e12 * 8) / 3600)
    assert "estimate: " in text(forecast)
    with pytest.raises(PipelineError, match="give --images-per-second"):
        forecast_stage(recipe, 1000, TABLE, replace(group, instance="x"), mix, RateGiven(), SHARES)


def test_a_measured_rate_is_scaled_to_the_size_of_samples() -> None:
    rate = {"images_per_s": 8.0, "device": "toy", "date": "2030-01-01"}
    table = replace(TABLE, training={"v1.base": {"flops": 1e12, "area": 512 * 512, "rates": {"cuda": rate}}})
    group, mix = WorkerGroup("gpu", 1, 8, gpus=1), PictureMix("toy", 2.0, 1.0, "given")
    recipe = published("v1.noisy", width=1024, height=512, images=2560)
    assert forecast_stage(recipe, 9, table, group, mix, RateGiven(), SHARES).hours == pytest.approx(2560 / 4 / 3600)
    assert mean_area(recipe.changed(sizes="random")) == 1024 * 1024
    assert mean_area(recipe.changed(sizes="buckets", bucket_sizes=("512x512", "512x1024"))) == 1.5 * 512 * 512


def test_a_rate_of_another_gpu_is_an_estimate_and_one_of_the_same_is_not() -> None:
    mix, recipe = PictureMix("toy", 2.0, 1.0, "given"), published("v1.refine")
    group = WorkerGroup("gpu", 1, 8, gpus=1, instance="p5.48xlarge")
    hours = 256 / 8 / 3600
    for device, ratio in (("NVIDIA H100 80GB HBM3", 1.0), ("NVIDIA A100-SXM4-80GB", 989 / 312)):
        rate = {"images_per_s": 8.0, "device": device, "date": "2030-01-01"}
        table = replace(TABLE, training={"v1.base": {"flops": 1e12, "area": 512 * 512, "rates": {"cuda": rate}}})
        forecast = forecast_stage(recipe, 9, table, group, mix, RateGiven(), SHARES)
        assert forecast.hours == pytest.approx(hours / ratio)
        assert forecast.estimate == (ratio != 1)
        assert f"on one {device}, 2030-01-01" in text(forecast)
        unknown = forecast_stage(recipe, 9, table, replace(group, instance=""), mix, RateGiven(), SHARES)
        assert unknown.hours == pytest.approx(hours)
        assert unknown.estimate is True


def test_the_cluster_file_gives_groups_and_takes_prices() -> None:
    groups = read_cluster(str(CLUSTER), {"cpu_worker": 1.25})
    cpu, gpu = group_for(groups, gpus=False), group_for(groups, gpus=True)
    assert (cpu.name, cpu.machines, cpu.cores, cpu.price) == ("cpu_worker", 20, 1280, 1.25)
    assert (gpu.name, gpu.devices, gpu.price) == ("gpu_worker", 32, None)
    with pytest.raises(SettingsError, match="did you mean cpu_worker"):
        read_cluster(str(CLUSTER), {"cpu_workers": 1.0})


def test_prices_may_stand_in_the_cluster_file(tmp_path: Path) -> None:
    kinds = """
available_node_types:
  head: {resources: {CPU: 0}, max_workers: 0, labels: {irodori/price-per-hour: "0.4"}}
  small: {resources: {CPU: 4}, max_workers: 9, labels: {irodori/price-per-hour: "0.1"}}
"""
    (tmp_path / "c.yaml").write_text("max_workers: 3\nhead_node_type: head" + kinds)
    (group,) = read_cluster(str(tmp_path / "c.yaml"), {})
    assert (group.machines, group.cores, group.price, group.head_price) == (3, 12, 0.1, 0.4)
    assert group.cost(30.0, 10.0) == pytest.approx(0.1 * 30 + 0.4 * 10)
    (tmp_path / "d.yaml").write_text("nothing: here")
    with pytest.raises(PipelineError, match=r"d\.yaml: no cluster file"):
        read_cluster(str(tmp_path / "d.yaml"), {})


def test_the_shipped_measurements_cover_every_shipped_recipe() -> None:
    table = load_costs()
    for recipe in CORPUS_RECIPES.values():
        forecast = forecast_corpus(ask(recipe=recipe, mix=MIXES["danbooru"]), table, GROUP)
        assert forecast.hours > 0
    assert table.training["v1.base"]["flops"] > 1e12


def test_lines_are_fitted_to_relative_errors_and_never_negative() -> None:
    x = np.array([1.0, 2.0, 4.0])
    assert relative_line(x, np.array([5.0, 7.0, 11.0])) == pytest.approx([3.0, 2.0])
    a, b = relative_line(x, np.array([1.0, 3.0, 7.0]))
    assert a == 0
    assert b > 0
    assert fitted({1.0: [(4.0, 10.0), (6.0, 10.0)], 2.0: [(10.0, 20.0)]})["ms"] == pytest.approx([0.0, 5.0])


def test_a_forecast_is_within_a_factor_of_two_of_a_build(tmp_path: Path) -> None:
    """Measured here and now, so that the speed of this machine is on both sides."""
    folder, recipe = write_pictures(tmp_path / "pictures", 24, height=240, width=320), CORPUS_RECIPES["demo"]
    samples = [picture(seed, 240, 320) for seed in (100, 101, 102)]
    steps = measure_steps(samples, [240 * 320 / 1e6], recipe, 2)
    (tmp_path / "costs.json").write_text(json.dumps({"format": 1, "measured": TABLE.measured, "steps": steps}))
    table = load_costs(tmp_path / "costs.json")
    asked = Request("demo", recipe, 24, PictureMix("toy", 240 * 320 / 1e6, 0.0, "given"), store="disk")
    expected_s = 3600 * sum(phase.core_hours for phase in forecast_corpus(asked, table, this_machine({})[0]).phases)
    started = time.process_time()
    run_build([str(folder)], str(tmp_path / "corpus"), recipe, engine=in_process)
    assert 0.5 < (time.process_time() - started) / expected_s < 2


def test_durations_are_told_in_the_unit_that_reads_best() -> None:
    told = ["36.0 seconds", "72.0 minutes", "40.0 hours", "2.5 days"]
    assert [duration_of_hours(hours) for hours in (0.01, 1.2, 40, 60)] == told
