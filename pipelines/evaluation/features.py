"""What a finished evaluation keeps of its pairs: rows of numbers, and on request the features that its distances read.

`features.parquet` holds a row for each pair, in the order of the pairing: its ids and, view by view, float32 vectors.
Another evaluation of the same pairs scores other distances of them (`--reuse`), without colouring anything again.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.documents import read_document
from dataprep.storage.store import exists, join, read_bytes, write_whole
from eval.metrics.metric import Columns, Score
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import differences
from pipelines.evaluation import parts
from pipelines.evaluation.plan import SETTINGS, EvaluatePlan
from pipelines.evaluation.scores import collect, score

RESULTS, FEATURES = "results.parquet", "features.parquet"
PAIR = ("sketch_id", "reference_id")
# What may differ between an evaluation and the one whose features it scores.
FREE = ("metrics", "feature_networks", "keep_features", "small_sets", "real_statistics", "reuse")


def read_results(out: str) -> list[dict[str, Any]]:
    """One row for each pair of a finished evaluation: pair, numbers, and PNG bytes of the pairs that are shown."""
    return pq.read_table(BytesIO(read_bytes(join(out, RESULTS)))).to_pylist()


def read_numbers(out: str) -> pa.Table:
    """The same rows without pictures."""
    data = BytesIO(read_bytes(join(out, RESULTS)))
    return pq.read_table(data, columns=[name for name in pq.read_schema(data).names if not name.endswith("_png")])


def read_features(out: str) -> Columns:
    """View -> float32 (N, dims) of a finished evaluation that kept its features, in the order of its rows.

    Raises PipelineError where it kept none.
    """
    if not exists(join(out, FEATURES)):
        raise PipelineError(f"{out} has no features: they are kept by --keep-features")
    table = pq.read_table(BytesIO(read_bytes(join(out, FEATURES))))
    return {name: parts.vectors_of(table[name]) for name in table.column_names if name not in PAIR}


class FeatureFile:
    """Writes `features.parquet` part after part; it appears whole at the end of the `with`, or not at all."""

    def __init__(self, out: str) -> None:
        self._out = out
        self._writer: pq.ParquetWriter | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="irodori-features-")

    def __enter__(self) -> "FeatureFile":
        return self

    def add(self, part: pa.Table) -> None:
        """The vectors of a part."""
        table = part.select([*PAIR, *parts.vector_names(part)]).replace_schema_metadata(None)
        self._writer = self._writer or pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
            if error is None:
                write_whole(join(self._out, FEATURES), self._path.read_bytes())
        self._folder.cleanup()

    @property
    def _path(self) -> Path:
        return Path(self._folder.name) / FEATURES


def check_features(plan: EvaluatePlan) -> Columns:
    """View -> vectors that another evaluation kept, and that the plan reuses.

    Raises PipelineError for an evaluation of other settings, and for a metric that reads more than was kept.
    """
    recorded = join(plan.reuse, SETTINGS)
    if not exists(recorded) or not exists(join(plan.reuse, RESULTS)):
        raise PipelineError(f"{plan.reuse} is no finished evaluation")
    free = dict.fromkeys(FREE, "")
    changed = differences(read_document(recorded, dict[str, Any]) | free, plan.settings | free)
    if changed:
        raise PipelineError(f"{plan.reuse} is an evaluation of other settings ({'; '.join(changed)})")
    features = read_features(plan.reuse)
    for metric in plan.measured():
        lacking = [*metric.needs, *(view for view in metric.vectors if view in plan.vectors and view not in features)]
        if lacking:
            raise PipelineError(f"{metric.name} needs {', '.join(lacking)}, which {plan.reuse} did not keep")
    return features


def score_features(plan: EvaluatePlan, features: Columns) -> tuple[list[Score], dict[str, int]]:
    """The scores of a plan from the features that another evaluation kept, and how many sketches are of each style.

    Its rows are copied.
    """

    def read() -> Iterator[parts.Measured]:
        for places in parts.split(len(plan.pairs)):
            yield parts.Measured({}, {view: values[places.start : places.stop] for view, values in features.items()})

    scores = score(plan, collect(plan, read()))
    data = read_bytes(join(plan.reuse, RESULTS))
    write_whole(join(plan.out, RESULTS), data)
    return scores, Counter(pq.read_table(BytesIO(data), columns=["style"])["style"].to_pylist())
