"""What networks add to a forecast, worked by hand on round numbers: on cores, and on GPUs that actors share."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.costs.__main__ import measure_content
from dataprep.lines.region_map import RegionSettings
from dataprep.lines.strokes import StrokeSettings
from dataprep.operators.learned_columns import LearnedSettings
from dataprep.plan.filters import FilterSettings
from pipelines.common.devices import CARRIES, PEAKS
from pipelines.common.errors import PipelineError
from pipelines.execution.cluster_file import WorkerGroup
from pipelines.forecast.corpus import Forecast, Line, Request, forecast_corpus, takes_gpus
from pipelines.forecast.measured import CostTable, GPUCost, Linear, NetworkCost, PictureMix, StepCost, load_costs
from pipelines.forecast.rates import EXTRACTION, RateGiven, gpu_hours
from pipelines.forecast.text import document, text
from pipelines.recipes.build_recipe import NetworkSettings
from pipelines.recipes.corpora import CORPUS_RECIPES, PUBLISHED_ROWS

RECIPE = replace(CORPUS_RECIPES["danbooru-6m"], strokes=StrokeSettings())
CORES = WorkerGroup("cpu", machines=10, cpus=32, price=2.0)
GPUS = WorkerGroup("gpu", machines=2, cpus=96, gpus=8, instance="p5.48xlarge", price=30.0)
ROWS = 256 * 3200
MIX = PictureMix("toy", 2.0, 1.0, "given")
KERAS = NetworkCost(ms=Linear(1000, 0), flops=Linear(1e12, 0), half=("bfloat16",))
LINES = NetworkCost(ms=Linear(0, 100), flops=Linear(0, 1e11))


def step(ms: float, size: float = 100.0) -> dict[str, StepCost]:
    return dict.fromkeys(("jpeg", "png"), StepCost(Linear(ms, 0), Linear(0, size)))


TABLE = CostTable(
    {"machine": "a toy", "date": "2030-01-01", "pictures": "none"},
    {
        **{"scan": step(1), "read": step(3), "color": step(1), "row": step(0.5), "strokes": step(40, 70)},
        **{"sketch_drawn": step(5), "mask": step(4), "sketch_keras": step(20), "sketch_anime2sketch": step(10)},
        **{"sketch_simplified": step(10), "mask by isnetis": step(7), "sketch_xdog": step(2)},
        **{"sketch_xdog_simplified": step(9), "region_map": step(11)},
    },
    networks={
        "sketch_keras": KERAS,
        **dict.fromkeys(
            ("sketch_anime2sketch", "sketch_simplified", "mask by isnetis", "sketch_xdog_simplified"), LINES
        ),
    },
)


def ask(**changes: Any) -> Request:
    return replace(Request("toy", RECIPE, ROWS, MIX), **changes)


def line(forecast: Forecast, name: str) -> Line:
    return next(line for phase in forecast.phases for line in phase.lines if line.step == name)


def test_without_a_gpu_a_network_takes_its_milliseconds_of_a_core() -> None:
    forecast = forecast_corpus(ask(), TABLE, CORES)
    assert line(forecast, "sketch_keras").ms == 20 + 1000
    assert line(forecast, "sketch_anime2sketch").ms == 10 + 100 * 2
    assert line(forecast, "sketch_keras").core_hours == pytest.approx(ROWS * 1020 / 3.6e6)
    assert forecast.gpu_hours == 0
    assert "GPU" not in text(forecast).splitlines()[2]
    assert not forecast.estimate


def test_rows_that_do_not_draw_a_style_cost_nothing() -> None:
    forecast = forecast_corpus(ask(), TABLE, CORES)
    assert line(forecast, "sketch_simplified").core_hours == pytest.approx(0.3 * ROWS * 210 / 3.6e6)
    assert line(forecast, "sketch_simplified").written_bytes == pytest.approx(0.3 * ROWS * 200)
    # keras is drawn for itself by a half of the rows, and for `simplified` by 30 % of them, independently
    fewer = replace(RECIPE, styles=replace(RECIPE.styles, keras=0.5))
    assert line(forecast_corpus(ask(recipe=fewer), TABLE, CORES), "sketch_keras").core_hours == pytest.approx(
        (1 - 0.5 * 0.7) * ROWS * 1020 / 3.6e6
    )


def test_a_row_that_brings_a_mask_needs_no_network() -> None:
    half = forecast_corpus(ask(shares={"mask": 0.5, "sketch_drawn": 0.0}), TABLE, CORES)
    assert line(half, "mask").core_hours == pytest.approx(0.5 * ROWS * 207 / 3.6e6)


def test_strokes_are_paid_for_each_sketch_that_they_are_evened_in() -> None:
    treated = replace(RECIPE, strokes=StrokeSettings(styles=("keras",)))
    forecast = forecast_corpus(ask(recipe=treated), TABLE, CORES)
    assert line(forecast, "sketch_keras").ms == 20 + 40 + 1000
    assert line(forecast, "sketch_keras").written_bytes == pytest.approx(ROWS * 140)
    assert line(forecast, "sketch_anime2sketch").ms == 210


def test_on_a_gpu_operations_over_a_share_of_the_peak_are_an_estimate() -> None:
    forecast = forecast_corpus(ask(given=RateGiven(peak_tflops=100, utilisation=0.5)), TABLE, CORES, GPUS)
    found = line(forecast, "sketch_keras")
    assert found.ms == 20
    assert found.gpu_ms == pytest.approx(1e12 / (0.5 * 50e12) * 1e3)  # float32 has half of the peak
    assert found.gpu_hours == pytest.approx(ROWS * 40 / 3.6e6)
    assert forecast.estimate
    assert "estimate: networks in float32: counted operations at 50% (assumed) of 50 TFLOPS (given)" in text(forecast)
    networks = replace(RECIPE.networks, precision="bfloat16")
    fast = ask(recipe=replace(RECIPE, networks=networks))
    forecast = forecast_corpus(fast, TABLE, CORES, GPUS)
    assert line(forecast, "sketch_keras").gpu_ms == pytest.approx(1e12 / (EXTRACTION * 989e12) * 1e3)
    # does not hold half precision
    assert line(forecast, "sketch_anime2sketch").gpu_ms == pytest.approx(2e11 / (EXTRACTION * 494.5e12) * 1e3)


def measured_on(device: str) -> CostTable:
    known = {"float32": GPUCost(Linear(8, 0), device, "2030-01-01")}
    return replace(TABLE, networks=dict.fromkeys(TABLE.networks, replace(KERAS, gpu=known)))


def test_a_measured_gpu_comes_before_an_estimate_and_says_which_it_was() -> None:
    forecast = forecast_corpus(ask(), measured_on("NVIDIA H100 80GB HBM3"), CORES, GPUS)
    assert line(forecast, "sketch_keras").gpu_ms == 8
    assert not forecast.estimate
    assert "- measured: networks in float32 on one NVIDIA H100 80GB HBM3, 2030-01-01" in text(forecast).splitlines()


def test_a_measurement_of_another_gpu_makes_an_estimate_in_proportion_to_the_peaks() -> None:
    forecast = forecast_corpus(ask(), measured_on("NVIDIA A100-SXM4-40GB"), CORES, GPUS)
    assert line(forecast, "sketch_keras").gpu_ms == pytest.approx(8 * 312 / 989)
    assert forecast.estimate
    assert "estimate: measured: networks in float32 on one NVIDIA A100-SXM4-40GB, 2030-01-01; " in text(forecast)
    assert "assumed: one NVIDIA H100 80GB HBM3 of gpu is 3.2 times as fast, as the peaks are" in text(forecast)


def test_a_measurement_counts_as_an_estimate_for_gpus_of_unknown_kind() -> None:
    forecast = forecast_corpus(ask(), measured_on("NVIDIA H200"), CORES, replace(GPUS, instance="unknown"))
    assert line(forecast, "sketch_keras").gpu_ms == 8
    assert forecast.estimate
    assert "2030-01-01; assumed: the GPUs of gpu, of unknown kind, are as fast" in text(forecast)


def test_a_known_peak_says_more_than_a_gpu_of_which_nothing_else_is_known() -> None:
    forecast = forecast_corpus(ask(), measured_on("a fast one"), CORES, GPUS)
    assert line(forecast, "sketch_keras").gpu_ms == pytest.approx(1e12 / (EXTRACTION * 494.5e12) * 1e3)
    assert forecast.estimate
    assert "a fast one" not in text(forecast)


def test_every_instance_with_known_devices_has_their_peak() -> None:
    assert set(CARRIES.values()) <= set(PEAKS)


def test_content_filters_cost_their_network_for_every_picture_of_the_scan() -> None:
    table = replace(TABLE, steps={**TABLE.steps, "content": step(200, 0)})
    plain = forecast_corpus(ask(), table, CORES)
    for filters in (FilterSettings(min_drawing=0.5), FilterSettings(max_unsafe=0.5)):
        judged = ask(recipe=replace(RECIPE, filters=filters))
        forecast = forecast_corpus(judged, table, CORES, GPUS)
        scan = forecast.phases[0]
        assert (line(forecast, "content").ms, line(forecast, "content").gpu_ms, scan.group) == (200, 0, CORES)
        assert scan.core_hours == pytest.approx(plain.phases[0].core_hours + ROWS * 200 / 3.6e6)
        assert "the network of the content filters with random weights" in text(forecast)
        # what is built anew is not scanned anew
        assert "content" not in text(forecast_corpus(replace(judged, rebuild=("color",)), table, CORES, GPUS))
    assert "content" not in text(plain)


def test_the_content_network_takes_as_long_for_a_picture_of_any_size() -> None:
    small, large = (measure_content(np.full((side, side, 3), 128, np.uint8), 2)["png"] for side in (200, 2000))
    assert small["ms"][1] == large["ms"][1] == 0
    assert 0.5 < small["ms"][0] / large["ms"][0] < 2
    shipped = load_costs().step("content", 1.0)
    assert shipped.ms.fixed > 0
    assert shipped.ms.per_megapixel == shipped.bytes.at(1.0) == 0


def test_networks_are_a_phase_of_the_gpu_machines_and_priced_there() -> None:
    forecast = forecast_corpus(ask(), TABLE, CORES, GPUS)
    assert [(phase.name, phase.group.name) for phase in forecast.phases] == [
        ("scan", "cpu"),
        ("columns", "cpu"),
        ("networks", "gpu"),
    ]
    networks = forecast.phases[-1]
    assert networks.gpu_hours == pytest.approx(sum(line.gpu_hours for line in networks.lines))
    assert networks.machine_hours == pytest.approx(2 * networks.hours)
    assert forecast.cost == pytest.approx(sum(p.machine_hours * (30 if p is networks else 2) for p in forecast.phases))
    assert document(forecast)["totals"]["gpu_hours"] == pytest.approx(forecast.gpu_hours)
    assert "and 2 x gpu (p5.48xlarge) of 96 CPUs, 8 GPUs" in text(forecast)
    unpriced = forecast_corpus(ask(), TABLE, CORES, replace(GPUS, price=None))
    assert unpriced.cost is None
    assert "give --price gpu=AMOUNT of a machine" in text(unpriced)


def test_a_gpu_waits_for_its_actors_where_they_are_too_few() -> None:
    networks = NetworkSettings(per_gpu=6)
    one = WorkerGroup("gpu", machines=1, cpus=96, gpus=1)
    # 10 hours of the GPU, 20 of the cores: six actors are done after 5 hours of each, so the GPU is the limit
    assert gpu_hours(10.0, 20.0, tasks=600, networks=networks, group=one) == pytest.approx(10.0)
    assert gpu_hours(10.0, 110.0, tasks=600, networks=networks, group=one) == pytest.approx(120 / 6)
    assert gpu_hours(10.0, 20.0, tasks=600, networks=replace(networks, per_gpu=1), group=one) == pytest.approx(30.0)
    # two tasks keep two actors busy
    assert gpu_hours(10.0, 20.0, tasks=2, networks=networks, group=one) == pytest.approx(15.0)


def test_a_gpu_of_which_nothing_is_known_is_asked_for() -> None:
    with pytest.raises(PipelineError, match="give --peak-tflops of one device"):
        forecast_corpus(ask(), TABLE, CORES, replace(GPUS, instance="unknown"))


def test_gpus_are_taken_where_they_are_and_the_recipe_has_networks() -> None:
    both = [CORES, GPUS]
    on_cpu = replace(RECIPE, networks=NetworkSettings(device="cpu"))
    assert takes_gpus(RECIPE, both)
    assert takes_gpus(RECIPE, [CORES])  # it asks for them, wherever it is planned
    assert not takes_gpus(replace(RECIPE, networks=NetworkSettings()), [CORES])
    assert not takes_gpus(on_cpu, both)
    assert not takes_gpus(CORPUS_RECIPES["plain"], both)


def test_on_a_canvas_every_column_costs_what_the_canvas_does() -> None:
    canvas = CORPUS_RECIPES["rasc-40k"]
    table = replace(
        TABLE,
        steps={**TABLE.steps, "region_map": dict.fromkeys(("jpeg", "png"), StepCost(Linear(0, 100), Linear(0, 8)))},
    )
    forecast = forecast_corpus(ask(recipe=canvas), table, CORES)
    assert line(forecast, "region_map").ms == pytest.approx(100 * 0.065536)
    assert line(forecast, "sketch_xdog_simplified").ms == pytest.approx(9 + 100 * 0.065536)
    assert [phase.name for phase in forecast.phases] == ["scan", "columns", "networks", "columns"]
    # a column of another lane is read from its file: the lines by the network, their regions after it
    assert line(forecast, "region_map").gets == line(forecast, "sketch_xdog_simplified").gets == 3200


@pytest.mark.parametrize("name", sorted(PUBLISHED_ROWS))
def test_the_shipped_costs_say_what_each_paper_takes(name: str) -> None:
    asked = Request(name, CORPUS_RECIPES[name], sum(PUBLISHED_ROWS[name]), MIX)
    forecast = forecast_corpus(asked, load_costs(), CORES, GPUS)
    assert forecast.gpu_hours > 0
    learned = replace(CORPUS_RECIPES[name], learned=LearnedSettings("isnetis", "isnet_sketch", "wd_vit_v3", True))
    more = forecast_corpus(
        replace(asked, recipe=replace(learned, regions=RegionSettings(lines=()))), load_costs(), CORES, GPUS
    )
    assert more.gpu_hours > forecast.gpu_hours
