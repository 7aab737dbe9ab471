"""A build in a process of its own, that a test may kill: SOURCE OUT CPUS [GATE]; prints the digest.

No CPUs: without Ray. GATE is a folder where this build waits for another one before it commits.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from dataprep.errors import DataError
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import Task, Work, in_process
from pipelines.execution.ray_session import ray_session
from tests.corpus_pictures import SMALL

WAIT_S = 30


class Gate:
    """An engine that ends its second phase, the columns, only when two processes have come so far."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.phases = folder, 0

    def engine(self, work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
        self.phases += 1
        yield from in_process(work, tasks)
        if self.phases == 2:
            (self.folder / str(os.getpid())).touch()
            deadline = time.monotonic() + WAIT_S
            while len(list(self.folder.iterdir())) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)


if __name__ == "__main__":
    source, out, cpus, *gate = sys.argv[1:]
    try:
        if cpus == "0":
            print(run_build([source], out, SMALL, engine=Gate(Path(*gate)).engine).digest)
        else:
            with ray_session(f"{out}.log", num_cpus=int(cpus)):
                print(run_build([source], out, SMALL).digest)
    except DataError as error:
        sys.exit(str(error))
