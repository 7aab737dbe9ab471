"""Without ZeRO: a single worker, and networks that are trained beside others, which every rank holds whole.

The ranks are real processes with gloo, without a compiler in reach. The truth is torch's own optimizer in this process.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.optimizer import OptimizerSettings
from tests.pipelines.training.engines.processes import (
    ADAM,
    ADAMW,
    HALF,
    STEPS,
    Ranks,
    State,
    alone_in_torch,
    check_same,
    train,
)

SCRIPT = """
import sys
from pathlib import Path
import torch, torch.distributed as dist
from torch import nn
from model.optimizer import OptimizerSettings
from pipelines.training.engines.start import start_engine
dist.init_process_group("gloo", init_method=Path("meeting").absolute().as_uri(), rank=0, world_size=1)
torch.manual_seed(0)
network = nn.Linear(3, 2)
adamw = OptimizerSettings(learning_rate=0.1, weight_decay=0.0, gradient_clip=CLIP)
engine = start_engine(network, micro_batch=1, accumulation=2, optimizer=adamw, bf16=False)
before = network.weight.detach().clone()
for number in (1, 2):
    engine.backward(engine(torch.full((1, 3), float(number))).sum())
    engine.step()
    print(torch.equal(network.weight, before))
print(engine.gradient_norm)
print("deepspeed" in sys.modules)
"""


def run(clip: float, folder: Path) -> list[str]:
    command = [sys.executable, "-c", SCRIPT.replace("CLIP", str(clip))]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, check=True).stdout.split()


def test_the_last_micro_batch_changes_the_weights_and_deepspeed_is_not_there(tmp_path: Path) -> None:
    # Gradients of the mean of the sums over two outputs: 1.5 for each of six weights, 1 for each of two biases.
    norm = (6 * 1.5**2 + 2) ** 0.5
    for clip in (0.0, 0.5):
        (tmp_path / str(clip)).mkdir()
        first, second, found, there = run(clip, tmp_path / str(clip))
        assert (first, second, there) == ("True", "False", "False")
        assert abs(float(found) - norm) < 1e-4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plain")


@pytest.fixture(scope="module", params=[ADAMW, ADAM], ids=lambda settings: settings.kind)
def half_way(request: pytest.FixtureRequest, folder: Path) -> tuple[OptimizerSettings, State]:
    """An optimizer, and where two ranks with it are after half of the steps."""
    settings: OptimizerSettings = request.param
    return settings, train(folder, Ranks(count=2, alone=False, optimizer=settings), range(HALF))


def test_two_ranks_step_as_the_optimizer_does_on_the_whole_batch(half_way: tuple[OptimizerSettings, State]) -> None:
    settings, found = half_way
    check_same(found, alone_in_torch(HALF, settings))


def test_a_run_of_two_ranks_goes_on_on_one_as_if_undisturbed(
    folder: Path, half_way: tuple[OptimizerSettings, State]
) -> None:
    settings, start = half_way
    one = Ranks(count=1, alone=False, optimizer=settings)
    check_same(train(folder, one, range(HALF, STEPS), start), alone_in_torch(STEPS, settings))


def test_the_two_optimizers_part_where_weights_decay() -> None:
    adamw, adam = (alone_in_torch(STEPS, settings) for settings in (ADAMW, ADAM))
    assert not torch.allclose(adamw.weights["0.weight"], adam.weights["0.weight"], atol=1e-3)
