"""Control characters planted in names, tags, captions and addresses never reach a terminal or a page raw."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataprep.pictures.decode import encode_png
from dataprep.visible import one_line
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from tests.corpus_pictures import SMALL, picture
from tests.pipelines.training.untrained import write_checkpoint

PLANTED = "\x1b]0;x\x07\x1b[2J\r\u202e"
RAW = ("\x1b]0;", "\x1b[2J", "\x07", "\u202e", "\x9b")
CALLS = "import json, sys; from jobs.cli import run; [run(call) for call in json.loads(sys.argv[1])]"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A corpus, a checkpoint and a lineage, with something planted in every name."""
    folder = tmp_path_factory.mktemp("planted")
    source = folder / f"pictures{PLANTED}"
    source.mkdir()
    facts = {"tags": [f"tag{PLANTED}", "hat"], "caption": f"caption{PLANTED}", "group": f"group{PLANTED}"}
    lines = []
    for number in range(6):
        name = f"p{number}{PLANTED}.png"
        (source / name).write_bytes(encode_png(picture(number)) if number else b"no picture")
        lines.append(json.dumps({"path": name, **facts}))
    (source / "index.jsonl").write_text("\n".join(lines))
    run_build([str(source)], str(folder / "corpus"), SMALL, engine=in_process)
    (folder / "corpus" / "lineage.json").write_text(
        json.dumps(
            {
                "chain": {
                    "nodes": [
                        {"id": str(source), "kind": "source", "name": f"s\n{PLANTED}"},
                        {"id": ".", "kind": "corpus", "name": f"c{PLANTED}"},
                    ],
                    "edges": [{"from": str(source), "to": "."}],
                }
            }
        )
    )
    write_checkpoint(folder / f"model{PLANTED}", stage=f"v1.noisy{PLANTED}")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def on_a_terminal(*calls: list[str]) -> str:
    """All that the calls write, one after another, to a terminal that is stdout and stderr."""
    ours, theirs = pty.openpty()
    program = [sys.executable, "-c", CALLS, json.dumps(calls)]
    with subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        try:
            while block := os.read(ours, 1 << 16):
                written += block
        except OSError:  # the other end is closed
            pass
        process.wait(300)
    os.close(ours)
    return written.decode()


@pytest.mark.seconds
def test_nothing_planted_reaches_a_terminal(desk: Path) -> None:
    source, model = f"pictures{PLANTED}", f"model{PLANTED}"
    victim = next((desk / "corpus" / "data").rglob("color-*"))
    victim.write_bytes(b"x")
    colorize = ["colorize", "--sketch", source, "--checkpoint", model, "--steps", "1", "--size", "32x32", "--out"]
    written = on_a_terminal(
        ["corpus", "info", "corpus"],
        ["corpus", "tags", "corpus"],
        ["corpus", "browse", "corpus", "--out", f"page{PLANTED}.html"],
        ["corpus", "verify", "corpus"],
        ["corpus", "diff", "corpus", f"gone{PLANTED}"],
        ["lineage", "corpus"],
        ["weights", "inspect", model],
        ["weights", "inspect", f"gone{PLANTED}"],
        [*colorize, f"made{PLANTED}"],
        ["colorize", "--replay", f"{source}/p1{PLANTED}.png"],
        ["corpus", "nonsense", PLANTED],
        ["colorize", f"--{PLANTED}"],
        [*colorize, f"made{PLANTED}", "--write-recipe", f"recipe{PLANTED}"],
        [*colorize, f"made{PLANTED}", "--write-recipe", f"recipe{PLANTED}"],
        ["colorize", "--recipe", f"recipe{PLANTED}", "--out", "elsewhere", "--nonsense"],
    )
    for raw in RAW:
        assert raw not in written, written[max(0, written.find(raw) - 200) : written.find(raw) + 200]
    assert written.replace("\r\n", "\n").replace("\r\x1b[2K", "").count("\r") == 0
    for name in ("tag", "page", "c", "gone", "made", "model", "recipe"):
        assert one_line(f"{name}\x1b]0;x") in written, name
    assert "\ns\\n" in written.replace("\r\n", "\n") or "s\\n" in written
    assert "unexpected" not in written


@pytest.mark.seconds
def test_a_json_document_holds_what_was_planted_exactly(desk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from jobs.cli import run

    for call in (["corpus", "info", "corpus"], ["corpus", "tags", "corpus"], ["lineage", "corpus"]):
        capfd.readouterr()
        assert run([*call, "--json"]) == 0
        said = capfd.readouterr().out
        assert not any(raw in said for raw in RAW)
        assert PLANTED in str_of(json.loads(said))


def str_of(document: object) -> str:
    """All texts of a document."""
    if isinstance(document, dict):
        return "".join(map(str_of, (*document.keys(), *document.values())))
    return "".join(map(str_of, document)) if isinstance(document, list) else str(document)


def test_a_page_shows_what_was_planted_and_is_turned_by_nothing(desk: Path) -> None:
    from pipelines.corpus_tools.browse import make_page, render_page

    html = render_page(make_page("corpus", samples=2))
    assert not any(raw in html for raw in (*RAW, "\r"))
    assert "caption\\u001b]0;x\\u0007" in html
