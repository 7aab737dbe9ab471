"""What is looked at while a stage trains: the same pairs with the same seeds, and the loss on held-out rows.

Both read the validation split, draw their random numbers from fixed counters, and never touch those of training.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.distributed as dist

from dataprep.corpus.reader import CorpusReader
from dataprep.pictures.decode import encode_png
from dataprep.randomness import generator
from dataprep.samples.sample import Sample, evaluation_sample, from_model_image
from dataprep.storage.store import join, write_whole
from model.checkpoint import CheckpointMetadata
from model.diffusion.pipeline import ColorizationPipeline
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.training.draws import draw
from pipelines.training.feeder import Batch, columns, sample_settings, stack
from pipelines.training.stages import V1Stage

FIXED_PAIRS = 4
FIXED_STEPS = 10
FIXED_SEED = 20_260
VALIDATION_ROWS = 32
BANDS = ((0, 250), (250, 500), (500, 750), (750, 1000))


@lru_cache(maxsize=2)
def _validation(corpus: str, snapshot: int, recipe: StageRecipe, reference_size: int) -> tuple[list[Sample], list[str]]:
    """Up to VALIDATION_ROWS evaluation samples and their groups, spread over the split."""
    reader = CorpusReader(corpus, "validation", columns(recipe), snapshot)
    settings = sample_settings(recipe, reference_size)
    indices = np.unique(np.linspace(0, len(reader) - 1, min(VALIDATION_ROWS, len(reader)), dtype=int))
    rows = [reader.row(int(index)) for index in indices]
    samples = [evaluation_sample(row, settings, first_style(row, recipe.styles)) for row in rows]
    return samples, [row["group"] or row["id"] for row in rows]


def first_style(row: dict[str, object], styles: tuple[str, ...]) -> str:
    """The first of `styles` that the row has a sketch of; the first of all where it has none."""
    return next((style for style in styles if row.get(f"sketch_{style}") is not None), styles[0])


def fixed_pairs(groups: list[str], count: int = FIXED_PAIRS) -> list[tuple[int, int]]:
    """Indices of sketches, each with a reference of another group half a list away; sketches are spread evenly."""
    size = len(groups)
    pairs = []
    for sketch in np.unique(np.linspace(0, size - 1, min(count, size), dtype=int)):
        candidates = [(sketch + size // 2 + step) % size for step in range(size)]
        reference = next((other for other in candidates if groups[other] != groups[sketch]), candidates[0])
        pairs.append((int(sketch), int(reference)))
    return pairs


def sample_fixed_pairs(stage: V1Stage, corpus: str, snapshot: int, out: str, images_seen: int) -> None:
    """Colour the fixed pairs with the network as it is; writes `<pair>-<images_seen>.png`, inputs as `<pair>-*.png`."""
    samples, groups = _validation(corpus, snapshot, stage.recipe, stage.shapes.reference_size)
    pairs = fixed_pairs(groups)
    sketches = torch.from_numpy(np.stack([samples[sketch].sketch for sketch, _ in pairs]))
    references = torch.from_numpy(np.stack([samples[reference].reference for _, reference in pairs]))
    settings = SamplingSettings(sampler="ddim", steps=FIXED_STEPS, guidance_scale=2.0)
    stage.model.eval()
    results = _pipeline(stage)(sketches, references, [FIXED_SEED + i for i in range(len(pairs))], settings=settings)
    stage.model.train()
    for number, ((sketch, reference), result) in enumerate(zip(pairs, results.cpu().numpy(), strict=True)):
        write_whole(join(out, f"{number}-{images_seen:09d}.png"), encode_png(from_model_image(result)))
        if images_seen == 0:
            # The sketch goes back to the human convention: black on white is the negative of the model's.
            write_whole(join(out, f"{number}-sketch.png"), encode_png(from_model_image(-samples[sketch].sketch)))
            write_whole(join(out, f"{number}-reference.png"), encode_png(from_model_image(samples[reference].color)))


@torch.no_grad()
def validation_losses(stage: V1Stage, corpus: str, snapshot: int, rank: int, workers: int) -> dict[str, float]:
    """Mean loss on held-out rows, whole and by timestep band, with fixed noise; each rank computes its part."""
    samples, _ = _validation(corpus, snapshot, stage.recipe, stage.shapes.reference_size)
    sums = torch.zeros(len(BANDS), device=stage.device)
    stage.model.eval()
    for index in range(rank, len(samples), workers):
        sums += _losses_by_band(stage, samples[index], index)
    stage.model.train()
    dist.all_reduce(sums)
    means = (sums / len(samples)).tolist()
    bands = {f"validation_loss_{low}_{high}": mean for (low, high), mean in zip(BANDS, means, strict=True)}
    return {"validation_loss": float(np.mean(means))} | bands


def _losses_by_band(stage: V1Stage, sample: Sample, index: int) -> torch.Tensor:
    """The losses (bands,) of one sample at one fixed timestep in each band."""
    sketch, color, reference = stack([sample] * len(BANDS))
    latent_shape = stage.shapes.latent_shape(stage.recipe.width, stage.recipe.height)
    draws = draw(FIXED_SEED, [index * len(BANDS) + band for band in range(len(BANDS))], latent_shape, (1, 1), 0, 0)
    rng = generator(FIXED_SEED, index, "bands")
    draws.timesteps.copy_(torch.tensor([int(rng.integers(low, high)) for low, high in BANDS]))
    conditioned = stage.condition(Batch(sketch, color, reference, draws), training=False)
    return stage.losses(stage.model, conditioned)


def _pipeline(stage: V1Stage) -> ColorizationPipeline:
    metadata = CheckpointMetadata(
        stage=stage.recipe.stage,
        size=stage.recipe.model_size,
        scaling_factor=stage.codec.scaling_factor,
        codec=stage.config.codec,
        image_encoder=stage.config.image_encoder,
        prediction_type=stage.recipe.prediction_type,
        code_version="in training",
    )
    return ColorizationPipeline(stage.model, stage.codec, stage.image_encoder, metadata)
