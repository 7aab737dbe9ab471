"""Measures what `irodori plan` reckons with. `python -m benchmarks.costs --source FOLDER`

Each step of a build runs on one core over pictures of several sizes, as JPEG and as PNG: the scan of an item, reading
and decoding it, every operator with the writing and describing of its column; then the networks, with random weights of
the published shapes (benchmarks.costs.networks), and the one of the content filters, which runs in the scan. Times are
CPU time of this process, the least of `--repeats`, so that a busy machine changes little. For each step a line, fixed +
per megapixel, is fitted by least squares of relative errors; so are the bytes of what it makes. `--device cuda`
measures the networks on a GPU instead. `--training SIZE` counts the floating-point operations of a training image on
the meta device and measures images a second on `--device`. The result is merged into `--out`, a JSON file.
"""

import argparse
import json
import platform
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.costs.fitting import (
    EVERYTHING,
    Sizes,
    fitted,
    least,
    machine,
    resized,
    today,
    written,
)
from benchmarks.measuring import fresh
from dataprep.corpus.column_files import ColumnWriter
from dataprep.corpus.schema import ROW_SCHEMA
from dataprep.limits import Limiter
from dataprep.lines.strokes import StrokeSettings, even_strokes
from dataprep.lines.xdog import XDoGSettings, xdog
from dataprep.operators.row_input import RowInput
from dataprep.operators.without_networks import gray_of
from dataprep.pictures.decode import decode, encode_png
from dataprep.pictures.identity import content_id
from dataprep.pictures.names import SUFFIXES
from dataprep.plan.filters import FilterSettings
from dataprep.plan.scan import ListedItem, scan
from dataprep.sources import SourceItem
from pipelines.common.shipped_pictures import PICTURES
from pipelines.extraction.learned_operators import corpus_operators
from pipelines.forecast.measured import FORMAT, SHIPPED, SOURCE_FORMATS
from pipelines.recipes.build_recipe import BuildRecipe, NetworkSettings
from pipelines.recipes.corpora import CORPUS_RECIPES

NETWORK_MEGAPIXELS = (0.25, 1.0)
JPEG_QUALITY = 92
TAGS = [f"made up tag {number}" for number in range(30)]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default=str(PICTURES), help="a folder of pictures; they are resized")
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.25, 1.0, 2.0, 4.0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", nargs="+", default=["steps", "networks"], choices=["steps", "networks"])
    parser.add_argument("--only", nargs="+", help="networks: these steps, such as 'sketch_keras' or 'content'")
    parser.add_argument("--store", help="networks: a folder that keeps the random weights")
    parser.add_argument("--recipe", help="steps: those of a corpus recipe; without it, every one that ships")
    parser.add_argument("--called", default="", help="what the pictures are, for the file")
    parser.add_argument("--training", default="", help="tiny or base: measure training instead")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", default=str(SHIPPED))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    out = Path(arguments.out)
    result: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"format": FORMAT}
    if arguments.training:
        training(result, arguments)
    else:
        pictures = load_pictures(arguments.source, arguments.pictures)
        if "steps" in arguments.parts and arguments.device == "cpu":
            steps(result, arguments, pictures)
        if "networks" in arguments.parts:
            networks(result, arguments, pictures)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def training(result: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Add operations and rate of a training image to the result."""
    from benchmarks.costs.training import measure_training

    known = result.setdefault("training", {}).setdefault(f"v1.{arguments.training}", {})
    measured = measure_training(arguments.training, arguments.device)
    known |= measured | {"rates": known.get("rates", {}) | measured["rates"]}


def steps(result: dict[str, Any], arguments: argparse.Namespace, pictures: Sequence[np.ndarray]) -> None:
    """Add the steps without networks to the result, and say on what they were measured."""
    recipe = CORPUS_RECIPES[arguments.recipe] if arguments.recipe else EVERYTHING
    measured = measure_steps(pictures, arguments.megapixels, recipe, arguments.repeats)
    result.setdefault("steps", {}).update(measured)
    called = arguments.called or f"pictures of {Path(arguments.source).name}"
    sizes = ", ".join(f"{size:g}" for size in arguments.megapixels)
    result["measured"] = result.get("measured", {}) | {
        "date": today(),
        "machine": machine(),
        "python": platform.python_version(),
        "pictures": f"{len(pictures)} {called} resized to {sizes} megapixels (enlarged ones are smoother than real "
        "ones: their bytes are on the low side)",
    }


def networks(result: dict[str, Any], arguments: argparse.Namespace, pictures: Sequence[np.ndarray]) -> None:
    """Add the networks to the result: each set of weights once, in a process of its own."""
    from benchmarks.costs.networks import measure_network, measure_on_gpu, network_recipes

    known, steps = result.setdefault("networks", {}), result.setdefault("steps", {})
    found: dict[tuple[str, ...], Any] = {}
    with tempfile.TemporaryDirectory() as store:
        settings = NetworkSettings(weights=arguments.store or store, device=arguments.device)
        for step, (recipe, weights) in network_recipes(settings).items():
            if arguments.only and step not in arguments.only:
                continue
            if weights not in found:
                measure = measure_network if arguments.device == "cpu" else measure_on_gpu
                found[weights] = fresh(measure, step, recipe, pictures[:2], NETWORK_MEGAPIXELS, arguments.repeats)
            if arguments.device == "cpu":
                steps[step] = found[weights]["step"]
                known[step] = found[weights]["network"] | {"gpu": known.get(step, {}).get("gpu", {})}
            else:
                known[step]["gpu"] |= found[weights]
            print(step, known[step], flush=True)
    if arguments.device == "cpu" and (not arguments.only or "content" in arguments.only):
        steps["content"] = fresh(measure_content, pictures[0], arguments.repeats)
    if arguments.device == "cpu":
        result["measured"]["networks"] = f"{today()}, one core of {machine()}, torch {version('torch')}"


def measure_content(picture: np.ndarray, repeats: int) -> dict[str, Any]:
    """What the content filters add to the scan of a picture of any size: their network samples and sees 299 x 299."""
    import torch

    from benchmarks.costs.random_weights import random_store
    from pipelines.extraction.content_filter import content_measure, content_names
    from pipelines.extraction.learned_operators import with_weights

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as store:
        recipe = BuildRecipe(filters=FilterSettings(min_drawing=0.5), networks=NetworkSettings(weights=store))
        random_store(Path(store), content_names(recipe))
        measure = content_measure(with_weights(recipe))
    assert measure is not None
    measure(picture)  # the first run is not counted
    ms = float(f"{least(lambda: measure(picture), repeats):.5g}")
    return {kind: {"ms": [ms, 0.0], "bytes": [0.0, 0.0], "worst": 0.0} for kind in SOURCE_FORMATS}


def load_pictures(folder: str, count: int) -> list[np.ndarray]:
    """uint8 (H, W, 3): `count` raster pictures of a folder, evenly spaced in its sorted list."""
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix in SUFFIXES and path.suffix != ".svg")
    files = [path for path in files if "damaged" not in path.parts]
    return [decode(path.read_bytes()).rgb for path in files[:: max(1, len(files) // count)][:count]]


def measure_steps(
    pictures: Sequence[np.ndarray], megapixels: Sequence[float], recipe: BuildRecipe, repeats: int
) -> dict[str, Any]:
    """Step -> source format -> fitted costs."""
    measured: dict[str, dict[str, Sizes]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in SOURCE_FORMATS:
            for size in megapixels:
                for picture in pictures:
                    data = encoded(resized(picture, size), kind)
                    for step, cost in measure_picture(data, Path(folder), recipe, repeats).items():
                        measured.setdefault(step, {}).setdefault(kind, {}).setdefault(size, []).append(cost)
    return {step: {kind: fitted(sizes) for kind, sizes in kinds.items()} for step, kinds in measured.items()}


def measure_picture(data: bytes, folder: Path, recipe: BuildRecipe, repeats: int) -> dict[str, tuple[float, float]]:
    """Step -> (ms, bytes) of one picture that has line art and a mask of its own."""
    path = folder / "picture"
    path.write_bytes(data)
    limiter = Limiter(recipe.limits, str(folder / "faults"))
    listed = ListedItem("key", SourceItem(str(path)))
    costs = {"scan": (least(lambda: scan(listed, limiter), repeats), float(len(data)))}
    costs["read"] = (least(lambda: (content_id(path.read_bytes()), decode(data)), repeats), float(len(data)))
    picture = decode(data)
    gray = gray_of(picture)
    drawn, mask = encode_png(xdog(gray, XDoGSettings())), encode_png(np.where(gray < 240, 255, 0).astype(np.uint8))
    row_id = content_id(data)
    cells: dict[str, bytes | None] = {}
    for operator in corpus_operators(recipe):
        if operator.network is not None:
            continue
        # What is made from line art is made from the XDoG lines, as for nearly all pictures.
        lines = {needed.column: drawn for needed in operator.inputs if needed.column not in cells}
        seen = RowInput(row_id, data, picture, drawn, mask, lines | cells | {"sketch_drawn": None})
        compute = least(partial(operator.value, seen), repeats)
        value = cells[operator.column] = operator.value(seen)
        write = least(partial(written, operator.column, row_id, value), repeats)
        costs[operator.column] = compute + write, float(len(value or b""))
    costs["strokes"] = strokes_cost(gray, repeats)
    row = dict.fromkeys(ROW_SCHEMA.names) | {"id": row_id, "source": str(path), "split": "train", "tags": TAGS}
    row |= {"width": 1, "height": 1, "pixel_hash": row_id, "phash": 1, "bucket": "768x768"}
    costs["row"] = least(lambda: written_rows([row] * 256), repeats) / 256, len(written_rows([row] * 256)) / 256
    return costs


def strokes_cost(gray: np.ndarray, repeats: int) -> tuple[float, float]:
    """(ms, bytes) of evening the strokes of line art with soft edges, which networks draw."""
    soft = cv2.GaussianBlur(xdog(gray, XDoGSettings()), (0, 0), 0.7)
    ms = least(lambda: encode_png(even_strokes(np.asarray(soft, np.uint8), StrokeSettings())), repeats)
    return ms, float(len(encode_png(even_strokes(np.asarray(soft, np.uint8), StrokeSettings()))))


def written_rows(rows: Sequence[dict[str, Any]]) -> bytes:
    writer = ColumnWriter("row")
    for row in rows:
        writer.add_row(row)
    return writer.finish()


def encoded(picture: np.ndarray, kind: str) -> bytes:
    if kind == "png":
        return encode_png(picture)
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1])


if __name__ == "__main__":
    main()
