"""Two networks trained against each other on two workers: plain engines beside ZeRO-2, in turns.

`python -m benchmarks.costs.engines` takes linear layers of 42 and 2.3 million parameters, RBCA's generator and
discriminator, and prints the median time of a step of both and the memory that a worker takes beyond its weights. The
question is which engine a stage of several networks gets (pipelines.training.engines.start).
"""

import os
import socket
import statistics
import time

import psutil
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn

from model.optimizer import OptimizerSettings
from pipelines.training.engines.engine import TrainingEngine
from pipelines.training.engines.plain import PlainEngine
from pipelines.training.engines.zero import ZeroEngine

PARAMETERS = (42_000_000, 2_300_000)
WIDTH, WORKERS, BATCH, STEPS, ROUNDS = 1024, 2, 2, 8, 3
ENGINES = ("plain", "zero")


def network(parameters: int) -> nn.Module:
    """Square layers of about so many parameters."""
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(max(1, parameters // WIDTH**2))))


def worker(rank: int, port: int, kind: str) -> None:
    """Steps both networks; rank 0 prints what it measured."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK="0")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=WORKERS)
    settings = OptimizerSettings(kind="adam", beta1=0.5, beta2=0.99)
    networks = [network(parameters) for parameters in PARAMETERS]
    weights = psutil.Process().memory_info().rss
    engines: list[TrainingEngine] = []
    for one in networks:
        plain = kind == "plain"
        engines.append(PlainEngine(one, 1, settings, False) if plain else ZeroEngine(one, BATCH, 1, settings, False))
    inputs, times = torch.randn(BATCH, WIDTH), []
    for _ in range(STEPS):
        started = time.perf_counter()
        for engine in engines:
            engine.backward(engine(inputs).square().mean())
            engine.step()
        dist.barrier()
        times.append(time.perf_counter() - started)
    if rank == 0:
        added = psutil.Process().memory_info().rss - weights
        print(
            f"{kind:<5}  {statistics.median(times[2:]):.3f} s a step  {added >> 20} MiB beyond the weights", flush=True
        )
    dist.destroy_process_group()


def main() -> None:
    """ROUNDS times, each engine in turn."""
    for _ in range(ROUNDS):
        for kind in ENGINES:
            with socket.socket() as door:
                door.bind(("127.0.0.1", 0))
                port = door.getsockname()[1]
            spawn(worker, args=(port, kind), nprocs=WORKERS)


if __name__ == "__main__":
    main()
