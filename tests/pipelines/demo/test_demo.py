"""The whole main job through its own functions, small: what it leaves behind, and that its pictures can be replayed."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from dataprep.corpus_tools.verify import verify
from dataprep.pictures.assembled import shipped_templates
from dataprep.pictures.decode import decode
from pipelines.common.shipped_pictures import PICTURES
from pipelines.demo.demo import DemoSizes, run_demo
from pipelines.evaluation.features import read_results
from pipelines.lineage import find_chain
from tests.jobs.command import irodori

pytestmark = pytest.mark.ray

DRAWINGS = 40


def write_drawings(folder: Path) -> str:
    """Every nth of the shipped drawings, small, each in one colouring."""
    folder.mkdir()
    templates = list(shipped_templates().values())
    chosen = templates[:: len(templates) // DRAWINGS][:DRAWINGS]
    lines = [json.dumps({"id": t.id, "style": t.style, "tags": t.tags, "svg": t.svg}) for t in chosen]
    (folder / "some.jsonl").write_text("\n".join(lines))
    settings = {"templates": ["some.jsonl"], "colorings": 1, "size": 96}
    (folder / "assembled.json").write_text(json.dumps(settings))
    return str(folder)


@pytest.fixture(scope="module")
def demo(ray_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every step of the demo once, in its smallest honest form: a quarter of the templates, each in one colouring, two
    training steps a stage, and a pair or two for each protocol that says something of its own."""
    out = tmp_path_factory.mktemp("demo") / "it's here"
    sources = (write_drawings(out.parent / "pictures"), str(PICTURES / "damaged"))
    sizes = DemoSizes(
        sources,
        workers=1,
        side=64,
        palette_images=16,
        distill_images=8,
        pairs=(("known-answer", 4), ("random-reference", 2)),
    )
    said: list[str] = []
    closing = run_demo(str(out), log_file=out / "demo.log", say=said.append, sizes=sizes)
    (out / "closing.txt").write_text(closing)
    (out / "said.txt").write_text("\n".join(said))
    return out


def test_it_leaves_a_whole_corpus_with_the_damaged_picture_as_a_reject(demo: Path) -> None:
    assert verify(str(demo / "corpus")) == []
    facts = json.loads(irodori("corpus", "info", str(demo / "corpus"), "--json").stdout)
    assert facts["rejects"] == {"unreadable": 1}
    assert sum(facts["rows"].values()) == DRAWINGS


def test_the_chain_runs_from_the_score_to_the_pictures(demo: Path) -> None:
    chain = find_chain(str(demo / "evaluation" / "known-answer"))
    kinds = [node.kind for node in chain.nodes]
    assert sorted(kinds) == ["checkpoint", "checkpoint", "checkpoint", "corpus", "evaluation", "source", "source"]
    assert kinds[-1] == "evaluation"


def test_a_score_without_enough_pictures_is_null_and_says_why(demo: Path) -> None:
    scored = json.loads((demo / "evaluation" / "random-reference" / "scores.json").read_text())
    assert scored["scores"] == {"fid_efficientnet_lite0_320": None}
    assert "321" in scored["reasons"]["fid_efficientnet_lite0_320"]
    assert scored["feature_network"].startswith("efficientnet_lite0_320@")


def test_the_report_is_one_offline_page_with_pictures_first(demo: Path) -> None:
    page = (demo / "report.html").read_text()
    assert page.count("data:image/png;base64,") > 20
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page.split("Credits")[0]) == []
    assert page.index("Known answer 1") < page.index("known_answer_share")


def test_the_page_shows_different_sketches_the_closest_first_and_drawings_by_illustrators(demo: Path) -> None:
    page = (demo / "report.html").read_text()
    assert re.findall(r"A drawing by an illustrator: (\w+)</h3>", page) == ["fairy", "princess", "barn", "robot"]
    decibels = [float(number) for number in re.findall(r"PSNR where told</dt><dd>([\d.]+) dB", page)]
    assert len(decibels) == 2, "four pairs are of two sketches"
    assert decibels == sorted(decibels, reverse=True)
    for number in range(2):
        sketch = decode((demo / "pictures" / f"{number:02d}-sketch.png").read_bytes()).rgb
        assert decode((demo / "pictures" / f"{number:02d}.png").read_bytes()).rgb.shape == sketch.shape
    assert page.count("From nothing to the weights that ship") > 0


def test_both_stages_move_the_weights_that_ship_and_both_scores_are_told(demo: Path) -> None:
    said, closing = (demo / "said.txt").read_text(), (demo / "closing.txt").read_text()
    moved = [float(share) for share in re.findall(r"the weights moved by \S+, which is ([\d.]+)% of", said)]
    assert len(moved) == 2
    assert all(share > 0 for share in moved)
    folders = [str(demo / "evaluation" / name) for name in ("starter-known-answer", "known-answer")]
    pairs = [[(row["sketch_id"], row["reference_id"]) for row in read_results(folder)] for folder in folders]
    assert pairs[0] == pairs[1]
    before, after = (json.loads(Path(folder, "scores.json").read_text()) for folder in folders)
    assert f"{before['scores']['psnr']:.1f} dB" in closing
    assert f"{after['scores']['psnr']:.1f} dB" in closing


def test_the_printed_command_makes_the_same_picture_again(demo: Path, tmp_path: Path) -> None:
    page = (demo / "report.html").read_text()
    command = re.search(r"irodori colorize --checkpoint [^<]*again-00\.png[^<]*", page)
    assert command is not None
    unescaped = command[0].replace("&#39;", "'").replace("&#34;", '"').replace("&amp;", "&")
    irodori(*shlex.split(unescaped)[1:], cwd=tmp_path)
    again = decode((tmp_path / "again-00.png").read_bytes()).rgb.astype(int)
    first = decode((demo / "pictures" / "00.png").read_bytes()).rgb.astype(int)
    assert np.abs(again - first).max() <= 2


def test_the_closing_words_name_what_to_open_and_how(demo: Path) -> None:
    closing = (demo / "closing.txt").read_text()
    for name in ("report.html", "corpus", "checkpoint", "mlflow.db"):
        assert name in closing
    assert "irodori corpus info" in closing
    assert "mlflow ui --backend-store-uri" in closing
