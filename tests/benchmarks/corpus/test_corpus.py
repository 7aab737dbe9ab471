import json
import os
import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.corpus import __main__ as corpus
from benchmarks.corpus import decode as corpus_decode
from benchmarks.corpus import memory as corpus_memory
from benchmarks.corpus import region_counts
from benchmarks.corpus import regions as corpus_regions
from benchmarks.measuring import Section, markdown, picture_bytes, source_of, take_turns
from dataprep.pictures.decode import decode, encode_png
from pipelines.common.shipped_pictures import ASSEMBLED


def test_a_folder_that_is_asked_for_is_measured_and_named(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert source_of(str(tmp_path / "mine")) == (str(tmp_path / "mine"), "the pictures of mine")


def test_pictures_are_taken_from_all_over_a_source(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(encode_png(np.full((4, 4), number, np.uint8)))
    taken = [int(decode(data).rgb[0, 0, 0]) for data in picture_bytes(str(tmp_path), 3)]
    assert taken == [0, 3, 6]


def test_rivals_take_turns_and_each_does_every_job() -> None:
    calls = []
    rivals = {name: lambda job, name=name: calls.append((name, job)) for name in "ab"}
    seconds = take_turns(rivals, [1, 2], rounds=3)
    assert set(seconds) == {"a", "b"}
    turns = [name for name, job in calls if job == 2]
    assert turns == ["a", "b", "b", "a", "a", "b"]
    assert calls[:3] == [("a", 1), ("a", 1), ("a", 2)]  # the first is not counted


def test_a_section_is_a_markdown_table_that_says_whether_the_bar_is_met() -> None:
    text = markdown(Section("Speed", "Ours and theirs.", [{"name": "a", "rate": 1234.5, "ratio": None}], False))
    assert text.splitlines() == [
        "## Speed (bar NOT met)",
        "",
        "Ours and theirs.",
        "",
        "| name | rate | ratio |",
        "|---|---|---|",
        "| a | 1,234 |  |",
    ]


def test_mosaics_are_laid_from_pictures_at_their_own_resolution() -> None:
    tiles = [np.full((30, 40, 3), level, np.uint8) for level in (10, 200)]
    laid = corpus_decode.mosaic(tiles, 75, 50, seed=0)
    assert laid.shape == (50, 75, 3)
    assert {10, 200} >= set(np.unique(laid))
    assert len(np.unique(laid[:30, :30])) == 1


def test_regions_are_counted_for_each_kind_of_line_art_and_variant_beside_what_the_paper_counts() -> None:
    section = region_counts.run(ASSEMBLED, 2)
    drawn = [row for row in section.rows if row["line art"] == "drawn"]
    assert {(row["variant"], row["pictures"]) for row in drawn} == {("original", 2), ("fork", 2)}
    for row in section.rows:
        assert 0 < row["median"] <= row["largest"]
        assert row["RASC mean"] == (166 if row["line art"] == "xdog" else None)
    assert section.met is None


def test_region_maps_are_compared_at_both_sizes() -> None:
    section = corpus_regions.run(ASSEMBLED, 1)
    assert [row["side"] for row in section.rows] == [512, 256]
    assert all(row["agreement"] == 1.0 and row["ratio"] > 1 for row in section.rows)


def test_the_peak_of_this_process_is_what_the_kernel_counted() -> None:
    assert corpus_memory._peak_kib(1 << 22) == 0
    own = corpus_memory._peak_kib(os.getpid())
    assert own == pytest.approx(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, rel=0.05)


def test_an_unknown_section_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["corpus", "--only", "decode,speed"])
    with pytest.raises(SystemExit):
        corpus.main()
    assert "no section 'speed'" in capsys.readouterr().err


@pytest.mark.slow
def test_decoding_is_measured_for_every_format_size_and_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["corpus", "--only", "decode", "--pictures", ASSEMBLED, "--mosaics", "1", "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--out", str(tmp_path)])
    corpus.main()
    (section,) = json.loads((tmp_path / "corpus.json").read_text())["sections"]
    seen = {(row["format"], row["MP"], row["target"]) for row in section["rows"]}
    assert len(seen) == 14
    assert "Decode and resize" in (tmp_path / "corpus.md").read_text()
