"""A training step: ours, as a worker runs it, beside that of diffusers' text-to-image fine-tuning script.

Both train the same parameters (UNet and sketch encoder) with AdamW and clipped gradients, encode pictures and
references inside the step, and are given the same samples and random numbers, so that their losses must agree. They
take turns in one process for their time; their memory is that of a process of its own.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.diffusion.peers import FineTuning
from benchmarks.diffusion.sizes import SIZES, Networks, Size, build
from benchmarks.peak_memory import peak_mib
from pipelines.recipes.stage_recipe import StageRecipe, stage_recipe
from pipelines.training.draws import draw
from pipelines.training.engines.engine import start_engine
from pipelines.training.feeder import Batch
from pipelines.training.stages import V1Stage

CLIP = 1.0  # the script's default
EXACT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # else the allocator keeps up to a tenth more, as it happens
Step = Callable[[Batch], torch.Tensor]


@dataclass(frozen=True)
class TrainingRun:
    """What is measured: a side of ours or theirs, at a size of diffusion_sizes and a picture's side in pixels."""

    who: str
    size: str
    side: int
    batch: int
    device: str
    precision: str


def recipe_of(run: TrainingRun) -> StageRecipe:
    """v1.noisy with nothing drawn that the script has not: references are neither noised nor dropped."""
    return replace(
        stage_recipe("v1.noisy", "base"),
        width=run.side,
        height=run.side,
        micro_batch=run.batch,
        batch_size=run.batch,
        noisy_reference=False,
        reference_drop=0.0,
        gradient_clip=CLIP,
        precision=run.precision,
    )


class RandomStage(V1Stage):
    """A stage of networks that are there already."""

    def __init__(self, recipe: StageRecipe, size: Size, networks: Networks, device: torch.device) -> None:
        self.recipe, self.device, self.config = recipe, device, size.v1
        self.model = networks.model.train().requires_grad_(True)
        self.freeze(networks.codec, networks.image_encoder)


def our_step(run: TrainingRun) -> Step:
    """Conditioning, loss, backward and the optimizer's step, as `train_worker` runs them."""
    device, recipe = torch.device(run.device), recipe_of(run)
    stage = RandomStage(recipe, SIZES[run.size], build(SIZES[run.size], run.device), device)
    engine = start_engine(
        stage.model,
        micro_batch=run.batch,
        accumulation=1,
        optimizer={
            "lr": recipe.learning_rate,
            "betas": (recipe.beta1, recipe.beta2),
            "weight_decay": recipe.weight_decay,
            "gradient_clip": recipe.gradient_clip,
        },
        bf16=run.precision == "bf16",
    )

    def step(batch: Batch) -> torch.Tensor:
        loss = stage.training_loss(engine, stage.condition(batch))
        engine.backward(loss)
        engine.step()
        return loss.detach()

    return step


def their_step(run: TrainingRun) -> Step:
    """The script's step."""
    recipe = recipe_of(run)
    networks = build(SIZES[run.size], run.device)
    if run.precision == "bf16":
        networks.codec.to(torch.bfloat16)
        networks.image_encoder.to(torch.bfloat16)
    tuning = FineTuning(networks, recipe.learning_rate, recipe.gradient_clip, run.precision)
    return lambda batch: tuning(batch, recipe.prediction_type)


STEPS = {"diffusers": their_step, "ours": our_step}


@contextmanager
def one_process(device: str) -> Iterator[None]:
    """Without it there are no steps: torch.distributed of this process alone."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        dist.init_process_group("nccl" if device == "cuda" else "gloo", init_method=meeting, rank=0, world_size=1)
        try:
            yield
        finally:
            dist.destroy_process_group()


def batch_of(run: TrainingRun, ordinal: int = 0) -> Batch:
    """Random pictures, and the draws that a worker would make."""
    size, made = SIZES[run.size], torch.Generator().manual_seed(ordinal)
    latents = (size.v1.latent_channels, run.side // 8, run.side // 8)
    tokens = (size.image_encoder.local_tokens, size.v1.context_width)
    draws = draw(0, range(ordinal, ordinal + run.batch), latents, tokens, 0.0, 0.0)
    shape, side = (run.batch, 3, run.side, run.side), size.image_encoder.image_size
    sketch, color = (torch.rand(shape, generator=made) * 2 - 1 for _ in range(2))
    return Batch(sketch, color, torch.rand((run.batch, 3, side, side), generator=made) * 2 - 1, draws)


def memory(run: TrainingRun, threads: int) -> dict[str, float]:
    """{peak_mib, first_loss, last_loss} of three steps in this process, libraries not counted.

    On a CPU it must have been started with EXACT_MEMORY in its environment.
    """
    torch.set_num_threads(threads)
    on_gpu = run.device == "cuda"
    with one_process(run.device):
        before = peak_mib(on_gpu) or 0.0
        step, batch = STEPS[run.who](run), batch_of(run)
        losses = [float(step(batch)) for _ in range(3)]
    return {"peak_mib": (peak_mib(on_gpu) or 0.0) - before, "first_loss": losses[0], "last_loss": losses[-1]}
