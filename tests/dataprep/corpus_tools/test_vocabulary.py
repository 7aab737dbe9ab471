"""The tag vocabulary of a corpus, against counts made by hand over every row."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dataprep.corpus.reader import CorpusReader
from dataprep.corpus.snapshot import Snapshot, open_snapshot
from dataprep.corpus_tools.tags import Thresholds, VocabularySettings
from dataprep.corpus_tools.vocabulary import focal_weights, vocabulary
from dataprep.errors import DataError
from tests.tagged_pictures import tagged_corpus

SPLITS = ("train", "validation")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tagged_corpus(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(scope="module")
def snapshot(corpus: str) -> Snapshot:
    return open_snapshot(corpus)


@pytest.fixture(scope="module")
def rows(corpus: str) -> dict[str, list[dict]]:
    """Every row, by split."""
    readers = {split: CorpusReader(corpus, split, ["predicted_tags"]) for split in SPLITS}
    return {split: [reader.row(i) for i in range(len(reader))] for split, reader in readers.items()}


def counted(rows: list[dict], *prefixes: str, plain: bool = True) -> Counter[str]:
    """In how many rows each source tag is that has one of these prefixes, or none of the known."""
    known = ("character:", "meta:")
    wanted = [
        {tag for tag in row["tags"] if tag.startswith(prefixes) or (plain and not tag.startswith(known))}
        for row in rows
    ]
    return Counter(tag for tags in wanted for tag in tags)


def test_source_tags_are_counted_once_a_row_by_split(snapshot: Snapshot, rows: dict[str, list[dict]]) -> None:
    found = vocabulary(snapshot, VocabularySettings())
    for split in SPLITS:
        expected = counted(rows[split])
        assert dict(zip(found.tags, found.counts(split).tolist(), strict=True)) == {
            tag: expected[tag] for tag in found.tags
        }
        assert found.splits[split].tagged == sum(bool(row["tags"]) for row in rows[split])
        assert found.splits[split].untagged == sum(not row["tags"] for row in rows[split]) > 0
    assert set(found.tags) == set(counted(rows["train"]))
    assert found.splits["train"].tags["all"] < len(rows["train"])  # it is there twice in each of them
    assert found.covered("train") == 1


def test_only_training_rows_decide_and_equals_are_in_order_of_name(
    snapshot: Snapshot, rows: dict[str, list[dict]]
) -> None:
    expected = counted(rows["train"])
    ranked = sorted(expected.items(), key=lambda item: (-item[1], item[0]))
    for top in (1, 3, 5):
        found = vocabulary(snapshot, VocabularySettings(top=top))
        assert list(found.tags) == [tag for tag, _ in ranked[:top]]
        assert found.covered("train") == sum(count for _, count in ranked[:top]) / expected.total()
    only_validation = set(counted(rows["validation"])) - set(expected)
    assert only_validation.isdisjoint(vocabulary(snapshot, VocabularySettings()).tags)
    assert only_validation  # else this test says nothing


def test_kinds_choose_and_keep_their_prefix(snapshot: Snapshot, rows: dict[str, list[dict]]) -> None:
    found = vocabulary(snapshot, VocabularySettings(kinds=("character",)))
    assert dict(found.splits["train"].tags) == dict(counted(rows["train"], "character:", plain=False))
    both = vocabulary(snapshot, VocabularySettings(kinds=("meta", "general")))
    assert dict(both.splits["train"].tags) == dict(counted(rows["train"], "meta:"))


@pytest.mark.parametrize("thresholds", [Thresholds(), Thresholds(0.25, 0.95)], ids=str)
def test_predicted_tags_are_counted_from_their_threshold_on_apart_from_those_of_the_source(
    snapshot: Snapshot, rows: dict[str, list[dict]], thresholds: Thresholds
) -> None:
    settings = VocabularySettings(origin="predicted", kinds=("general", "character"), thresholds=thresholds)
    found = vocabulary(snapshot, settings)
    for split in SPLITS:
        expected: Counter[str] = Counter()
        for row in rows[split]:
            said = json.loads(row["predicted_tags"] or '{"general": {}, "character": {}}')
            expected.update(tag for tag, p in said["general"].items() if p >= thresholds.general)
            expected.update(f"character:{tag}" for tag, p in said["character"].items() if p >= thresholds.character)
        assert dict(found.splits[split].tags) == dict(expected)
        assert found.splits[split].untagged == sum(row["predicted_tags"] is None for row in rows[split])
    assert found.splits["train"].untagged > 0
    assert ("character:sun" in found.tags) == (thresholds.character <= 0.9)


def test_a_row_in_which_no_prediction_is_loud_enough_has_no_tags(snapshot: Snapshot) -> None:
    settings = VocabularySettings(origin="predicted", thresholds=Thresholds(1.0, 1.0))
    with pytest.raises(DataError, match="no row of train in snapshot 1 has predicted tags"):
        vocabulary(snapshot, settings)


def test_inverse_weights_are_inversely_proportional_and_the_rarest_has_one() -> None:
    np.testing.assert_allclose(focal_weights(np.array([1000, 200, 10]), 5000, "inverse"), [0.01, 0.05, 1.0])


def test_balanced_weights_make_rows_with_and_without_a_tag_weigh_the_same() -> None:
    counts, rows = np.array([4000, 500, 1]), 5000
    alpha = focal_weights(counts, rows, "balanced")
    np.testing.assert_allclose(alpha * counts, (1 - alpha) * (rows - counts))


def test_the_document_says_all_of_it_in_json(snapshot: Snapshot, rows: dict[str, list[dict]]) -> None:
    found = vocabulary(snapshot, VocabularySettings(top=4, weighting="balanced"))
    document = json.loads(json.dumps(found.document()))
    assert [entry["tag"] for entry in document["tags"]] == list(found.tags)
    assert [entry["train"] for entry in document["tags"]] == found.counts("train").tolist()
    assert [entry["validation"] for entry in document["tags"]] == found.counts("validation").tolist()
    np.testing.assert_allclose([entry["alpha"] for entry in document["tags"]], found.weights(), rtol=1e-5)
    assert (document["snapshot"], document["digest"]) == (1, snapshot.digest)
    assert (document["origin"], document["kinds"]) == ("source", ["general"])
    assert document["distinct"] == len(counted(rows["train"])) > 4
    assert document["tagger"] is None
    assert document["splits"]["train"]["tagged"] == found.splits["train"].tagged


def test_the_document_names_the_tagger_whose_predictions_were_counted(snapshot: Snapshot) -> None:
    tagger = vocabulary(snapshot, VocabularySettings(origin="predicted")).document()["tagger"]
    fingerprint = snapshot.document["operators"]["predicted_tags"]["fingerprint"]
    assert tagger == {"name": "shades", "weights": None, "fingerprint": fingerprint}


def test_a_missing_column_and_a_damaged_file_are_told(snapshot: Snapshot, corpus: str) -> None:
    document = snapshot.document | {"operators": {"row": {}}}
    with pytest.raises(DataError, match=r"no column predicted_tags.*learned\.tagger"):
        vocabulary(Snapshot(corpus, 1, document), VocabularySettings(origin="predicted"))
    path = Path(corpus, next(file["path"] for file in snapshot.table("files").to_pylist() if file["column"] == "row"))
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=path.name):
            vocabulary(snapshot, VocabularySettings())
    finally:
        path.write_bytes(whole)
