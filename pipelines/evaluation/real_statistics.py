"""Statistics of the real pictures of a corpus, kept beside its snapshots, so that they are computed once.

They are the sums of a Fréchet distance for one list of sketches at one size, as one feature network sees their own
pictures: `statistics/<digest>-<key>.npz`, outside the snapshot's digest. Garbage collection knows them: they go with
their snapshot. An evaluation decides when it begins whether it uses what is there or computes it, and says so in its
settings; the score is the same to the last digit.
"""

import hashlib
import json
from contextlib import suppress
from io import BytesIO
from zipfile import BadZipFile

import numpy as np

from dataprep.corpus_tools.garbage import STATISTICS_FOLDER
from dataprep.errors import DataError
from dataprep.storage.store import exists, join, read_bytes, write_whole
from eval.metrics.sets.frechet import FrechetStatistics


def address(corpus: str, digest: str, what: object) -> str:
    """Where statistics lie; what: everything that decides them besides the snapshot, as JSON can say it."""
    key = hashlib.sha256(json.dumps(what).encode()).hexdigest()
    return join(corpus, STATISTICS_FOLDER, f"{digest[:12]}-{key[:16]}.npz")


def read(uri: str) -> FrechetStatistics:
    """The statistics there. Raises DataError for a damaged file."""
    try:
        with np.load(BytesIO(read_bytes(uri)), allow_pickle=False) as file:
            statistics = FrechetStatistics(len(file["sum"]))
            statistics.count, statistics.sum, statistics.outer = int(file["count"]), file["sum"], file["outer"]
    except (BadZipFile, ValueError, KeyError, EOFError) as error:
        raise DataError(f"{uri} is damaged; delete it, and it is computed again") from error
    return statistics


def keep(uri: str, statistics: FrechetStatistics) -> None:
    """Write them, unless they are there, or the corpus may not be written to: they are computed again then."""
    if statistics.count < statistics.needed or exists(uri):
        return  # of few pictures they would take more room than the features
    data = BytesIO()
    np.savez(data, count=statistics.count, sum=statistics.sum, outer=statistics.outer)
    with suppress(DataError):
        write_whole(uri, data.getvalue())
