"""What a disturbed build lost or doubled, by the rows that its corpus holds in the end."""

from collections import Counter
from pathlib import Path

from dataprep.corpus.reader import CorpusReader
from dataprep.corpus_tools.info import open_snapshot


def row_ids(out: str | Path) -> list[str]:
    """The ids of all rows of the newest snapshot, split by split; one that is there twice is in the list twice."""
    splits = open_snapshot(str(out)).document["rows"]
    return [row_id for split in splits for row_id in CorpusReader(str(out), split, []).ids]


def rows_compared(out: str | Path, undisturbed: str | Path) -> dict[str, int]:
    """Rows that a corpus lacks or has twice beside one whose build nothing disturbed (`tests.faults.Survived`)."""
    built, whole = Counter(row_ids(out)), Counter(row_ids(undisturbed))
    return {"lost": (whole - built).total(), "doubled": (built - whole).total()}
