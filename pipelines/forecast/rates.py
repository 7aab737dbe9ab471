"""How fast a device is: what the user says, what was measured, or a share of the peak, which makes an estimate."""

import math
from dataclasses import dataclass

from pipelines.common.devices import CARRIES, PEAKS
from pipelines.common.errors import PipelineError
from pipelines.execution.cluster_file import WorkerGroup
from pipelines.forecast.measured import NetworkCost
from pipelines.recipes.build_recipe import NetworkSettings

TF32 = 0.5  # of that peak: float32 convolutions and products on these devices, where TF32 is allowed
TRAINING = 0.28  # of the peak: what MosaicML's published 36.3 images a second of an A100 (SD2, 512 x 512) come to
EXTRACTION = 0.2  # of the peak, assumed: U-Nets of 32 to 512 channels, single pictures or small batches


@dataclass(frozen=True)
class RateGiven:
    """What the user says of the devices; None where nothing."""

    images_per_s: float | None = None
    peak_tflops: float | None = None
    utilisation: float | None = None


@dataclass(frozen=True)
class GPUTime:
    """Milliseconds of one GPU on one picture; `origin` says how they are known."""

    ms: float
    origin: str
    estimate: bool


def peak_of(group: WorkerGroup, given: RateGiven) -> tuple[str, float] | None:
    """(device, dense bf16 TFLOPS) of one device of the group, where it is known."""
    if given.peak_tflops:
        return "given", given.peak_tflops
    own = CARRIES.get(group.instance)
    return None if own is None else (own, PEAKS[own])


def relative_speed(measured: str, group: WorkerGroup, given: RateGiven) -> tuple[float, str] | None:
    """How fast a GPU of the group is beside the `measured` one, and what is assumed for that: "" where it is the same.

    None where the measurement says less than the peak of the group's GPU, which is known, does.
    """
    own = CARRIES.get(group.instance)
    if own == measured:
        return 1.0, ""
    if given.peak_tflops:
        return None
    if own is None:
        return 1.0, f"assumed: the GPUs of {group.name}, of unknown kind, are as fast"
    if measured not in PEAKS:
        return None
    ratio = PEAKS[own] / PEAKS[measured]
    return ratio, f"assumed: one {own} of {group.name} is {ratio:.2g} times as fast, as the peaks are"


def gpu_time(
    cost: NetworkCost, megapixels: float, networks: NetworkSettings, group: WorkerGroup, given: RateGiven
) -> GPUTime:
    """Of one network on a picture. PipelineError where neither a measurement nor a peak is known.

    A measurement counts for the device it was made on, and makes an estimate for another or an unknown one; a peak
    that the user gives is taken instead of it.
    """
    precision = networks.precision if networks.precision in cost.half else "float32"
    if precision in cost.gpu and not (given.peak_tflops or given.utilisation):
        known = cost.gpu[precision]
        speed = relative_speed(known.device, group, given)
        if speed is not None:
            ratio, assumed = speed
            origin = f"networks in {precision} on one {known.device}, {known.date}"
            origin = f"estimate: measured: {origin}; {assumed}" if assumed else f"measured: {origin}"
            return GPUTime(known.ms.at(megapixels) / ratio, origin, bool(assumed))
    peak = peak_of(group, given)
    if peak is None:
        raise PipelineError(
            f"nothing is known of the speed of networks on {group.name}: give --peak-tflops of one device, or "
            "--set networks.device=cpu"
        )
    device, tflops = peak
    share, reached = given.utilisation or EXTRACTION, tflops * (TF32 if precision == "float32" else 1.0)
    ms = 1e3 * cost.flops.at(megapixels) / (reached * 1e12 * share)
    origin = f"estimate: networks in {precision}: counted operations at {share:.0%} (assumed) of {reached:g} TFLOPS"
    return GPUTime(ms, f"{origin} ({device})", True)


def gpu_hours(
    device_hours: float, core_hours: float, tasks: int, networks: NetworkSettings, group: WorkerGroup
) -> float:
    """Hours of the work of actors that share GPUs, before any loss.

    An actor's cores and its GPU take turns, so that a GPU is busy only as far as its actors together keep it so.
    """
    actors = max(1, min(networks.actors or networks.per_gpu * group.devices, group.cores // networks.cpus, tasks))
    return max(device_hours / group.devices, math.ceil(tasks / actors) * (device_hours + core_hours) / tasks)
