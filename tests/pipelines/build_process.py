"""A build in a process of its own, that a test may kill: SOURCE OUT CPUS; prints the digest."""

import sys

from pipelines.build import run_build
from pipelines.ray_session import ray_session
from tests.corpus_pictures import SMALL

if __name__ == "__main__":
    source, out, cpus = sys.argv[1:]
    with ray_session(f"{out}.log", num_cpus=int(cpus)):
        print(run_build([source], out, SMALL).digest)
