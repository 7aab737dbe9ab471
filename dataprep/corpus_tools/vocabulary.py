"""The tag vocabulary of a corpus: its most frequent tags with their counts by split, and weights for the long tail.

A tagger of the corpus (thesis 4.2.1, its reference encoder) predicts these tags. Only the training split decides which
they are and what they weigh, so that nothing of the validation rows leaks; a row counts once for each of its tags. One
small file a shard is read, and memory is that of the distinct tags.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataprep.corpus.column_files import read_rows
from dataprep.corpus.snapshot import Snapshot
from dataprep.corpus_tools.survey import in_threads
from dataprep.corpus_tools.tags import PREDICTED, Prediction, VocabularySettings, Weighting, split_kind
from dataprep.errors import DataError
from dataprep.storage import store as storage
from dataprep.visible import one_line

RANKED_BY = "train"  # the split


@dataclass
class SplitCounts:
    """Tags of one split: in how many of its rows each is, how many rows have tags of these kinds, and how many none."""

    tags: Counter[str] = field(default_factory=Counter)
    tagged: int = 0
    untagged: int = 0

    def add_row(self, tags: Set[str]) -> None:
        self.tags.update(tags)
        self.tagged += bool(tags)
        self.untagged += not tags

    def add(self, other: "SplitCounts") -> None:
        self.tags.update(other.tags)
        self.tagged += other.tagged
        self.untagged += other.untagged


@dataclass(frozen=True)
class Vocabulary:
    """`tags`, most frequent in training first (equally frequent ones by name), and what was counted."""

    snapshot: Snapshot
    settings: VocabularySettings
    tags: tuple[str, ...]
    splits: Mapping[str, SplitCounts]

    def counts(self, split: str) -> npt.NDArray[np.int64]:
        """In how many rows of a split each tag is, (K,)."""
        return np.array([self.splits[split].tags[tag] for tag in self.tags], np.int64)

    def weights(self) -> npt.NDArray[np.float64]:
        """The focal loss's alpha of each tag, (K,), from the training split."""
        return focal_weights(self.counts(RANKED_BY), self.splits[RANKED_BY].tagged, self.settings.weighting)

    def covered(self, split: str) -> float:
        """The share of all uses of tags in a split that are uses of this vocabulary."""
        return int(self.counts(split).sum()) / max(1, self.splits[split].tags.total())

    def tagger(self) -> dict[str, Any] | None:
        """Name, weights and fingerprint of the operator whose predictions were counted; None of a source's tags."""
        if self.settings.origin == "source":
            return None
        operator = self.snapshot.document["operators"][PREDICTED]
        return {name: operator[name] for name in ("name", "weights", "fingerprint")}

    def document(self) -> dict[str, Any]:
        """JSON-able: where it is from, how rows were counted, and each tag with its counts and its weight."""
        splits = {
            name: {"tagged": split.tagged, "untagged": split.untagged, "covered": round(self.covered(name), 6)}
            for name, split in self.splits.items()
        }
        columns = {name: self.counts(name).tolist() for name in self.splits}
        columns["alpha"] = [float(f"{weight:.6g}") for weight in self.weights()]
        return {
            "corpus": self.snapshot.uri,
            "snapshot": self.snapshot.number,
            "digest": self.snapshot.digest,
            **asdict(self.settings),
            "tagger": self.tagger(),
            "distinct": len(self.splits[RANKED_BY].tags),
            "splits": splits,
            "tags": [
                {"tag": tag} | {name: values[i] for name, values in columns.items()} for i, tag in enumerate(self.tags)
            ],
        }

    def summary(self) -> str:
        """A few lines for a person: what was counted, the head, the middle and the tail."""
        counts, weights = self.counts(RANKED_BY), self.weights()
        train = self.splits[RANKED_BY]
        shown = sorted({*range(min(5, len(self.tags))), len(self.tags) // 2, len(self.tags) - 1})
        names = {i: one_line(self.tags[i]) for i in shown}
        width = max(map(len, names.values()))
        rows = (f"{name} {split.tagged:,} of {split.tagged + split.untagged:,}" for name, split in self.splits.items())
        kinds, covered = ", ".join(self.settings.kinds), f"{self.covered(RANKED_BY):.1%}"
        lines = [
            f"{self.snapshot.uri}, snapshot {self.snapshot.number}: {len(self.tags):,} of {len(train.tags):,} "
            f"{self.settings.origin} tags ({kinds}), {covered} of all uses in {RANKED_BY}",
            f"  rows with tags: {', '.join(rows)}",
            f"  head to tail {counts[0] / counts[-1]:,.0f} to 1; alpha ({self.settings.weighting}) "
            f"{weights.min():.3g} to {weights.max():.3g}",
        ]
        return "\n".join([*lines, *(f"  {i + 1:>6,}  {names[i]:<{width}}  {counts[i]:>9,}" for i in shown)])


def vocabulary(snapshot: Snapshot, settings: VocabularySettings) -> Vocabulary:
    """Count the tags of all rows of a snapshot. Raises DataError where there are none, or a file cannot be read."""
    splits = count_tags(snapshot, settings)
    counted = splits[RANKED_BY].tags if RANKED_BY in splits else Counter()
    if not counted:
        kinds = ", ".join(settings.kinds)
        raise DataError(
            f"{snapshot.uri}: no row of {RANKED_BY} in snapshot {snapshot.number} has {settings.origin} tags ({kinds})."
        )
    ranked = sorted(counted, key=lambda tag: (-counted[tag], tag))
    return Vocabulary(snapshot, settings, tuple(ranked[: settings.top]), splits)


def count_tags(snapshot: Snapshot, settings: VocabularySettings) -> dict[str, SplitCounts]:
    """split -> counts of all its rows."""
    column, count = ("row", _count_source) if settings.origin == "source" else (PREDICTED, _count_predicted)
    if column not in snapshot.document["operators"]:
        raise DataError(f"{snapshot.uri}: no column {column}. Build one: --set learned.tagger=wd_swinv2_v3")
    files = snapshot.table("files")
    chosen = files.filter(pc.equal(files["column"], column)).select(["split", "path"]).to_pylist()
    splits: dict[str, SplitCounts] = {name: SplitCounts() for name in sorted({file["split"] for file in chosen})}
    parts = in_threads(lambda file: (file["split"], _count_file(snapshot.uri, file["path"], count, settings)), chosen)
    for split, counts in parts:
        splits[split].add(counts)
    return splits


def focal_weights(counts: npt.NDArray[np.int64], rows: int, weighting: Weighting) -> npt.NDArray[np.float64]:
    """alpha of thesis Eq. 4.2, (K,) in [0, 1], of tags that are in `counts` (at least 1) of `rows` rows.

    "inverse": inversely proportional to the frequency, as the thesis says; it gives no constant, and this is the
    largest that keeps all of them in [0, 1]: the rarest tag has 1. "balanced": 1 - frequency, with which the rows that
    have a tag and those that do not weigh the same in sum, for every tag.
    """
    if weighting == "inverse":
        return counts.min() / counts
    return 1 - counts / rows


def _count_file(
    uri: str, path: str, count: Callable[[bytes, str, VocabularySettings], SplitCounts], settings: VocabularySettings
) -> SplitCounts:
    address = storage.join(uri, path)
    return count(storage.read_bytes(address), address, settings)


def _count_source(data: bytes, path: str, settings: VocabularySettings) -> SplitCounts:
    with storage.explained(path):
        rows = pq.read_table(pa.BufferReader(data), columns=["tags"])["tags"].to_pylist()
    counts = SplitCounts()
    for tags in rows:
        counts.add_row({tag for tag in tags if split_kind(tag)[0] in settings.kinds})
    return counts


def _count_predicted(data: bytes, path: str, settings: VocabularySettings) -> SplitCounts:
    counts = SplitCounts()
    for row in read_rows(data, PREDICTED, path):
        counts.add_row(set() if row[PREDICTED] is None else _predicted(row[PREDICTED], settings))
    return counts


def _predicted(value: bytes, settings: VocabularySettings) -> set[str]:
    """What counts of a prediction, written as at the source: "character:sylvie"."""
    prediction = Prediction.parse(value)
    kinds = ((kind, prediction.tags(settings.thresholds, (kind,))) for kind in settings.kinds)
    return {tag if kind == "general" else f"{kind}:{tag}" for kind, tags in kinds for tag in tags}
