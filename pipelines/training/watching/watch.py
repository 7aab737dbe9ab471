"""What is looked at while a stage trains: the same pairs with the same seeds, and metrics of held-out rows.

Both read the validation split, draw their random numbers from fixed counters, and never touch those of training.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from dataprep.pictures.decode import encode_png
from dataprep.randomness import generator
from dataprep.samples.polarity import from_model_sketch
from dataprep.samples.sample import Sample, evaluation_sample
from dataprep.samples.values import from_model_image
from dataprep.storage.store import join, write_whole
from model.batch import Needs
from model.diffusion.sampling_settings import SamplingSettings
from model.finite import check_pictures
from model.stage import Stage
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.training.draws import draw, stratified
from pipelines.training.feeder import open_split, sample_settings, second_rows, stacked

FIXED_PAIRS = 4
FIXED_STEPS = 10
FIXED_SEED = 20_260
VALIDATION_ROWS = 32
Measured = Mapping[str, torch.Tensor]


def _held_out(recipe: StageRecipe, needs: Needs, corpus: str, snapshot: int) -> tuple[list[Sample], list[str]]:
    """Up to VALIDATION_ROWS evaluation samples and their groups, spread over the split."""
    return _read(corpus, snapshot, recipe, _Hashed(needs))


class _Hashed:
    """Needs as the key of a cache: equal where they ask for the same."""

    def __init__(self, needs: Needs) -> None:
        self.needs = needs

    def __hash__(self) -> int:
        return hash((self.needs.reference_size, self.needs.pictures))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashed) and self.needs == other.needs


@lru_cache(maxsize=2)
def _read(corpus: str, snapshot: int, recipe: StageRecipe, hashed: _Hashed) -> tuple[list[Sample], list[str]]:
    needs = hashed.needs
    reader = open_split(corpus, "validation", recipe, needs, snapshot, facts=True)
    settings = sample_settings(recipe, needs)
    seconds = second_rows(reader, recipe, needs, FIXED_SEED)
    indices = np.unique(np.linspace(0, len(reader) - 1, min(VALIDATION_ROWS, len(reader)), dtype=int))
    samples, groups = [], []
    for number, index in enumerate(indices.tolist()):
        row = reader.row(index)
        second = reader.row(seconds.row_of(number, index)) if seconds else None
        style = first_style(row, recipe.samples.styles)
        samples.append(evaluation_sample(row, settings, style, second=second))
        groups.append(row["group"] or row["id"])
    return samples, groups


def first_style(row: Mapping[str, object], styles: tuple[str, ...]) -> str:
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


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Every part of the model in evaluation mode, and afterwards as it was: a stage may keep some there for good."""
    trained = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in trained:
            module.training = True


def sample_fixed_pairs(
    stage: Stage, recipe: StageRecipe, corpus: str, snapshot: int, out: str, images_seen: int
) -> None:
    """Colour the fixed pairs with the network as it is; writes `<pair>-<images_seen>.png`, inputs as `<pair>-*.png`.

    Nothing where the stage's network colours nothing. Raises ModelError for pictures that are not finite.
    """
    colorist = stage.colorist()
    if colorist is None:
        return
    samples, groups = _held_out(recipe, stage.needs, corpus, snapshot)
    pairs = fixed_pairs(groups)
    sketches = torch.from_numpy(np.stack([samples[sketch].sketch for sketch, _ in pairs]))
    # As large as the stage's networks see them, where they see more than the image encoder's square.
    shown_as = "reference@window" if "reference@window" in stage.needs.pictures else "reference"
    references = torch.from_numpy(np.stack([samples[reference].pictures[shown_as] for _, reference in pairs]))
    usual = SamplingSettings(sampler="ddim", steps=FIXED_STEPS, guidance_scale=2.0)
    settings = replace(usual, **stage.recorded().get("sampling", {}))
    shown = [stacked([samples[pair[side]] for pair in pairs], {}) for side in range(2)]
    with evaluating(stage.model):
        seeds = [FIXED_SEED + i for i in range(len(pairs))]
        results = colorist(sketches, references, seeds, settings=settings, separation=stage.separation(*shown))
    check_pictures(results)
    for number, ((sketch, reference), result) in enumerate(zip(pairs, results.cpu().numpy(), strict=True)):
        write_whole(join(out, f"{number}-{images_seen:09d}.png"), encode_png(from_model_image(result)))
        if images_seen == 0:
            drawn = np.repeat(from_model_sketch(samples[sketch].sketch)[..., None], 3, axis=2)  # RGB, as all beside it
            write_whole(join(out, f"{number}-sketch.png"), encode_png(drawn))
            write_whole(join(out, f"{number}-reference.png"), encode_png(from_model_image(samples[reference].color)))


@torch.no_grad()
def validation(
    stage: Stage, recipe: StageRecipe, corpus: str, snapshot: int, rank: int, workers: int
) -> dict[str, float]:
    """The stage's metrics of held-out rows, with fixed random numbers; each rank computes its part, and all know them.

    Which rank measures a sample changes nothing: what was measured is put together in the order of the samples.
    """
    samples, _ = _held_out(recipe, stage.needs, corpus, snapshot)
    with evaluating(stage.model):
        own = {index: _measured(stage, recipe, samples[index], index) for index in range(rank, len(samples), workers)}
    parts: list[dict[int, Measured]] = [{}] * workers
    dist.all_gather_object(parts, own)
    everything = {index: measured for part in parts for index, measured in part.items()}
    return stage.summarize([everything[index] for index in range(len(samples))])


def _measured(stage: Stage, recipe: StageRecipe, sample: Sample, index: int) -> Measured:
    """What the stage measures of one sample, once in each of its strata."""
    strata = stage.needs.strata
    times = len(strata.ranges) if strata else 1
    asked = stage.draws(recipe.samples.width, recipe.samples.height)
    draws = draw(FIXED_SEED, [index * times + number for number in range(times)], asked)
    if strata:
        draws = stratified(draws, strata.draw, strata.ranges, generator(FIXED_SEED, index, "bands"))
    measured = stage.validate(stacked([sample] * times, draws))
    return {name: values.detach().cpu() for name, values in measured.items()}
