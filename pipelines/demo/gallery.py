"""The pictures of the demo that a person looks at first: results at the artist's size, under the artist's own lines.

They are made as `irodori colorize` makes them. What a protocol scores is smaller, and without lines laid over.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprep.corpus.reader import CorpusReader
from dataprep.errors import DataError
from dataprep.pictures.decode import decode, encode_png
from dataprep.pictures.resize import resize_color
from dataprep.storage.store import write_whole
from pipelines.colorization.colorize import Failed, colorize
from pipelines.colorization.jobs import ColorizeJob
from pipelines.colorization.roles import REFERENCE
from pipelines.colorization.run_settings import RunSettings
from pipelines.common.errors import PipelineError
from pipelines.common.shipped_pictures import DRAWINGS, SPRITES
from pipelines.evaluation.plan import SPLIT

# Line art by illustrators, and pictures that have nothing to do with it, in whose colours it is shown.
REAL = (
    ("fairy.png", "sylvie-green-smile.webp"),
    ("princess.png", "eileen-happy.webp"),
    ("barn.png", "bg-meadow.jpg"),
    ("robot.png", "lucy-mad.webp"),
)
MOST_SIDE = 480  # pixels of a reference on the page


@dataclass(frozen=True)
class Shown:
    """One coloured drawing: encoded pictures of the sketch, the reference and the result, and how it is made again."""

    sketch: bytes
    reference: bytes
    result: bytes
    job: ColorizeJob
    checkpoint: str


def corpus_jobs(rows: Sequence[Mapping[str, Any]], corpus: str, out: str) -> list[ColorizeJob]:
    """Of scored pairs (rows of `read_results`): the sketches and references at their own sizes, as files in `out`.

    Raises DataError for a row that the corpus holds no more.
    """
    reader = CorpusReader(corpus, SPLIT, ("color", "sketch_drawn"))
    places = {row_id: place for place, row_id in enumerate(reader.ids)}
    jobs = []
    for number, row in enumerate(rows):
        if absent := {row["sketch_id"], row["reference_id"]} - places.keys():
            raise DataError(f"{corpus}: row {min(absent)} is gone")
        sketch = os.path.join(out, f"{number:02d}-sketch.png")
        reference = os.path.join(out, f"{number:02d}-reference.png")
        write_whole(sketch, reader.row(places[row["sketch_id"]])["sketch_drawn"])
        write_whole(reference, reader.row(places[row["reference_id"]])["color"])
        result = os.path.join(out, f"{number:02d}.png")
        jobs.append(ColorizeJob(sketch=sketch, references={REFERENCE: reference}, out=result, seed=row["seed"]))
    return jobs


def real_jobs(out: str) -> list[ColorizeJob]:
    """The drawings that ship, each after a picture that ships."""
    return [
        ColorizeJob(
            sketch=str(DRAWINGS / sketch),
            references={REFERENCE: str(SPRITES / reference)},
            out=os.path.join(out, sketch),
            seed=number,
        )
        for number, (sketch, reference) in enumerate(REAL)
    ]


def colored(jobs: Sequence[ColorizeJob], checkpoint: str) -> list[Shown]:
    """Each job's result, by the checkpoint's own sampling. Raises PipelineError for one that could not be made."""
    outcomes = list(colorize(jobs, checkpoint, run=RunSettings(overwrite=True)))
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            raise PipelineError(f"{outcome.job.out} could not be made: {outcome.reason}")
    return [
        Shown(
            Path(job.sketch).read_bytes(),
            _small(Path(job.references[REFERENCE]).read_bytes()),
            Path(job.out).read_bytes(),
            job,
            checkpoint,
        )
        for job in jobs
    ]


def _small(picture: bytes) -> bytes:
    """A reference of at most MOST_SIDE pixels over white, as PNG: backgrounds would weigh megabytes in a page."""
    rgb = decode(picture).rgb
    scale = min(1.0, MOST_SIDE / max(rgb.shape[:2]))
    return encode_png(resize_color(rgb, round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)))
