"""What networks cost on one picture: a core's milliseconds, a GPU's, and operations; weights are random.

A network is measured once for each size it is fed, so those that bring every picture to one size once in all. What is
done around it (input, output, encoding, writing) is measured on stand-ins, since random weights draw no lines: XDoG
lines blurred a little for line art, a blurred silhouette for masks. Bytes are those of the stand-ins.
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.costs.fitting import Sizes, fitted, least, relative_line, resized, today, written
from benchmarks.costs.random_weights import TAGGERS, random_store
from dataprep.lines.region_map import RegionSettings
from dataprep.lines.xdog import XDoGSettings, xdog
from dataprep.operators.learned_columns import LearnedSettings
from dataprep.operators.network_step import Planes
from dataprep.operators.operator import Operator
from dataprep.operators.outputs import JSON
from dataprep.operators.row_input import RowInput
from dataprep.operators.styles import EXTRACTED, REWORKED, StyleSettings
from dataprep.operators.without_networks import gray_of
from dataprep.pictures.decode import Picture, encode_png
from pipelines.corpus_build.batches import GPU_BATCH_MEGAPIXELS
from pipelines.extraction.learned_operators import NetworkColumn, corpus_operators, network_names, with_weights
from pipelines.forecast.measured import SOURCE_FORMATS, step_name
from pipelines.recipes.build_recipe import BuildRecipe, NetworkSettings

Precision = Literal["float32", "float16", "bfloat16"]
NO_STYLE = StyleSettings(xdog=0.0)
LEARNED = (
    *(
        LearnedSettings(mask="isnetis"),
        LearnedSettings(mask="isnet_general"),
        LearnedSettings(sketch_mask="isnet_sketch"),
    ),
    *(LearnedSettings(tagger=name) for name in TAGGERS),
    LearnedSettings(aesthetic=True),
)


def network_recipes(networks: NetworkSettings) -> dict[str, tuple[BuildRecipe, tuple[str, ...]]]:
    """Every step with a network -> a recipe of little else, and the names of the weights that it takes."""
    bare = BuildRecipe(styles=NO_STYLE, networks=networks, regions=RegionSettings(lines=()))
    recipes = [replace(bare, styles=replace(NO_STYLE, **{style: 1.0})) for style in (*EXTRACTED, *REWORKED)]
    recipes += [replace(bare, learned=learned, styles=StyleSettings()) for learned in LEARNED]
    found: dict[str, tuple[BuildRecipe, tuple[str, ...]]] = {}
    for recipe in recipes:
        for operator in corpus_operators(recipe):
            if isinstance(operator.network, NetworkColumn):
                found.setdefault(step_name(operator), (recipe, operator.network.extractor.weights))
    return found


def network_operator(step: str, recipe: BuildRecipe) -> tuple[Operator, NetworkColumn]:
    """The operator of that step with random weights, which lie in the recipe's store, and its network, loaded."""
    random_store(Path(recipe.networks.weights), network_names(recipe))
    operator = next(o for o in corpus_operators(with_weights(recipe)) if step_name(o) == step)
    assert isinstance(operator.network, NetworkColumn)
    operator.network.load()
    return operator, operator.network


# ---- on the CPU ---------------------------------------------------------------------------------------------------


def measure_network(
    step: str, recipe: BuildRecipe, pictures: Sequence[np.ndarray], megapixels: Sequence[float], repeats: int
) -> dict[str, Any]:
    """{"step": costs around the network, "network": its own}, fitted over the sizes of the pictures."""
    torch.set_num_threads(1)
    operator, network = network_operator(step, recipe)
    around: Sizes = {}
    within: dict[float, tuple[float, float]] = {}  # (ms, operations)
    known: dict[tuple[int, ...], tuple[tuple[float, float], np.ndarray]] = {}  # and an output, by input size
    for size in megapixels:
        for picture in pictures:
            row = seen_row(resized(picture, size), operator)
            planes = network.prepare(row)
            assert planes is not None
            if planes.shape not in known:
                output = network.run(planes[None])[0]  # the first run is not counted
                ms = least(partial(network.run, planes[None]), repeats)
                known[planes.shape] = (ms, operations(network, planes)), output
            within[size], output = known[planes.shape]
            around.setdefault(size, []).append(around_network(operator, network, row, output, max(3, repeats)))
    line, flops = (
        relative_line(np.array(list(within)), np.array(values)) for values in zip(*within.values(), strict=True)
    )
    costs = fitted(around)
    return {
        "step": dict.fromkeys(SOURCE_FORMATS, costs),
        "network": {
            "ms": line,
            "flops": flops,
            "half": list(halves(network)),
            "gpu": {},
            "worst": off_line(line, within),
        },
    }


def seen_row(rgb: np.ndarray, operator: Operator) -> RowInput:
    """A row with this picture, and line art in whatever columns the operator reads."""
    lines = encode_png(soft_lines(rgb))
    picture = Picture(rgb, None, True)
    return RowInput("0" * 64, b"", picture, columns={needed.column: lines for needed in operator.inputs})


def soft_lines(rgb: np.ndarray) -> np.ndarray:
    """Line art (H, W) uint8 with soft edges, as networks draw it."""
    return np.asarray(cv2.GaussianBlur(xdog(gray_of(Picture(rgb, None, True)), XDoGSettings()), (0, 0), 0.7), np.uint8)


def around_network(
    operator: Operator, network: NetworkColumn, row: RowInput, output: np.ndarray, repeats: int
) -> tuple[float, float]:
    """(ms, bytes): input made, output finished, a stand-in for the value checked, encoded and written."""
    value = network.finish(row, output)
    plain = replace(operator, after=None)  # strokes are a step of their own
    given = value if operator.gives == JSON else stand_in(operator.gives, row.picture.rgb)
    cell = plain.checked(row, given)
    ms = least(lambda: network.prepare(row), repeats) + least(lambda: network.finish(row, output), repeats)
    ms += least(lambda: plain.checked(row, given), repeats)
    return ms + least(lambda: written(operator.column, row.id, cell), repeats), float(len(cell or b""))


def halves(network: NetworkColumn) -> tuple[Precision, ...]:
    """The half precisions that the network holds."""
    found: tuple[Precision, ...] = getattr(network.network(), "half_precision", ())
    return found


def stand_in(gives: str, rgb: np.ndarray) -> np.ndarray:
    """float32 (H, W) in [0, 1] that takes about as long and as many bytes to store as what a trained network gives."""
    if gives == "sketch":
        return soft_lines(rgb).astype(np.float32) / 255
    silhouette = (gray_of(Picture(rgb, None, True)) < 240).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(cv2.medianBlur(silhouette, 5), (0, 0), 2))


def operations(network: NetworkColumn, planes: Planes) -> float:
    """Floating-point operations of one picture, a product and its sum counted as two."""
    shape_only = copy.deepcopy(network.network()).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.convention.infer(shape_only, torch.empty(1, *planes.shape, device="meta"))
    return float(counter.get_total_flops())


def off_line(line: Sequence[float], measured: dict[float, tuple[float, float]]) -> float:
    return round(max(abs((line[0] + line[1] * size) / ms - 1) for size, (ms, _) in measured.items()), 3)


# ---- on a GPU -----------------------------------------------------------------------------------------------------


def measure_on_gpu(
    step: str, recipe: BuildRecipe, pictures: Sequence[np.ndarray], megapixels: Sequence[float], runs: int = 10
) -> dict[str, Any]:
    """Precision -> costs of a picture in batches as a build makes them, in float32 and each half that holds."""
    _, network = network_operator(step, recipe)
    return {
        precision: {
            "ms": gpu_line(step, with_precision(recipe, precision), pictures, megapixels, runs),
            "device": torch.cuda.get_device_name(),
            "date": today(),
        }
        for precision in ("float32", *halves(network))
    }


def with_precision(recipe: BuildRecipe, precision: Precision) -> BuildRecipe:
    return replace(recipe, networks=replace(recipe.networks, precision=precision))


def gpu_line(
    step: str, recipe: BuildRecipe, pictures: Sequence[np.ndarray], megapixels: Sequence[float], runs: int
) -> list[float]:
    """[fixed, per megapixel] milliseconds of a picture, from the host's memory and back."""
    operator, network = network_operator(step, recipe)
    took = []
    for size in megapixels:
        planes = network.prepare(seen_row(resized(pictures[0], size), operator))
        assert planes is not None
        count = max(1, int(GPU_BATCH_MEGAPIXELS * 1e6 // (planes.shape[1] * planes.shape[2])))
        took.append(gpu_ms(network, np.repeat(planes[None], count, axis=0), runs) / count)
    return relative_line(np.array(megapixels), np.array(took))


def gpu_ms(network: NetworkColumn, batch: Planes, runs: int) -> float:
    """Of one batch, the mean of some after three that are not counted; the result is on the host each time."""
    for _ in range(3):
        network.run(batch)
    started = time.perf_counter()
    for _ in range(runs):
        network.run(batch)
    return 1000 * (time.perf_counter() - started) / runs
