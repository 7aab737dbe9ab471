"""The machines of a forecast: the worker groups of a Ray cluster file, or this machine.

Prices are never guessed: they are given by hand, or stand as a label of the node type in the cluster file,
`labels: { irodori/price-per-hour: "2.10" }`; without one there are machine hours and no money.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NotRequired, TypedDict

import psutil

from dataprep.documents import DocumentError, checked
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError, nearest, read_yaml

MOST_OF_A_GROUP = 1_000_000  # machines, cores or money: more is a slip
PRICE_LABEL = "irodori/price-per-hour"


@dataclass(frozen=True)
class WorkerGroup:
    """`machines` equal machines. price: of one for an hour, in the currency of the user; None where unknown."""

    name: str
    machines: int
    cpus: int  # of one machine
    gpus: int = 0
    instance: str = ""
    price: float | None = None
    head_price: float | None = None  # the head node runs as long as the work
    notes: tuple[str, ...] = ()

    @property
    def cores(self) -> int:
        return self.machines * self.cpus

    @property
    def devices(self) -> int:
        return self.machines * self.gpus

    def cost(self, machine_hours: float, hours: float) -> float | None:
        """The price of so many machine hours and of the head for `hours`, or None where the price is unknown."""
        return None if self.price is None else self.price * machine_hours + (self.head_price or 0.0) * hours


def this_machine(prices: Mapping[str, float]) -> list[WorkerGroup]:
    """The machine that asks, as a group "here"."""
    _check_prices(prices, ["here"])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1
    return [WorkerGroup("here", 1, cores, price=prices.get("here"), notes=("no --cluster: this machine alone",))]


def read_cluster(path: str, prices: Mapping[str, float]) -> list[WorkerGroup]:
    """The groups that may have workers, at their largest. `prices`: group -> price, over what the file says.

    Raises PipelineError for a file that is no cluster file, SettingsError for a price of a group that is not there.
    """
    try:
        cluster = checked(read_yaml(path), _Cluster, path)
        types, head = cluster["available_node_types"], cluster["head_node_type"]
        groups = [_group(name, kind, cluster["max_workers"]) for name, kind in types.items()]
        if head not in types:
            raise DocumentError(f"head_node_type {head} is no key of available_node_types")
    except (OSError, ValueError, DocumentError) as error:
        reason = " ".join(str(error).split()).removeprefix(f"{path}: ")
        raise PipelineError(f"{path}: no cluster file of Ray ({reason})") from error
    _check_prices(prices, [group.name for group in groups])
    groups = [replace(group, price=prices.get(group.name, group.price)) for group in groups]
    head_price = next(group.price for group in groups if group.name == head)
    note = f"the head node ({head}) is " + ("priced with it" if head_price is not None else "not priced")
    workers = [replace(group, head_price=head_price, notes=(note,)) for group in groups if group.machines]
    if not workers:
        raise PipelineError(f"{path}: no node type may have workers (max_workers is 0 everywhere)")
    return workers


def group_for(groups: list[WorkerGroup], gpus: bool) -> WorkerGroup:
    """The group with the most devices (or, without `gpus`, the most cores among those that have none, else of all)."""
    if gpus:
        able = [group for group in groups if group.devices]
        if not able:
            raise PipelineError(
                "no worker group has a GPU; give a cluster file that has one with --cluster "
                "(a corpus on CPUs: --set networks.device=cpu)"
            )
        return max(able, key=lambda group: group.devices)
    return max([group for group in groups if not group.gpus] or groups, key=lambda group: group.cores)


class _Resources(TypedDict):
    CPU: NotRequired[int | float]
    GPU: NotRequired[int | float]


class _NodeType(TypedDict):
    resources: _Resources
    max_workers: NotRequired[int]
    labels: NotRequired[dict[str, str | float]]
    node_config: NotRequired[dict[str, Any]]


class _Cluster(TypedDict):
    max_workers: int
    head_node_type: str
    available_node_types: dict[str, _NodeType]


def _group(name: str, kind: _NodeType, most: int) -> WorkerGroup:
    """One node type. Raises ValueError for numbers that no machine has."""
    resources, label = kind["resources"], kind.get("labels", {}).get(PRICE_LABEL)
    machines = min(kind.get("max_workers", 0), most)
    cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    price = None if label is None else float(label)
    for what, number in {"machines": machines, "CPU": cpus, "GPU": gpus, "price": price or 0.0}.items():
        if not 0 <= number <= MOST_OF_A_GROUP:
            raise ValueError(f"{name}: {what} is {number:g}")
    instance = kind.get("node_config", {}).get("InstanceType", "")
    return WorkerGroup(name, machines, cpus, gpus, instance=str(instance), price=price)


def _check_prices(prices: Mapping[str, float], names: list[str]) -> None:
    for name in prices:
        if name not in names:
            raise SettingsError(f"there is no worker group {name!r} to price: {nearest(name, names)}")
