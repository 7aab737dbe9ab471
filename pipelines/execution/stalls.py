"""What work waits for when nothing has ended for a while: resources that it asked for and are not there, or its tasks.

Ray Data ends a pipeline after 30 minutes without an output (`execution_no_progress_timeout_s`), whether a shard takes
that long or the cluster is still fetching machines. Neither is a failure: calls on pictures have limits of their own
(`dataprep.limits`), and a machine may take an hour. So its limit is off (`ray_session`), and a line says what is waited
for, each time that this long has passed.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pipelines.common.progress import NOTICES

REPORT_AFTER_S = float(os.environ.get("IRODORI_STALL_REPORT_S", 300))
ASK_TIMEOUT_S = 5
Shape = Mapping[str, float]  # resources by name


class Stall:
    """Counts since when nothing has ended; `ended` is called for each task that has."""

    def __init__(self, work: str) -> None:
        self._work, self._last = work, time.monotonic()

    def ended(self) -> None:
        """Something has ended: the clock begins anew."""
        self._last = time.monotonic()

    def report(self) -> None:
        """One line of what is waited for."""
        waited = time.monotonic() - self._last
        NOTICES.warning("%s: nothing has ended for %.0f min; %s", self._work, waited / 60, awaited())


@contextmanager
def stall_reports(work: str, after_s: float = REPORT_AFTER_S) -> Iterator[Stall]:
    """While the block runs, a line for each `after_s` without anything that ended."""
    stall, closed = Stall(work), threading.Event()

    def look() -> None:
        latest = stall._last
        while not closed.wait(min(1.0, after_s / 4)):
            latest = max(latest, stall._last)
            if time.monotonic() - latest >= after_s:
                stall.report()
                latest = time.monotonic()

    thread = threading.Thread(target=look, name="stall-reports", daemon=True)
    thread.start()
    try:
        yield stall
    finally:
        closed.set()
        thread.join(timeout=2 * ASK_TIMEOUT_S)


def awaited() -> str:
    """What the Ray that runs waits for, as far as it says."""
    import ray
    from ray.autoscaler.v2.sdk import get_cluster_status

    try:
        status = get_cluster_status(ray.get_runtime_context().gcs_address, timeout=ASK_TIMEOUT_S)
    except (ray.exceptions.RayError, TimeoutError, RuntimeError):
        return "the cluster does not say what it waits for"
    totals = [
        {use.resource_name: use.total for use in node.resource_usage.usage}
        for node in (*status.active_nodes, *status.idle_nodes)
        if node.resource_usage
    ]
    demands = status.resource_demands
    asked: Counter[tuple[tuple[str, float], ...]] = Counter()
    for demand in (*demands.ray_task_actor_demand, *demands.placement_group_demand):
        for bundle in demand.bundles_by_count:
            asked[tuple(sorted(bundle.bundle.items()))] += bundle.count
    starting = Counter(launch.ray_node_type_name for launch in status.pending_launches for _ in range(launch.count))
    starting.update(node.ray_node_type_name for node in status.pending_nodes)
    starting.pop("", None)
    return described(asked, totals, starting, [launch.ray_node_type_name for launch in status.failed_launches])


def described(
    asked: Mapping[tuple[tuple[str, float], ...], int],
    nodes: list[dict[str, float]],
    starting: Mapping[str, int],
    failed: list[str],
) -> str:
    """In words: what no node that is up could hold, what is starting, what could not be started; else what runs."""
    missing = []
    for bundle, count in asked.items():
        wanted = {name: amount for name, amount in bundle if amount and not name.startswith(("node:", "bundle_group"))}
        room = sum(min(int(node.get(name, 0) // amount) for name, amount in wanted.items()) for node in nodes if wanted)
        if wanted and room < count:
            shape = ", ".join(f"{amount:g} {name}" for name, amount in wanted.items())
            missing.append(f"{count - room} x ({shape})")
    if not missing and not starting:
        cpus = sum(node.get("CPU", 0) for node in nodes)
        return f"its tasks run on {len(nodes)} node{'s' if len(nodes) != 1 else ''} with {cpus:g} CPUs"
    parts = [f"asked for and not there: {', '.join(missing)}"] if missing else []
    if starting:
        parts.append("starting: " + ", ".join(f"{count} x {name}" for name, count in starting.items()))
    elif failed:
        parts.append("could not be started: " + ", ".join(sorted(set(failed))))
    else:
        parts.append("no node is starting")
    return "; ".join(parts)
