"""A build on a Ray cluster of two nodes with one CPU each, one of which is taken away in mid-build: SOURCE OUT.

Prints a line of JSON: the digest, the tries of tasks that ran on each node, and the shards done when the node went.
"""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import Task, Work, over_ray
from tests.pipelines.corpus_build.test_faults_operators import DRILLED

NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}
LAST_COLUMN = "region_map"
ENOUGH = 3  # shards that are done when the node goes


class Tries:
    """`over_ray`, with a file for each try of a task, named for the node that it ran on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    def engine(self, work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
        folder = str(self.folder)

        def counted(task: Task) -> Task:
            node = ray.get_runtime_context().get_node_id()
            Path(folder, f"{node}-{time.time_ns()}").touch()
            return work(task)

        return over_ray(counted, tasks)

    def by_node(self) -> Counter[str]:
        return Counter(path.name.partition("-")[0] for path in self.folder.iterdir())


def main(source: str, out: str) -> None:
    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    second = cluster.add_node(**NODE)
    ray.init(address=cluster.address, log_to_driver=False)
    tries = Tries(Path(f"{out}-tries"))
    removed: list[int] = []

    def remove() -> None:
        def done() -> int:
            return len(list(Path(out).glob(f"data/*/*/{LAST_COLUMN}-*.parquet")))

        while done() < ENOUGH or not tries.by_node()[second.node_id]:
            time.sleep(0.05)
        removed.append(done())
        cluster.remove_node(second, allow_graceful=False)

    threading.Thread(target=remove, daemon=True).start()
    report = run_build([source], out, DRILLED, engine=tries.engine)
    counts = tries.by_node()
    print(json.dumps({"digest": report.digest, "tries": [counts[second.node_id], counts.total()], "removed": removed}))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
