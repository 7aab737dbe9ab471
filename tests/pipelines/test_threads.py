"""Two threads of torch beside other busy processes: they wait asleep, so the tiny size stays usable."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TURNS, TIMES = 3, 5
MOST_SLOWER = 3.0
POLICY = "OMP_WAIT_POLICY"

# Colours one sketch of 128 x 128 in two steps on two threads, TIMES times for each line read; prints the least seconds.
COLOUR = f"""
import sys, time
import pipelines
import torch
torch.set_num_threads(2)
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.weights.frozen import open_colorist
colorist = open_colorist(sys.argv[1], torch.device("cpu"))
sketch, reference = torch.rand(1, 3, 128, 128), [torch.rand(3, 128, 128)]
def seconds():
    started = time.perf_counter()
    colorist(sketch, reference, [1], settings=SamplingSettings(steps=2, guidance_scale=2.0))
    return time.perf_counter() - started
seconds()
for line in sys.stdin:
    print(min(seconds() for _ in range({TIMES})), flush=True)
"""


@pytest.mark.parametrize(("given", "found"), [({}, "passive"), ({POLICY: "active"}, "active")])
def test_threads_wait_asleep_unless_told_otherwise(given: dict[str, str], found: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != POLICY} | given
    program = f"import os, pipelines; print(os.environ[{POLICY!r}])"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == found


@pytest.mark.slow
def test_with_two_other_busy_processes_the_tiny_size_is_at_most_three_times_slower(untrained_checkpoint: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in (POLICY, "OMP_NUM_THREADS")}
    with subprocess.Popen(
        [sys.executable, "-c", COLOUR, untrained_checkpoint],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as colouring:
        assert colouring.stdin is not None
        assert colouring.stdout is not None

        def turn() -> float:
            assert colouring.stdin is not None
            assert colouring.stdout is not None
            print("again", file=colouring.stdin, flush=True)
            return float(colouring.stdout.readline())

        alone, beside = [], []
        for _ in range(TURNS):
            alone.append(turn())
            with _busy(2):
                beside.append(turn())
        colouring.stdin.close()
    assert min(beside) / min(alone) <= MOST_SLOWER, (alone, beside)


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many other processes that do nothing but compute."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
