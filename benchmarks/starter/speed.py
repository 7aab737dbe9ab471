"""Seconds that `irodori colorize` takes for a sketch, after loading: whole calls, the loop alone.

Checkpoints take turns, so that what else the machine does falls on all of them; ratios are of medians.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import torch

from benchmarks.starter.drawings import assembled_drawings
from dataprep.pictures.decode import encode_png
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.colorization.colorize import Colorist, Failed, Made
from pipelines.colorization.jobs import ColorizeJob
from pipelines.colorization.picture_settings import PictureSettings, sampling_settings
from pipelines.colorization.roles import REFERENCE
from pipelines.colorization.run_settings import RunSettings
from pipelines.weights.checkpoints import absolute_checkpoint, metadata_at

SIDE, ROUNDS = 1024, 15


@dataclass
class Timed:
    """What was measured of a checkpoint, in seconds."""

    colorist: Colorist
    loading: float
    size: tuple[int, int]  # (width, height) of the network's picture
    whole: list[float] = field(default_factory=list)
    loop: list[float] = field(default_factory=list)

    @property
    def sampling(self) -> SamplingSettings:
        return self.colorist.settings.sampling

    @property
    def medians(self) -> tuple[float, float]:
        """Of a whole call and of the loop."""
        return statistics.median(self.whole), statistics.median(self.loop)


def speed(compared: Sequence[tuple[str, Mapping[str, str]]], side: int = SIDE, rounds: int = ROUNDS) -> str:
    """A Markdown table: loading, a whole call after it, the loop within it; and how many times faster the first is.

    compared: checkpoints, each with what is changed of its own sampling. side: of the sketch, in px.
    """
    with tempfile.TemporaryDirectory() as folder:
        sketch, reference = _inputs(Path(folder), side)
        timed = [_loaded(*one, _job(folder, sketch, reference, 0)) for one in compared]
        for seed in range(1, rounds + 1):
            for one in timed:
                one.whole.append(_call(one.colorist, _job(folder, sketch, reference, seed))[0])
                one.loop.append(_loop(one, seed))
    return _table([checkpoint for checkpoint, _ in compared], timed, side)


def _inputs(folder: Path, side: int) -> tuple[str, str]:
    (drawing,) = assembled_drawings(1)
    sketch, reference = folder / "sketch.png", folder / "reference.png"
    sketch.write_bytes(encode_png(cv2.resize(drawing.sketch, (side, side), interpolation=cv2.INTER_CUBIC)))
    reference.write_bytes(encode_png(drawing.reference))
    return str(sketch), str(reference)


def _job(folder: str, sketch: str, reference: str, seed: int) -> ColorizeJob:
    out = str(Path(folder) / f"{seed}.png")
    return ColorizeJob(sketch=sketch, references={REFERENCE: reference}, out=out, seed=seed)


def _loaded(checkpoint: str, changes: Mapping[str, str], job: ColorizeJob) -> Timed:
    own = metadata_at(absolute_checkpoint(checkpoint)).own_sampling()
    settings = PictureSettings(sampling_settings(changes, own))
    colorist = Colorist(checkpoint, settings, RunSettings(again=True))
    start = time.perf_counter()
    colorist.pipeline  # noqa: B018 (loads)
    loading = time.perf_counter() - start
    _, made = _call(colorist, job)
    return Timed(colorist, loading, (made.network_width, made.network_height))


def _call(colorist: Colorist, job: ColorizeJob) -> tuple[float, Made]:
    """Seconds from files to the file, and what was made."""
    start = time.perf_counter()
    (made,) = colorist.make([job])
    took = time.perf_counter() - start
    assert not isinstance(made, Failed), made.reason
    return took, made


def _loop(one: Timed, seed: int) -> float:
    """Seconds of all steps: of a call with them all, without one with a single step, by the number of steps between.

    Of one step alone it cannot be told from the rest: nan.
    """
    (width, height), sampling = one.size, one.sampling
    if sampling.steps == 1:
        return float("nan")
    sketch, reference = torch.full((1, 3, height, width), -1.0), torch.zeros(1, 3, SIDE, SIDE)
    seconds = []
    for steps in (sampling.steps, 1):
        start = time.perf_counter()
        one.colorist.pipeline(sketch, reference, [seed], steps=steps, settings=sampling)
        seconds.append(time.perf_counter() - start)
    return (seconds[0] - seconds[1]) * sampling.steps / (sampling.steps - 1)


def _table(checkpoints: Sequence[str], timed: Sequence[Timed], side: int) -> str:
    rounds = len(timed[0].whole)
    lines = [
        f"A sketch of {side:,} x {side:,}, its lines kept; {torch.get_num_threads()} threads; medians of {rounds}.",
        "",
        "| checkpoint | network's picture | steps | guidance scale | loading, s | whole call, s | loop, s |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, one in zip(checkpoints, timed, strict=True):
        (width, height), (whole, loop) = one.size, one.medians
        lines.append(
            f"| {name} | {width}x{height} | {one.sampling.steps} | {one.sampling.guidance_scale:g} "
            f"| {one.loading:.2f} | {whole:.2f} | {loop:.3f} |"
        )
    for name, one in zip(checkpoints[1:], timed[1:], strict=True):
        whole, loop = (other / own for own, other in zip(timed[0].medians, one.medians, strict=True))
        lines.append(f"\n{checkpoints[0]} against {name}: whole call {whole:.1f} times, loop {loop:.1f} times.")
    return "\n".join(lines)
