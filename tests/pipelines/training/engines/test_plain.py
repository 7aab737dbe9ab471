"""A single worker steps without ZeRO; what it computes and how it goes on is tested beside ZeRO's ranks (test_zero)."""

import subprocess
import sys
from pathlib import Path

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
        first, second, told, there = run(clip, tmp_path / str(clip))
        assert (first, second, there) == ("True", "False", "False")
        assert abs(float(told) - norm) < 1e-4
