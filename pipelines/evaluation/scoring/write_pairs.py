"""Hands the inputs of an evaluation to another system: sketch and reference of every pair as files, and their table."""

import csv
from io import StringIO

from dataprep.pictures.decode import encode_png
from dataprep.samples.polarity import from_model_sketch
from dataprep.storage.store import join, write_whole
from eval.protocols.protocol import REFERENCE
from pipelines.common.progress import Clock, ProgressSink, silent
from pipelines.evaluation.plan import EvaluatePlan
from pipelines.evaluation.scoring.hand_over import name_of
from pipelines.evaluation.scoring.pair_scorer import PairReader

PAIRS = "pairs.csv"


def write_pairs(plan: EvaluatePlan, folder: str, progress: ProgressSink = silent) -> None:
    """Write the sketch and the reference of every pair of a plan as PNG, and a table of them."""
    reader, clock = PairReader(plan), Clock("write pairs", len(plan.pairs), "pairs", "", progress)
    table = StringIO()
    lines = csv.writer(table, lineterminator="\n")
    lines.writerow(["name", "sketch", "reference", "seed"])
    for number, pair in enumerate(plan.pairs, 1):
        ready, name = reader.prepare(pair), name_of(pair)
        write_whole(join(folder, f"{name}-sketch.png"), encode_png(from_model_sketch(ready.sketch)))
        write_whole(join(folder, f"{name}-reference.png"), encode_png(ready.references[REFERENCE]))
        lines.writerow([name, pair.sketch_id, pair.reference_id, pair.seed])
        clock.tell(number)
    write_whole(join(folder, PAIRS), table.getvalue().encode())
