"""How fast are the operators? `python -m benchmarks.extractors --released DIR --out runs/operators`

For every operator and square pictures of several sides: milliseconds a picture, one at a time and in batches, what
memory a picture takes, and the released implementation of the same network beside it, where DIR holds a checkout of its
repository. Networks have random weights of the published shapes, which change no time; both get the same ones, and how
far the results are apart is printed with them. On a GPU (`--device cuda`) also what share of its peak is reached.
Each operator runs in a process of its own. Times want a machine that does nothing else.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.costs.fitting import EVERYTHING, machine
from benchmarks.costs.networks import network_operator, network_recipes, operations, seen_row, stand_in
from benchmarks.extractors.released_networks import Run, released_network
from benchmarks.measuring import Row, Section, fresh, markdown, picture_bytes, source_of
from benchmarks.peak_memory import added_mib
from dataprep.operators.network_step import Planes
from dataprep.operators.operator import Operator
from dataprep.operators.outputs import JSON
from dataprep.operators.row_input import RowInput
from dataprep.pictures.decode import decode
from dataprep.pictures.resize import resize_color
from pipelines.extraction.learned_operators import NetworkColumn, corpus_operators
from pipelines.forecast.measured import step_name
from pipelines.recipes.build_recipe import BuildRecipe, NetworkSettings
from pipelines.weights.store import weights_name

Result = TypeVar("Result")
BATCH = 4
WARMED_S = 1.0
TOLERANCE = 1e-4  # of the largest value: how far ours may be from the released network
SLOWER = 1.02  # what is called not slower, for the clock's sake

COLUMNS = (
    *("operator", "side", "fed", "ms", f"ms in batches of {BATCH}", "around, ms", "MiB", "GFLOP", "TFLOPS"),
    *("released, ms", "ratio", "difference"),
)
ABOUT = f"""\
Milliseconds a picture by the clock{{where}}. Network alone: one picture at a time, and in batches of {BATCH}.
"Around": input made, output finished and encoded. MiB: what one pass adds to the process at its peak. Released: the
same weights in the released code, in turns with ours; ratio: its time over ours, at least {1 / SLOWER:.2f} is wanted;
difference: the largest, of the largest value, at most {TOLERANCE:g} is wanted. What brings all pictures to one size is
measured once."""


def main() -> None:
    """Measure, print and write."""
    arguments = _arguments()
    source, called = source_of(arguments.pictures)
    rgb = decode(picture_bytes(source, 1)[0]).rgb
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = NetworkSettings(
            weights=arguments.store or folder,
            device=arguments.device,
            cpus=arguments.threads,
            precision=arguments.precision,
        )
        for step, (recipe, _) in network_recipes(settings).items():
            if not arguments.only or step in arguments.only:
                measured = fresh(network_rows, step, recipe, rgb, arguments.sides, arguments.runs, arguments.released)
                print("\n".join(map(json.dumps, measured)), flush=True)
                rows += measured
    if arguments.device == "cpu":
        chosen = [step_name(operator) for operator in corpus_operators(EVERYTHING)]
        wanted = [name for name in chosen if not arguments.only or name in arguments.only]
        rows += fresh(classical_rows, wanted, rgb, arguments.sides, arguments.runs)
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{machine()}, {arguments.threads} thread"
    _write(Section("Operators", ABOUT.format(where=f" on {where}, {called}"), rows, is_met(rows)), arguments.out)


def network_rows(
    step: str, recipe: BuildRecipe, rgb: np.ndarray, sides: Sequence[int], runs: int, released: str | None
) -> list[Row]:
    """One row for each size that the network is fed."""
    torch.set_num_threads(recipe.networks.cpus)
    operator, network = network_operator(step, recipe)
    other = _released(network, recipe, released)
    rows: list[Row] = []
    seen: set[tuple[int, ...]] = set()
    for side in sides:
        row = seen_row(np.asarray(resize_color(rgb, side, side)), operator)
        planes = network.prepare(row)
        assert planes is not None
        if planes.shape not in seen:
            seen.add(planes.shape)
            measured = network_row(operator, network, row, planes, runs, other)
            rows.append(dict.fromkeys(COLUMNS) | {"operator": step, "side": side} | measured)
    return rows


def network_row(
    operator: Operator, network: NetworkColumn, row: RowInput, planes: Planes, runs: int, other: Run | None
) -> Row:
    """The measurements of one picture."""
    one, many = planes[None], np.repeat(planes[None], BATCH, axis=0)
    alone = {"ours": lambda: network.run(one)}
    if other is not None:
        tensor = torch.from_numpy(one)
        alone["released"] = lambda: other(tensor).numpy()
    mib = added_mib(alone["ours"], on_gpu=next(network.network().parameters()).is_cuda)
    given: dict[str, np.ndarray] = {}
    with torch.inference_mode():
        ms = in_turns(alone, runs, given)
    apart = None if other is None else _apart(given["ours"], given["released"])
    batch = in_turns({"ours": lambda: network.run(many)}, max(1, runs // 2))["ours"] / BATCH
    gflop = operations(network, planes) / 1e9
    return {
        "fed": "x".join(str(side) for side in planes.shape),
        "ms": ms["ours"],
        f"ms in batches of {BATCH}": batch,
        "around, ms": around_ms(operator, network, row, runs),
        "MiB": mib,
        "GFLOP": gflop,
        "TFLOPS": gflop / min(ms["ours"], batch),
        "released, ms": ms.get("released"),
        "ratio": None if other is None else ms["released"] / ms["ours"],
        "difference": apart,
    }


def around_ms(operator: Operator, network: NetworkColumn, row: RowInput, runs: int) -> float:
    """Of one picture: input made, output finished, a stand-in for the value checked and encoded."""
    planes = network.prepare(row)
    assert planes is not None
    output = network.run(planes[None])[0]
    value = network.finish(row, output)
    given = value if operator.gives == JSON else stand_in(operator.gives, row.picture.rgb)
    plain = replace(operator, after=None)
    parts = {
        "prepare": lambda: network.prepare(row),
        "finish": lambda: network.finish(row, output),
        "store": lambda: plain.checked(row, given),
    }
    return sum(in_turns(parts, max(3, runs)).values())


def classical_rows(names: Sequence[str], rgb: np.ndarray, sides: Sequence[int], runs: int) -> list[Row]:
    """The operators without networks, with the encoding of what they give."""
    cv2.setNumThreads(1)
    rows: list[Row] = []
    for side in sides:
        made: dict[str, bytes | None] = {}
        for operator in corpus_operators(EVERYTHING):
            seen = seen_row(np.asarray(resize_color(rgb, side, side)), operator)
            seen = replace(seen, columns={**seen.columns, **made, "sketch_drawn": None})
            value = made[operator.column] = operator.value(seen)
            if operator.column in names and value is not None:
                work = partial(operator.value, seen)
                measured = {"ms": in_turns({"ours": work}, max(3, runs))["ours"], "MiB": added_mib(work)}
                rows.append(dict.fromkeys(COLUMNS) | {"operator": operator.column, "side": side} | measured)
    return rows


def in_turns(
    rivals: dict[str, Callable[[], Result]], runs: int, results: dict[str, Result] | None = None
) -> dict[str, float]:
    """The least milliseconds of each by the clock; they take turns. What they gave last is put into `results`.

    A first run is not counted unless it takes more than WARMED_S, beside which warming up is nothing.
    """
    took: dict[str, list[float]] = {name: [] for name in rivals}
    given: dict[str, Result] = {}
    for number in range(runs + 1):
        for name in list(rivals)[-number % len(rivals) :] + list(rivals)[: -number % len(rivals)]:
            if len(took[name]) >= runs and took[name][0] > WARMED_S:
                continue
            started = time.perf_counter()
            given[name] = rivals[name]()
            took[name].append(time.perf_counter() - started)
    if results is not None:
        results.update(given)
    return {name: 1000 * min(seconds if seconds[0] > WARMED_S else seconds[1:]) for name, seconds in took.items()}


def is_met(rows: Sequence[Row]) -> bool | None:
    """Whether ours is nowhere slower than the released network, and gives the same; None where none was there."""
    beside = [row for row in rows if row.get("ratio") is not None]
    return all(row["ratio"] * SLOWER >= 1 and row["difference"] <= TOLERANCE for row in beside) if beside else None


def _apart(ours: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(ours - other.reshape(ours.shape)).max() / np.abs(other).max())


def _released(network: NetworkColumn, recipe: BuildRecipe, checkouts: str | None) -> Run | None:
    """The released code of the network with the weights that ours has; only on the CPU and for a single file."""
    names = network.extractor.weights
    if checkouts is None or len(names) > 1 or recipe.networks.device != "cpu":
        return None
    store = Path(recipe.networks.weights).absolute()
    return released_network(names[0], Path(checkouts), load_file(store / weights_name(names[0])), store)


def _write(section: Section, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "operators.json").write_text(json.dumps(asdict(section), indent=1) + "\n")
    (out / "operators.md").write_text(markdown(section))
    print(markdown(section))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", help="a folder of pictures; else ../shared/data/storybook, else the shipped ones")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 768, 1024])
    parser.add_argument("--runs", type=int, default=3, help="of each measurement; the least counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["float32", "float16", "bfloat16"], default="float32")
    parser.add_argument("--only", nargs="+", help="these operators, such as sketch_hed or 'mask by isnetis'")
    parser.add_argument("--released", help="a folder with checkouts of the authors' repositories")
    parser.add_argument("--store", help="a folder that keeps the random weights")
    parser.add_argument("--out", type=Path, default=Path("runs/operators"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
