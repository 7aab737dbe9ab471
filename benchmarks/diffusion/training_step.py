"""A training step: ours, as a worker runs it, beside that of diffusers' text-to-image fine-tuning script.

Both train the same parameters (UNet and sketch encoder) with AdamW and clipped gradients, encode pictures and
references inside the step, and are given the same samples and random numbers, so that their losses must agree. They
take turns in one process for their time; their memory is that of a process of its own.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.diffusion.peers import FineTuning
from benchmarks.diffusion.sizes import SIZES, Networks, Size, build
from benchmarks.peak_memory import peak_mib
from model.batch import Batch, Draw
from model.diffusion.noise import TIMESTEPS
from model.stage import WHOLE, Stage
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.recipes.stages import stage_recipe
from pipelines.training.draws import draw
from pipelines.training.engines.start import start_engine
from pipelines.training.step import stage_over

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
    return stage_recipe("v1.noisy", "base").changed(
        width=run.side,
        height=run.side,
        micro_batch=run.batch,
        batch_size=run.batch,
        noisy_reference=False,
        reference_drop=0.0,
        gradient_clip=CLIP,
        precision=run.precision,
    )


def stage_around(recipe: StageRecipe, size: Size, networks: Networks, device: torch.device) -> Stage:
    """A stage of networks that are there already."""
    frozen = {"codec": networks.codec, "image_encoder": networks.image_encoder}
    return stage_over(recipe, size.v1, networks.model.requires_grad_(True), frozen, device)


def our_step(run: TrainingRun) -> Step:
    """Conditioning, loss, backward and the optimizer's step, as `train_worker` runs them."""
    device, recipe = torch.device(run.device), recipe_of(run)
    stage = stage_around(recipe, SIZES[run.size], build(SIZES[run.size], run.device), device)
    engine = start_engine(
        stage.model,
        micro_batch=run.batch,
        accumulation=1,
        optimizer=stage.optimizers[WHOLE],
        bf16=run.precision == "bf16",
    )

    def step(batch: Batch) -> torch.Tensor:
        loss = stage.objective(WHOLE, {WHOLE: engine}, stage.prepare(batch))
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
    tuning = FineTuning(networks, recipe.optimizer.learning_rate, recipe.optimizer.gradient_clip, run.precision)
    return lambda batch: tuning(batch, recipe.method.prediction_type)


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
    asked = (  # V1Stage's, at the image encoder's size
        Draw("timesteps", "integers", below=TIMESTEPS),
        Draw("chances", "uniform", (2,)),
        Draw("noise", "normal", latents),
        Draw("posterior_noise", "normal", latents),
        Draw("token_noise", "normal", (size.image_encoder.local_tokens, size.v1.context_width)),
        Draw("shift", "normal", (latents[0], 1, 1)),
    )
    side = size.image_encoder.image_size
    sides = {"sketch": run.side, "color": run.side, "reference": side}
    pictures = {name: torch.rand((run.batch, 3, s, s), generator=made) * 2 - 1 for name, s in sides.items()}
    return Batch(pictures, draw(0, range(ordinal, ordinal + run.batch), asked))


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
