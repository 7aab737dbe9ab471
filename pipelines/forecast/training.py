"""What a training stage will take: device hours, machine hours, bytes and requests of its samples.

The rate of a device is, in this order: given by the user; measured by `python -m benchmarks.costs --training`;
or an estimate, and marked as such: what was measured on another device, or counted floating-point operations of an
image over a share of the device's peak.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dataprep.corpus.column_files import ROW_GROUP_ROWS
from dataprep.samples.buckets import V1_BUCKETS, bucket_size, expanded
from pipelines.common.errors import PipelineError
from pipelines.execution.cluster_file import WorkerGroup
from pipelines.forecast.corpus import Forecast, Line, Phase
from pipelines.forecast.measured import CostTable, PictureMix
from pipelines.forecast.rates import TRAINING, RateGiven, peak_of, relative_speed
from pipelines.recipes.stage_recipe import StageRecipe, with_length


@dataclass(frozen=True)
class Rate:
    """Training images a second of one device; `origin` says how it is known."""

    images_per_s: float
    origin: str
    estimate: bool


def rate_of(recipe: StageRecipe, table: CostTable, group: WorkerGroup, given: RateGiven) -> Rate:
    """The rate of one device of `group`. PipelineError where neither a measurement nor a peak is known."""
    if given.images_per_s:
        return Rate(given.images_per_s, f"given: {given.images_per_s:g} images a second and device", False)
    known = table.training.get(f"{recipe.family}.{recipe.model_size}", {})
    area = mean_area(recipe) / known["area"] if known else 1.0
    kind = "cuda" if group.devices else "cpu"
    measured = known.get("rates", {}).get(kind)
    speed = relative_speed(measured["device"], group, given) if measured and group.devices else (1.0, "")
    if measured and speed is not None:
        ratio, assumed = speed
        origin = f"measured: {measured['images_per_s']:.3g} images a second on one {measured['device']}"
        origin += f", {measured['date']}" + (f"; {assumed}" if assumed else "")
        origin += "" if area == 1 else f", for {area:.2g} of its pixels (assumed: in proportion)"
        return Rate(measured["images_per_s"] * ratio / area, origin, area != 1 or bool(assumed))
    peak = peak_of(group, given)
    if peak is None or not known:
        raise PipelineError(
            f"nothing is known of the speed of {recipe.stage} ({recipe.model_size}) on {group.name}: give "
            "--images-per-second of one device, or --peak-tflops"
        )
    device, tflops = peak
    flops, share = known["flops"] * area, given.utilisation or TRAINING
    rate = tflops * 1e12 * share / flops
    origin = f"{flops / 1e12:.2f} TFLOP an image (counted) at {share:.0%} (assumed) of {tflops:g} TFLOPS ({device})"
    return Rate(rate, f"estimate: {rate:.3g} images a second and device: {origin}", True)


def forecast_stage(
    recipe: StageRecipe,
    rows: int,
    table: CostTable,
    group: WorkerGroup,
    mix: PictureMix,
    given: RateGiven,
    shares: Mapping[str, float],
) -> Forecast:
    """What `recipe` takes on all devices of `group` with `rows` training rows."""
    length = (
        "fixed by the recipe" if recipe.length.images else f"{recipe.length.epochs:g} epochs of {rows:,} training rows"
    )
    recipe = with_length(recipe, [rows])
    devices = group.devices or group.cores
    rate = rate_of(recipe, table, group, given)
    hours = recipe.length.images / (rate.images_per_s * devices) / 3600
    opened = ["color", *(f"sketch_{style}" for style in recipe.samples.styles)]
    sizes = [table.step(column, mix.jpeg_share).bytes.at(mix.megapixels) * shares.get(column, 1.0) for column in opened]
    read = recipe.length.images * ROW_GROUP_ROWS * sum(sizes)
    # A sample and its reference are one row: one row group of each column.
    line = Line("read samples", 0, 0, read_bytes=read, gets=recipe.length.images * len(opened))
    steps = math.ceil(recipe.length.images / recipe.length.batch_size)
    train = Phase(
        f"{steps:,} steps of {recipe.length.batch_size}", (line,), steps, hours, hours * group.machines, group
    )
    assumptions = (
        rate.origin,
        f"{recipe.length.images:,} images: {length}",
        f"assumed: {devices:,} devices work at {devices:,} times the rate of one; the reader keeps up",
        f"bytes and requests: each sample reads one row group ({ROW_GROUP_ROWS} rows) of {len(opened)} columns, and "
        "none is still in memory",
        f"{mix.megapixels:.2f} megapixels a picture in the mean, {mix.jpeg_share:.0%} JPEG ({mix.origin})",
        "not counted: validation, sampling, checkpoints, start-up",
        *group.notes,
    )
    return Forecast(recipe.stage, rows, (train,), assumptions, rate.estimate)


def mean_area(recipe: StageRecipe) -> float:
    """Pixels of a sample in the mean; of all buckets alike, since how rows fill them is not known before."""
    if recipe.samples.sizes == "random":
        return float(((recipe.samples.size_range[0] + recipe.samples.size_range[1]) / 2) ** 2)
    if recipe.samples.sizes == "fixed":
        return float(recipe.samples.width * recipe.samples.height)
    sides = [bucket_size(bucket) for bucket in expanded(recipe.samples.bucket_sizes or V1_BUCKETS)]
    return sum(width * height for width, height in sides) / len(sides)
