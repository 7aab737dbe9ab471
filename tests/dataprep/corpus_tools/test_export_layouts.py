"""What an export says of a row, apart from how it is written."""

from dataprep.corpus_tools.export_layouts import LAYOUTS, ExportRow, Place


def test_the_aesthetic_score_of_the_corpus_is_the_one_that_is_listed_where_there_is_one() -> None:
    place, row = Place("train", "shard", 0, ["color", "sketch_xdog", "mask"]), {"width": 3, "height": 2, "tags": []}
    entry = LAYOUTS["official"].entry
    assert entry is not None
    scores = [
        entry(ExportRow(row | {"id": "a"}, {"color": b"BM", "aesthetic": score}, {}), place)["aesthetic_score"]
        for score in (b"7.25", None)
    ]
    assert scores == [7.25, 6.0]
