"""How well do the weights that ship colour? `python -m benchmarks.starter hero|example|sheet|scores|speed|arms`

- `hero --out docs/first-light.png`: the README's picture, five drawings of the sheet;
- `example --out docs/example`: the sketch and the reference of one of them, as files to try;
- `sheet --out docs/starter.jpg`: 48 unpicked results, of held-out drawings, illustrators', sprites and storybook pages;
- `scores --corpus CORPUS [--pictures CORPUS] --out FOLDER`: known answers, the reference dropped, deformed references
  of pictures that nobody assembled (of another corpus, where there is one), at the model's size, beside a fill with the
  right answer's mean colour; a table with 95 % intervals, and `scores.json`;
- `speed [--side 1024] [--against CHECKPOINT] [--against-set steps=20 ...]`: seconds of a square sketch, in turns with
  another checkpoint, or with another sampling of the same;
- `arms --corpus CORPUS --out FOLDER [--arms NAME ...]`: short trainings that differ in one thing (`arms`).

All but the last are of `irodori colorize` and `irodori evaluate` with what ships or with `--checkpoint`, sampled as the
checkpoint says it is best (`--set steps=20` and the like change that).
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.learning.__main__ import without_reference
from benchmarks.starter.arms import ARMS, arms
from benchmarks.starter.drawings import (
    Drawing,
    assembled_drawings,
    illustrators,
    sprites,
    storybook_pages,
    trained_ids,
)
from benchmarks.starter.speed import SIDE, speed
from dataprep.corpus.reader import CorpusReader
from dataprep.pictures.decode import decode, encode_png
from eval.metrics.intervals import bootstrap_mean, wilson
from eval.metrics.psnr import psnr
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.colorization.colorize import Made, colorize
from pipelines.colorization.jobs import ColorizeJob
from pipelines.colorization.picture_settings import PictureSettings, sampling_settings
from pipelines.colorization.roles import REFERENCE
from pipelines.common.overrides import parse_assignments
from pipelines.evaluation.evaluate import evaluate
from pipelines.evaluation.features import read_results
from pipelines.evaluation.plan import SPLIT, EvaluatePlan, plan_evaluation
from pipelines.evaluation.scoring.pair_scorer import PairScorer, unit
from pipelines.execution.ray_session import ray_session
from pipelines.weights.checkpoints import STARTER, absolute_checkpoint, metadata_at

SEED = 11
DRAWINGS = 28
CELL, GAP, CAPTION = 224, 6, 20
HERO = (3, 6, 16, 20, 22)  # what the README shows, by the sheet's numbers
EXAMPLE = 22  # of HERO
HEADS = ("sketch", "reference", "result", "right answer")


def main() -> None:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("hero", "example", "sheet", "scores", "speed", "arms"))
    parser.add_argument("--out", type=Path, help="of all but speed: what is written")
    parser.add_argument("--checkpoint", default=STARTER)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of sampling")
    parser.add_argument("--corpus", help="of scores and arms")
    parser.add_argument("--pictures", help="of scores: a corpus of held-out pictures")
    parser.add_argument("--pairs", type=int, default=200, help="of scores, for each protocol, and of arms")
    parser.add_argument("--side", type=int, default=SIDE, help="of speed: of the sketch, in pixels")
    parser.add_argument("--against", help="of speed: another checkpoint")
    parser.add_argument("--against-set", action="append", default=[], metavar="KEY=VALUE", help="its sampling")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--images", type=int, default=8_000, help="of each arm")
    arguments = parser.parse_args()
    if arguments.what == "speed":
        compared = [(arguments.checkpoint, parse_assignments(arguments.set))]
        if arguments.against or arguments.against_set:
            compared.append((arguments.against or arguments.checkpoint, parse_assignments(arguments.against_set)))
        print(speed(compared, arguments.side))
        return
    needs_corpus = arguments.what in ("scores", "arms")
    if arguments.out is None or (needs_corpus and arguments.corpus is None):
        parser.error(f"{arguments.what} needs --out" + (" and --corpus" if needs_corpus else ""))
    if arguments.what == "arms":
        print(arms(arguments.arms, arguments.corpus, arguments.out, arguments.images, arguments.pairs))
        return
    own = metadata_at(absolute_checkpoint(arguments.checkpoint)).own_sampling()
    sampling = sampling_settings(parse_assignments(arguments.set), own)
    if arguments.what == "scores":
        corpora = arguments.corpus, arguments.pictures or arguments.corpus
        print(table(scores(arguments.checkpoint, sampling, *corpora, arguments.out, arguments.pairs)))
    elif arguments.what == "example":
        example(assembled_drawings(DRAWINGS)[EXAMPLE - 1], arguments.out)
    elif arguments.what == "hero":
        drawings = assembled_drawings(DRAWINGS)
        seeds = [number - 1 for number in HERO]
        page = hero([drawings[seed] for seed in seeds], arguments.checkpoint, sampling, seeds)
        page.save(arguments.out, optimize=True)
    else:
        shown = [*assembled_drawings(DRAWINGS), *illustrators(), *sprites(8), *storybook_pages(8)]
        sheet(shown, arguments.checkpoint, sampling).save(arguments.out, quality=88, optimize=True)


# ---- pictures -------------------------------------------------------------------------------------------------------


def colored(
    drawings: Sequence[Drawing], checkpoint: str, sampling: SamplingSettings, seeds: Sequence[int]
) -> list[np.ndarray]:
    """The results of all, at the sketches' size with their lines, as `irodori colorize` makes them with these seeds."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = [_job(Path(folder), seed, drawing) for seed, drawing in zip(seeds, drawings, strict=True)]
        outcomes = list(colorize(jobs, checkpoint, PictureSettings(sampling)))
        for outcome in outcomes:
            assert isinstance(outcome, Made), outcome
        return [decode(Path(job.out).read_bytes()).rgb for job in jobs]


def _job(folder: Path, seed: int, drawing: Drawing) -> ColorizeJob:
    sketch, reference = folder / f"{seed:02d}-sketch.png", folder / f"{seed:02d}-reference.png"
    sketch.write_bytes(encode_png(drawing.sketch))
    reference.write_bytes(encode_png(drawing.reference))
    out = str(folder / f"{seed:02d}.png")
    return ColorizeJob(sketch=str(sketch), references={REFERENCE: str(reference)}, out=out, seed=seed)


def hero(drawings: Sequence[Drawing], checkpoint: str, sampling: SamplingSettings, seeds: Sequence[int]) -> Image.Image:
    """A row for each drawing: sketch, reference, result and the right answer, under their heads."""
    results = colored(drawings, checkpoint, sampling, seeds)
    page = Image.new("RGB", (len(HEADS) * (CELL + GAP) - GAP, CAPTION + len(drawings) * (CELL + GAP) - GAP), "white")
    for place, head in enumerate(HEADS):
        _write(page, place * (CELL + GAP), 0, head)
    for row, (drawing, result) in enumerate(zip(drawings, results, strict=True)):
        assert drawing.answer is not None
        for place, picture in enumerate((drawing.sketch, drawing.reference, result, drawing.answer)):
            page.paste(_cell(picture), (place * (CELL + GAP), CAPTION + row * (CELL + GAP)))
    return page


def example(drawing: Drawing, out: Path) -> None:
    """The sketch and the reference as files."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "line.png").write_bytes(encode_png(drawing.sketch))
    (out / "colours.png").write_bytes(encode_png(drawing.reference))


def sheet(drawings: Sequence[Drawing], checkpoint: str, sampling: SamplingSettings, columns: int = 4) -> Image.Image:
    """Every result large, with its reference small in a corner beside it and what it is below."""
    results = colored(drawings, checkpoint, sampling, range(len(drawings)))
    wide, high = CELL + CELL // 2 + GAP, CELL + CAPTION + GAP
    page = Image.new("RGB", (columns * (wide + GAP), -(-len(drawings) // columns) * high), "white")
    for number, (drawing, result) in enumerate(zip(drawings, results, strict=True)):
        x, y = number % columns * (wide + GAP), number // columns * high
        page.paste(_cell(result), (x, y))
        page.paste(_cell(drawing.reference, CELL // 2), (x + CELL + GAP // 2, y))
        page.paste(_cell(drawing.sketch, CELL // 2), (x + CELL + GAP // 2, y + CELL // 2))
        _write(page, x, y + CELL, f"{number + 1}  {drawing.name}")
    return page


def _cell(picture: np.ndarray, side: int = CELL) -> Image.Image:
    """The picture within a white square of that side."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    square = Image.new("RGB", (side, side), "white")
    square.paste(Image.fromarray(small).convert("RGB"), ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def _write(page: Image.Image, x: int, y: int, text: str) -> None:
    ImageDraw.Draw(page).text((x + 2, y + 3), text, fill="black", font=ImageFont.load_default(13))


# ---- scores ---------------------------------------------------------------------------------------------------------


def scores(
    checkpoint: str, sampling: SamplingSettings, corpus: str, pictures: str, out: Path, pairs: int
) -> dict[str, dict[str, Any]]:
    """Measure -> value, bounds and number of pairs; also written to `out`/scores.json."""
    known = plan_evaluation(checkpoint, corpus, "known-answer", str(out / "known"), sampling=sampling, limit=pairs)
    dropped = without_reference(known, str(out / "dropped"))
    deformed = _of_pictures(
        plan_evaluation(checkpoint, pictures, "deformed-reference", str(out / "deformed"), sampling=sampling), pairs
    )
    found: dict[str, dict[str, Any]] = {}
    log = out / "scores.log"
    out.mkdir(parents=True, exist_ok=True)
    with ray_session(log):
        for plan in (known, dropped, deformed):
            evaluate(plan, log_file=log, tracking_uri=f"sqlite:///{out / 'mlflow.db'}")
    rows, without, bent = (read_results(plan.out) for plan in (known, dropped, deformed))
    found["known answer: nearer to its own"] = _share([row["nearer"] for row in rows])
    found["the same, reference dropped"] = _share([row["nearer"] for row in without])
    found["known answer: PSNR where the reference tells, dB"] = _mean([row["told_psnr"] for row in rows])
    for name, plan, scored in (("known answer", known, rows), ("deformed reference", deformed, bent)):
        ours, fill = [row["psnr"] for row in scored], _mean_fill(plan)
        found[f"{name}: PSNR, dB"] = _mean(ours)
        found[f"{name}: PSNR of the mean colour, dB"] = _mean(fill)
        found[f"{name}: ours above the mean colour, dB"] = _mean(list(np.subtract(ours, fill)))
    for region in ("hair", "skin", "clothes", "background"):
        values = [row[f"psnr_{region}"] for row in rows if f"psnr_{region}" in row]
        found[f"known answer: PSNR of {region}, dB"] = _mean([value for value in values if np.isfinite(value)])
    (out / "scores.json").write_text(json.dumps(found, indent=2) + "\n")
    return found


def _of_pictures(plan: EvaluatePlan, count: int) -> EvaluatePlan:
    """The plan's pairs whose sketch nobody assembled, and neither the starter nor its frozen networks have seen."""
    reader, seen = CorpusReader(plan.corpus, SPLIT, (), plan.snapshot), trained_ids()
    rows = map(reader.row, range(len(reader)))
    pictures = {row["id"] for row in rows if not row["assembly"] and row["id"] not in seen}
    return replace(plan, pairs=tuple(pair for pair in plan.pairs if pair.sketch_id in pictures)[:count])


def _mean_fill(plan: EvaluatePlan) -> list[float]:
    """PSNR of a picture all of the truth's mean colour, for each pair."""
    scorer = PairScorer(plan)
    truths = (unit([scorer.reader.prepare(pair).truth]) for pair in plan.pairs)
    return [float(psnr(truth.mean(dim=(2, 3), keepdim=True).expand_as(truth), truth)) for truth in truths]


def _share(values: Sequence[float]) -> dict[str, Any]:
    low, high = wilson(sum(values), len(values))
    return {"value": sum(values) / len(values), "bounds": [low, high], "pairs": len(values)}


def _mean(values: Sequence[float]) -> dict[str, Any]:
    low, high = bootstrap_mean(values, SEED)
    return {"value": float(np.mean(values)), "bounds": [low, high], "pairs": len(values)}


def table(found: dict[str, dict[str, Any]]) -> str:
    """As Markdown."""
    lines = ["| measure | value | 95 % bounds | pairs |", "|---|---:|---|---:|"]
    for name, figure in found.items():
        low, high = figure["bounds"]
        lines.append(f"| {name} | {figure['value']:.3f} | {low:.3f} to {high:.3f} | {figure['pairs']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
