"""A sheet of what a stage would see: the pictures of its first samples, as its networks are shown them (thesis 3.4)."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from dataprep.pictures.resize import Bytes
from dataprep.samples.polarity import from_model_sketch
from dataprep.samples.sample_settings import EXTENT, kind_of
from dataprep.samples.values import from_model_image
from pipelines.training.batch_shares import BatchShares
from pipelines.training.feeder import Feeder, open_split
from pipelines.training.plan import TrainPlan
from pipelines.training.step import build_stage
from pipelines.weights.checkpoints import fetch_checkpoint

CELL, GAP, CAPTION, FONT = 192, 8, 20, 13  # px
MASKS = ("mask", "reference_mask", "second_reference_mask")
Shown = Mapping[str, torch.Tensor]


def sample_sheet(plan: TrainPlan, count: int) -> Image.Image:
    """A row for each of the first `count` samples of the plan's stage, or of its first phase.

    Raises what its training would raise: ModelError for networks that are not there, DataError for rows.
    """
    recipe = plan.phases[0][1] if plan.phases else plan.recipe
    parent = fetch_checkpoint(plan.parent) if plan.parent else None
    stage, _ = build_stage(recipe, parent, torch.device("cpu"))
    reader = open_split(plan.corpus, "train", recipe, stage.needs, plan.snapshot)
    shares = BatchShares.of(recipe.length, 1)
    feeder = Feeder(reader, recipe, stage, shares=shares, rank=0, images_seen=0, ahead=1)
    rows: list[dict[str, Bytes]] = []
    names: list[str] = []
    with closing(feeder):
        while len(rows) < count:
            seen = range(len(rows), len(rows) + shares.micro_batch)
            shown = stage.shows(feeder.next().batch)
            for place in range(len(seen)):
                rows.append({name: _drawn(name, tensor[place]) for name, tensor in shown.items()})
            names += feeder.planned_rows(seen)
    return _sheet(rows[:count], names[:count])


def write_sample_sheet(plan: TrainPlan, count: int, path: Path) -> None:
    """`sample_sheet` as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sample_sheet(plan, count).save(path)


def _drawn(name: str, tensor: torch.Tensor) -> Bytes:
    """A picture (C, H, W) of a sample as people see it, uint8 (H, W, 3)."""
    kind, values = kind_of(name), tensor.float().cpu().numpy()
    if kind == EXTENT:
        raise ValueError(f"{name} is no picture")
    if kind == "sketch":
        gray = from_model_sketch(values)
    elif kind in MASKS:
        gray = np.rint(255 * values[0]).astype(np.uint8)
    elif kind == "region_map":
        gray = (values[0] * 37 % 256).astype(np.uint8)
    else:
        return from_model_image(values)
    return np.repeat(gray[..., None], 3, axis=2)


def _sheet(rows: Sequence[Mapping[str, Bytes]], names: Sequence[str]) -> Image.Image:
    """A row of captioned pictures for each sample, below its row's id."""
    shown = [[(caption, _within(picture)) for caption, picture in row.items()] for row in rows]
    heights = [2 * CAPTION + GAP + max(picture.height for _, picture in row) for row in shown]
    page = Image.new("RGB", (GAP + max(map(len, shown)) * (CELL + GAP), sum(heights) + GAP), "white")
    draw, font, top = ImageDraw.Draw(page), ImageFont.load_default(FONT), GAP
    for name, row, height in zip(names, shown, heights, strict=True):
        draw.text((GAP, top), name, "gray", font)
        for place, (caption, picture) in enumerate(row):
            left = GAP + place * (CELL + GAP)
            draw.text((left, top + CAPTION), caption, "black", font)
            page.paste(picture, (left, top + 2 * CAPTION))
            box = left - 1, top + 2 * CAPTION - 1, left + picture.width, top + 2 * CAPTION + picture.height
            draw.rectangle(box, outline="silver")
        top += height
    return page


def _within(picture: Bytes) -> Image.Image:
    """Enlarged without smoothing, so that each value is seen."""
    image = Image.fromarray(picture)
    scale = CELL / max(image.size)
    size = max(1, round(scale * image.width)), max(1, round(scale * image.height))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
