"""The browse page: complete, escaped, offline; and what it reads from a corpus."""

import base64
import hashlib
import json
import re
import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from dataprep.corpus.column_files import write_table
from dataprep.corpus.schema import REJECT_SCHEMA
from dataprep.corpus.snapshot import open_snapshot
from dataprep.corpus_tools.survey import RowPicker
from dataprep.limits import LimitSettings
from dataprep.pictures.decode import decode, encode_png
from pipelines.corpus_build.build import run_build
from pipelines.corpus_tools.browse import make_page, ordered, render_page, shown_bytes, shown_share, write_page
from pipelines.corpus_tools.browse_pictures import SIDES, in_words, make_samples, region_colors, thumb
from pipelines.execution.ray_data import in_process
from tests.corpus_pictures import SMALL, picture, write_broken, write_pictures
from tests.dataprep.pictures.test_guarded import slow_drawing
from tests.eval.report.test_page import Elements
from tests.faults import Survived
from tests.jobs.command import irodori
from tests.pipelines.corpus_tools.sample_page import COLUMNS, sample_page


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ten rows of two groups, one near-duplicate, one broken file."""
    folder = write_pictures(tmp_path_factory.mktemp("browse") / "pictures", 9)
    write_pictures(folder, 1, first=9, height=400, width=500)
    again = picture(3)
    again[0, 0] ^= 1
    (folder / "z-again.png").write_bytes(encode_png(again))
    names = [*sorted(path.name for path in folder.iterdir()), write_broken(folder).name]
    lines = [
        {"path": name, "group": ("ann", "bea")[number % 2], "tags": ["all", f"t{number % 3}", "<b>"]}
        for number, name in enumerate(names)
    ]
    (folder / "index.jsonl").write_text("\n".join(map(json.dumps, lines)))
    out = str(folder.parent / "corpus")
    run_build([str(folder)], out, SMALL, engine=in_process)
    return out


@pytest.fixture(scope="module")
def html() -> str:
    return render_page(sample_page())


def test_the_page_is_well_formed_and_its_ids_are_unique(html: str) -> None:
    elements = Elements(html)
    assert elements.open == []
    ids = [attributes["id"] for _, attributes in elements.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.seconds
def test_a_picture_that_was_too_much_for_the_build_is_not_looked_at(tmp_path: Path, survived: Survived) -> None:
    source = write_pictures(tmp_path / "pictures", 3)
    (source / "slow.svg").write_bytes(slow_drawing(60))  # a second: the build has no process to lose here
    limits = LimitSettings(seconds_per_picture=0.2)
    report = run_build([str(source)], str(tmp_path / "corpus"), replace(SMALL, limits=limits), engine=in_process)
    assert report.rejects == {"timeout": 1}
    (source / "slow.svg").write_bytes(slow_drawing())  # minutes
    started = time.monotonic()
    page = make_page(str(tmp_path / "corpus"))
    assert time.monotonic() - started < 5
    ((example,),) = (reason.examples for reason in page.rejects)
    assert (example.picture, example.message) == (None, "took more than 0.2 s")
    survived("picture that hangs", work="browse page", lost=3 - len(page.samples), doubled=0)
    assert len(page.samples) == 3


def test_the_page_says_what_of_the_sources_was_not_taken_or_not_whole() -> None:
    page = sample_page()
    assert page.left == (), "a snapshot that knows nothing of it"
    listed = {"not_selected": {"ratings": 3}, "not_taken": {".heic": 2, ".jxl": 1}, "litter": 1200}
    listed["notes"] = {"exif": 4}
    html = render_page(replace(page, document={**page.document, "listed": listed}))
    for sentence in (
        "Not selected: ratings 3.",
        "Files that are not taken: .heic 2, .jxl 1.",
        "Taken without a part: exif 4 (EXIF data that cannot be read",
        "Left behind by systems and tools, and passed over: 1,200.",
    ):
        assert sentence in html


def test_the_page_loads_nothing_and_forbids_loading(html: str) -> None:
    tags = Elements(html).tags
    sources = [value for _, a in tags for key in ("src", "srcset", "data", "poster") if (value := a.get(key))]
    assert sources
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert {tag for tag, _ in tags} & {"iframe", "object", "embed"} == set()
    assert not [a["href"] for tag, a in tags if tag == "a" and not str(a["href"]).startswith("#")]
    assert not re.search(r"@import|url\(", html)
    policy = next(a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy


def test_every_picture_of_a_sample_is_embedded_once_with_a_description(html: str) -> None:
    for sample in sample_page().samples:
        for layer in sample.layers:
            if layer.picture:
                assert html.count(base64.b64encode(layer.picture).decode()) >= 1
    pictures = [a for tag, a in Elements(html).tags if tag == "img"]
    assert sum("data-column" in a for a in pictures) == 9  # 3 rows, 4 columns, one without a value
    assert all(a["alt"] for a in pictures)


def test_hostile_text_is_shown_and_never_run() -> None:
    hostile = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}"
    html = render_page(sample_page(hostile))
    elements = Elements(html)
    assert elements.open == []
    assert sum(tag == "script" for tag, _ in elements.tags) == 1
    assert not any(key.startswith("on") for _, attributes in elements.tags for key in attributes)
    assert "x" not in {a.get("src") for _, a in elements.tags}
    assert html.count("{{ 7*7 }}") > 5


def test_what_is_known_of_a_row_stands_beside_it(html: str) -> None:
    for text in (
        "1" * 64,
        "pictures/p1.png",
        "64 \N{MULTIPLICATION SIGN} 48, 0.00 megapixels",
        "smile, hat",
        "768x768",
        "validation",
    ):
        assert text in html


def test_duplicates_are_shown_beside_what_was_kept(html: str) -> None:
    assert "Kept instead: eeeeeeee" in html
    assert "the file is empty" in html


def test_under_filled_buckets_are_marked(html: str) -> None:
    assert "1 of 2 have too few training pictures for one batch of 256" in html
    assert re.search(r'class="bar marked"><title>832x704: 2 under-filled', html)


def test_a_page_that_counts_some_shards_says_so() -> None:
    page = replace(sample_page(), shards_read=3, shards=8)
    assert "the rows of 3 of 8 shards, chosen at random" in render_page(page)


def test_a_page_of_a_corpus_tells_what_lies_there(corpus: str, tmp_path: Path) -> None:
    page = make_page(corpus, samples=6, rejects_from=[str(Path(corpus).parent / "pictures")])
    snapshot = open_snapshot(corpus)
    assert page.rows == 10
    assert len({sample.row["id"] for sample in page.samples}) == 6
    assert page.columns == ("color", "sketch_drawn", "sketch_xdog", "mask", "region_map")
    assert {reason.reason: reason.count for reason in page.rejects} == snapshot.document["rejects"]
    duplicate = next(reason for reason in page.rejects if "duplicate" in reason.reason).examples[0]
    assert duplicate.picture
    assert duplicate.kept
    assert next(reason for reason in page.rejects if reason.reason == "unreadable").examples[0].picture is None
    assert write_page(page, str(tmp_path / "page.html")) == (tmp_path / "page.html").stat().st_size
    assert "&lt;b&gt;" in (tmp_path / "page.html").read_text()


def test_a_column_of_sketches_shows_its_ink_and_what_is_wrong_with_it(html: str, corpus: str) -> None:
    cells = re.findall(r'<td data-label="Ink">(.*?)</td>', html, re.S)
    assert [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in cells] == [
        "\N{EN DASH}",
        "9.5 % 0.95 % to 18 %, 5 % of them outside",
        "90 % of 20 values looked at are one value all over",
    ]
    facts = {column.column: column.seen for column in make_page(corpus, samples=1).facts}
    drawn = facts["sketch_xdog"]
    assert drawn is not None
    assert drawn.values == 10
    assert 0.01 < drawn.percentile(50) < 0.4
    assert facts["color"] is None


def test_no_address_of_a_corpus_is_opened_outside_of_the_folders_that_are_trusted(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "home" / "secret.png"
    secret.parent.mkdir()
    secret.write_bytes(encode_png(picture(77)))
    (tmp_path / "home-of-another").mkdir()
    addresses = [str(secret), "s3://somebody/tracked.png", f"{tmp_path}/trusted/../home/secret.png"]
    foreign = with_rejects(corpus, tmp_path / "foreign", addresses)
    asked: list[str] = []
    monkeypatch.setattr("dataprep.storage.s3.client", lambda: asked.append("s3"))
    for folders in ([], [str(tmp_path / "home-of-another")], [str(tmp_path / "trusted"), "s3://some"]):
        page = make_page(foreign, samples=1, rejects_from=folders)
        shown = [example for reason in page.rejects for example in reason.examples]
        assert {example.source for example in shown} == set(addresses)
        assert not any(example.picture for example in shown)
        assert page.rejects_unread
    assert asked == []
    assert "--show-rejects-from FOLDER" in render_page(page)
    page = make_page(foreign, samples=1, rejects_from=[str(secret.parent)])
    assert [bool(e.picture) for r in page.rejects for e in r.examples if e.source == str(secret)] == [True]


def with_rejects(corpus: str, copy: Path, sources: list[str]) -> str:
    """A copy of the corpus whose rejects name these addresses, every hash of it right."""
    shutil.copytree(corpus, copy)
    snapshot = open_snapshot(corpus)
    rows = [{"id": None, "source": source, "reason": "too-small", "message": ""} for source in sources]
    data = write_table(pa.Table.from_pylist(rows, REJECT_SCHEMA))
    table = {"path": f"rejects/{'ab' * 6}.parquet", "rows": len(rows), "bytes": len(data)}
    table["sha256"] = hashlib.sha256(data).hexdigest()
    (copy / str(table["path"])).write_bytes(data)
    document = snapshot.document | {"rejects": {"too-small": len(rows)}}
    document["tables"] = document["tables"] | {"rejects": table}
    (copy / "snapshots" / "1.json").write_text(json.dumps(document))
    return str(copy)


def test_samples_are_those_of_the_seed_and_show_the_pixels_of_their_row(corpus: str) -> None:
    one, same, other = (make_page(corpus, samples=5, seed=seed) for seed in (1, 1, 2))
    assert [sample.row["id"] for sample in one.samples] == [sample.row["id"] for sample in same.samples]
    assert [sample.row["id"] for sample in one.samples] != [sample.row["id"] for sample in other.samples]
    for sample in one.samples:
        assert sample.layers[0].picture is not None
        shown = decode(sample.layers[0].picture).rgb.astype(int)
        source = cv2.resize(decode(Path(sample.row["source"]).read_bytes()).rgb, shown.shape[1::-1])
        assert np.abs(shown - source).mean() < 12  # WebP of the same picture


def test_groups_are_strips_of_pictures_of_one_group(corpus: str) -> None:
    page = make_page(corpus, samples=1)
    rows = Counter(strip.name for strip in page.groups)
    assert set(rows) == {"ann", "bea"}
    assert sum(strip.rows for strip in page.groups) == 10


def test_pictures_shrink_until_they_fit_the_page(corpus: str) -> None:
    snapshot = open_snapshot(corpus)
    places = snapshot.table("index").to_pylist()
    free, tight = (make_samples(RowPicker(snapshot), places, ["color"], most) for most in (1 << 30, 1))
    largest = [max(max(decode(sample.layers[0].picture or b"").rgb.shape) for sample in made) for made in (free, tight)]
    assert largest == [SIDES[0], SIDES[-1]]


def test_regions_have_colours_of_their_own_and_lines_are_transparent() -> None:
    colors = region_colors(np.arange(40, dtype=np.uint16).reshape(5, 8))
    assert colors[0, 0, 3] == 0
    assert (colors.reshape(-1, 4)[1:, 3] == 255).all()
    assert len({tuple(color) for color in colors.reshape(-1, 4)[1:, :3].tolist()}) == 39
    assert decode(thumb(encode_png(np.ones((9, 9), np.uint16)), 64, "regions")).rgb.shape == (9, 9, 3)


def test_columns_stand_in_the_order_in_which_people_look() -> None:
    shuffled = ["sketch_mask", "region_map", "sketch_xdog", "mask", "sketch_drawn", "color", "sketch_anime"]
    assert ordered(shuffled) == (
        *("color", "sketch_drawn", "sketch_anime", "sketch_xdog"),
        *("mask", "sketch_mask", "region_map"),
    )
    assert ordered(reversed(COLUMNS)) == COLUMNS


@pytest.mark.parametrize(("count", "shown"), [(0, "0 B"), (999, "999 B"), (1234, "1.2 kB"), (5.6e12, "5.6 TB")])
def test_bytes_are_told_in_powers_of_ten(count: float, shown: str) -> None:
    assert shown_bytes(count) == shown


def test_the_command_names_the_page_for_corpus_and_snapshot(corpus: str, tmp_path: Path) -> None:
    told = irodori("corpus", "browse", f"{corpus}@1", "--samples", "3", cwd=tmp_path).stdout
    assert told.startswith("corpus-1.html: 3 of 10 rows of snapshot 1")
    assert "Content-Security-Policy" in (tmp_path / "corpus-1.html").read_text()
    assert "there is no snapshot 7" in irodori("corpus", "browse", f"{corpus}@7", cwd=tmp_path, code=1).stderr


def test_what_operators_say_in_words_is_shown_as_words() -> None:
    tags = {"rating": {"safe": 0.9, "explicit": 0.1}, "general": {"solo": 0.98765, "hat": 0.3}, "character": {}}
    assert in_words(tags) == "rating: safe 0.90, explicit 0.10; general: solo 0.99, hat 0.30"
    assert in_words(5.4321) == "5.43"
    assert in_words({f"tag{n}": n / 100 for n in range(20)}).count(",") == 11


@pytest.mark.parametrize(("share", "shown"), [(0.0, "0 %"), (0.00456, "0.46 %"), (0.071, "7.1 %"), (0.296, "30 %")])
def test_shares_are_told_in_two_digits(share: float, shown: str) -> None:
    assert shown_share(share) == shown
