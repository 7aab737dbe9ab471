"""`irodori corpus merge`."""

from pathlib import Path

import pytest

from dataprep.corpus_tools.verify import verify
from pipelines import lineage
from tests.jobs.command import json_of


def test_a_merge_makes_a_corpus_with_a_chain(corpora: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = json_of(capfd, "corpus", "merge", "one@1", "two", "--out", "both")
    assert sum(document["rows"].values()) == 12
    assert verify("both") == []
    chain = lineage.find_chain("both")
    assert set(chain.edges) == {(str(corpora / name), str(corpora / "both")) for name in ("one", "two")}
