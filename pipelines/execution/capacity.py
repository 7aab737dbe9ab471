"""What a cluster has and what it can bring: nodes that are up, node types of its autoscaler, and the device of work.

Work asks for what it needs and the autoscaler brings it, so a device is chosen by what can be brought, never by what
happens to be up. Ray 2.60 tells nobody which node types its autoscaler may start: they are read on the head node, from
the file that its autoscaler was given. Where that runs elsewhere (KubeRay's stands in a container of its own) they stay
unknown, and a request waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import yaml

from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError, nearest

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = ("auto", "cpu", "cuda")
Node = tuple[float, float]  # CPUs and GPUs of a machine
HEAD = "node:__internal_head__"  # a resource of the head node alone
LOOK_TIMEOUT_S = 60
CONFIG_FILE, GCS_ADDRESS = "--autoscaling-config=", "--gcs-address="


@dataclass(frozen=True)
class NodeType:
    """Machines of one kind that an autoscaler may start, at most so many."""

    name: str
    cpus: float
    gpus: float
    most: int


@dataclass(frozen=True)
class Capacity:
    """The nodes that are up, and the types that an autoscaler may start: none where there is no autoscaler.

    types: None where nobody can say. most: nodes that the autoscaler starts in all. local: this machine alone.
    """

    up: tuple[Node, ...]
    types: tuple[NodeType, ...] | None = ()
    most: int = 0
    local: bool = False

    @property
    def cpus_up(self) -> int:
        """CPUs of the nodes that are up."""
        return int(sum(cpus for cpus, _ in self.up))

    @property
    def gpus_up(self) -> int:
        """GPUs of the nodes that are up."""
        return int(sum(gpus for _, gpus in self.up))

    @property
    def cpus(self) -> int:
        """CPUs that there are or can be."""
        return max(self.cpus_up, self._brought([(kind.cpus, kind.most) for kind in self.types or ()]))

    @property
    def gpus(self) -> int:
        """GPUs that there are or can be."""
        return max(self.gpus_up, self._brought([(kind.gpus, kind.most) for kind in self.types or ()]))

    def machines(self) -> list[Node]:
        """The machines that there are or can be: those that are up, or all that may be started where these are more."""
        if self.gpus <= self.gpus_up:
            return list(self.up)
        kinds = sorted(self.types or (), key=lambda kind: (kind.gpus, kind.cpus), reverse=True)
        return [(kind.cpus, kind.gpus) for kind in kinds for _ in range(kind.most)][: self.most]

    def described(self) -> str:
        """The node types with their GPUs, for a message."""
        kinds = [f"{kind.name} (up to {kind.most}, {kind.gpus:g} GPUs each)" for kind in self.types or ()]
        return ", ".join(kinds)

    def _brought(self, types: list[tuple[float, int]]) -> int:
        """Of one resource, what the most nodes have together: those with most of it first."""
        total, left = 0.0, self.most
        for held, most in sorted(types, reverse=True):
            total += held * min(most, left)
            left -= min(most, left)
        return int(total)


def checked_device(name: str) -> Device:
    """The device of that name. Raises SettingsError for another."""
    for device in DEVICES:
        if device == name:
            return device
    raise SettingsError(f"there is no device {name!r}: {nearest(name, DEVICES)}")


def chosen_device(
    asked: Device, capacity: Capacity, *, gpus: int, needs_gpu: bool, work: str, instead: str = "--device cpu"
) -> Literal["cpu", "cuda"]:
    """Where `work` runs that takes so many GPUs, if it takes any.

    "auto" takes GPUs where `needs_gpu` or where they are or can be brought; a cluster that has some of them is taken
    for one that is still starting, and waited for. Raises PipelineError at once for a request that can never be met:
    `instead` is what asks for CPUs.
    """
    if asked == "cpu":
        return "cpu"
    growing = not capacity.local and not capacity.types and capacity.gpus_up > 0
    wanted = asked == "cuda" or needs_gpu
    if capacity.gpus >= gpus or growing or (wanted and capacity.types is None):
        return "cuda"
    if not wanted:
        return "cpu"
    asks = f"{work} needs {gpus} GPU{'s' if gpus > 1 else ''}"
    if capacity.local:
        there = f"this machine has {capacity.gpus or 'none'}"
        raise PipelineError(f"{asks} and {there}. Use a cluster that has them (--address), or CPUs: {instead}")
    if not capacity.types:
        raise PipelineError(
            f"{asks}: no node of the cluster has a GPU, and it has no autoscaler to start one. "
            f"Add a GPU node, or use CPUs: {instead}"
        )
    raise PipelineError(
        f"{asks} and the cluster can have {capacity.gpus or 'none'}; its node types are {capacity.described()}. "
        f"Add a node type or raise its max_workers, or use CPUs: {instead}"
    )


def no_cuda(where: str) -> PipelineError:
    """What a worker says that was given a GPU and finds none."""
    return PipelineError(
        f"no CUDA device is visible on {where}, which was to compute on a GPU. Is its driver installed, and does "
        "`nvidia-smi` list the device there? Nothing was computed on its CPUs instead."
    )


def own_capacity() -> Capacity:
    """What an engine has that is started on this machine, known before it starts. GPUs are counted as Ray counts them,
    by the driver and the environment variable that hides some.
    """
    from ray._private.accelerators import get_accelerator_manager_for_resource

    manager: Any = get_accelerator_manager_for_resource("GPU")
    gpus, visible = manager.get_current_node_num_accelerators(), manager.get_current_process_visible_accelerator_ids()
    gpus = gpus if visible is None else min(gpus, len(visible))
    return Capacity(((psutil.cpu_count() or 1, gpus),), local=True)


def read_capacity() -> Capacity:
    """What the Ray that runs has and can bring."""
    import ray

    up = tuple(
        (one["Resources"].get("CPU", 0.0), one["Resources"].get("GPU", 0.0)) for one in ray.nodes() if one["Alive"]
    )
    node = ray._private.worker._global_node
    if node is not None and node.is_head():  # started by this process: a machine that stays alone
        return Capacity(up, local=True)
    look: Any = ray.remote(num_cpus=0, resources={HEAD: 0.001}, max_retries=1)(autoscaler_config)
    try:
        config = ray.get(look.remote(), timeout=LOOK_TIMEOUT_S)
    except (ray.exceptions.GetTimeoutError, ray.exceptions.RayTaskError):
        config = None
    if config is None:
        return Capacity(up, types=None)
    return Capacity(up, *node_types(config))


def node_types(config: Mapping[str, Any]) -> tuple[tuple[NodeType, ...], int]:
    """The node types of a cluster file that may have workers, and the most workers of all together."""
    head, most = config.get("head_node_type"), int(config.get("max_workers", 2))
    types = tuple(
        NodeType(
            name=name,
            cpus=float(kind.get("resources", {}).get("CPU", 0)),
            gpus=float(kind.get("resources", {}).get("GPU", 0)),
            most=min(int(kind.get("max_workers", 0 if name == head else most)), most),
        )
        for name, kind in config.get("available_node_types", {}).items()
    )
    return tuple(kind for kind in types if kind.most), most


def autoscaler_config() -> dict[str, Any] | None:
    """Run on the head node: the cluster file of its autoscaler; {} where it has none; None where it runs elsewhere."""
    import ray

    port = ray.get_runtime_context().gcs_address.rpartition(":")[2]
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        address = next((word for word in words if word.startswith(GCS_ADDRESS)), "")
        if address.rpartition(":")[2] != port or not any(word.endswith("monitor.py") for word in words):
            continue
        if any("log_monitor" in word for word in words):
            continue
        file = next((word.removeprefix(CONFIG_FILE) for word in words if word.startswith(CONFIG_FILE)), None)
        if file is None:
            return {}
        found: dict[str, Any] = yaml.safe_load(Path(file).expanduser().read_text(encoding="utf-8"))
        return found
    return None
