"""Gathers what the demo made into one offline page: pictures first, then training, scores, and how it was made."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dataprep.corpus_tools.info import info
from dataprep.storage.store import join, write_whole
from dataprep.visible import visible
from eval.report.page import (
    Credit,
    LineageStep,
    Pairs,
    Report,
    ReportPicture,
    ReportScore,
    ReportStrip,
    StripFrame,
    render_report,
)
from pipelines.colorization.roles import REFERENCE
from pipelines.demo.gallery import Shown
from pipelines.evaluation.features import read_results
from pipelines.evaluation.lookup import find_metric, find_protocol
from pipelines.report.pieces import curve, scores, strips
from pipelines.weights.checkpoints import STARTER

SKETCHES_SHOWN = 8  # of known answers; of other protocols FEW pairs
FEW = 2
COMPARED = ("known_answer_share", "psnr", "told_psnr")  # before and after
FROM_NOTHING = Path(__file__).parent / "learning"
CREDITS = (
    Credit(
        "Adventurer",
        "Lisa Wischofsky",
        "CC BY 4.0, recoloured",
        "https://www.figma.com/community/file/1184595184137881796",
    ),
    Credit("Open Peeps", "Pablo Stanley", "CC0 1.0", "https://www.openpeeps.com/"),
    Credit(
        "Ren'Py sprites and backgrounds",
        "Deji, derik, Mugenjohncel, DaFool, Piroshki; Tom Rothamel and contributors",
        "MIT",
        "https://www.renpy.org/",
    ),
    Credit(
        "Line drawings: fairy, princess, barn; robot",
        "Architetto Francesco Rollandin; Gerald G. (Openclipart)",
        "public domain",
        "https://openclipart.org/",
    ),
    Credit("OpenMoji", "OpenMoji project, HfG Schwäbisch Gmünd", "CC BY-SA 4.0", "https://openmoji.org/"),
)


def write_report(
    out: str,
    evaluations: Mapping[str, dict[str, Any]],
    stages: Mapping[str, str],
    corpus: str,
    rows: Sequence[Mapping[str, Any]],
    gallery: Sequence[Shown],
    real: Sequence[Shown],
) -> str:
    """Write `<out>/report.html`; its path.

    evaluations: name of the folder -> document; "starter-..." is of the weights that ship. stages: name -> output.
    rows: the known answers that are shown, and gallery their pictures at the artist's size; real: the drawings that
    ship.
    """
    pictures = [_lined(f"A drawing by an illustrator: {Path(shown.job.sketch).stem}", shown) for shown in real]
    truth_note = find_protocol(evaluations["known-answer"]["protocol"]).truth_note
    pictures += [
        replace(
            _lined(f"Known answer {number}", shown),
            network=row["result_png"],
            truth=row["truth_png"],
            truth_note=truth_note,
            numbers=(("PSNR where told", f"{row['told_psnr']:.1f} dB"),),
        )
        for number, (row, shown) in enumerate(zip(rows, gallery, strict=True), 1)
    ]
    for protocol, document in evaluations.items():
        if not protocol.endswith("known-answer"):
            pictures += _pictures(join(out, "evaluation", protocol), document)
    facts = info(corpus)
    known = evaluations["known-answer"]["scores"]
    report = Report(
        title="Irodori: first light",
        summary=(
            "Line art coloured after a picture. Hair, skin and ground take the colours that they have in the "
            "reference, whatever else it shows; in places a patch of another part's colour remains. The weights that "
            f"ship went on learning on this machine; of their results {known['known_answer_share']:.0%} are nearer to "
            "the right answer for their own reference than to that for another (chance: 50 %). No drawing shown was "
            "trained on."
        ),
        pictures=tuple(pictures),
        strips=(_from_nothing(), *strips(stages, ", on this machine")),
        scores=tuple(score for name, document in evaluations.items() for score in _scores(name, document)),
        curves=tuple(curve(name, output) for name, output in stages.items()),
        lineage=tuple(_lineage(facts, stages, evaluations)),
        commands=_commands(out, corpus, stages),
        credits=CREDITS,
    )
    path = os.path.join(out, "report.html")
    write_whole(path, visible(render_report(report)).encode())
    return path


def different_sketches(rows: Sequence[Mapping[str, Any]], count: int = SKETCHES_SHOWN) -> list[Mapping[str, Any]]:
    """Of the pairs whose pictures were kept, the first of each sketch; the closest to its right answer comes first."""
    first: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if row.get("result_png") is not None:
            first.setdefault(row["sketch_id"], row)
    return sorted(first.values(), key=lambda row: -row["told_psnr"])[:count]


def program(name: str) -> str:
    """How a person starts `irodori` or `mlflow` here: by name where it is on the path, else beside this Python."""
    return name if shutil.which(name) else shlex.quote(os.path.relpath(Path(sys.executable).with_name(name)))


def replay_command(evaluation: str, number: int, document: Mapping[str, Any], seed: int) -> str:
    """The command that makes result `number` of an evaluation again, pixel for pixel on the same machine."""
    picture = join(evaluation, "pictures", f"{number:02d}")
    arguments = {
        "--checkpoint": document["checkpoint"],
        "--sketch": f"{picture}-sketch.png",
        "--reference": f"{picture}-reference.png",
        "--seed": str(seed),
        "--steps": str(document["sampling"]["steps"]),
        "--guidance-scale": str(document["sampling"]["guidance_scale"]),
        "--out": f"replay-{number:02d}.png",
    }
    as_scored = "--polarity dark --no-levels --no-keep-lines"  # the sketch as it is, and the network's own picture
    return f"{_colorize(arguments)} {as_scored}"


def gallery_command(shown: Shown) -> str:
    """The command that makes a picture of the gallery again."""
    job = shown.job
    return _colorize(
        {
            "--checkpoint": shown.checkpoint,
            "--sketch": job.sketch,
            "--reference": job.references[REFERENCE],
            "--seed": str(job.seed),
            "--out": f"again-{Path(job.out).name}",
        }
    )


def _colorize(arguments: Mapping[str, str]) -> str:
    words = " ".join(f"{name} {shlex.quote(value)}" for name, value in arguments.items())
    return f"{program('irodori')} colorize {words}"


def _lined(title: str, shown: Shown) -> ReportPicture:
    """A result as an artist sees it."""
    return ReportPicture(
        title=title,
        sketch=shown.sketch,
        reference=shown.reference,
        result=shown.result,
        result_note="the artist's lines over the colour",
        command=gallery_command(shown),
    )


def _from_nothing() -> ReportStrip:
    """How the weights that ship began, made beforehand: pictures of their own training."""
    frames = sorted(file for file in FROM_NOTHING.glob("*.png") if file.stem.isdigit())
    return ReportStrip(
        title="From nothing to the weights that ship",
        note="Made beforehand, as the weights that ship were trained (docs/starter.md has the commands): not on this "
        "machine, and not in ten minutes.",
        sketch=(FROM_NOTHING / "sketch.png").read_bytes(),
        reference=(FROM_NOTHING / "reference.png").read_bytes(),
        frames=tuple(StripFrame(int(file.stem), file.read_bytes()) for file in frames),
    )


def _pictures(evaluation: str, document: Mapping[str, Any]) -> list[ReportPicture]:
    protocol = find_protocol(document["protocol"])
    metrics = [find_metric(name) for name in protocol.metrics]
    shown = []
    for number, row in enumerate(read_results(evaluation)[:FEW]):
        shown.append(
            ReportPicture(
                title=f"{protocol.name.replace('-', ' ').capitalize()} {number + 1}",
                sketch=row["sketch_png"],
                reference=row["reference_png"],
                result=row["result_png"],
                truth=row["truth_png"],
                truth_note=protocol.truth_note,
                command=replay_command(evaluation, number, document, row["seed"]),
                numbers=tuple(metric.caption(row) for metric in metrics if metric.caption),
            )
        )
    return shown


def _scores(evaluation: str, document: Mapping[str, Any]) -> list[ReportScore]:
    """One row for each score. Of the weights that ship only what compares."""
    return scores(evaluation, document, COMPARED if evaluation.startswith(STARTER) else None)


def _lineage(
    facts: Mapping[str, Any], stages: Mapping[str, str], evaluations: Mapping[str, dict[str, Any]]
) -> list[LineageStep]:
    rows = ", ".join(f"{count:,} {split}" for split, count in facts["rows"].items())
    rejects = ", ".join(f"{count:,} {reason}" for reason, count in facts["rejects"].items()) or "none"
    steps = [
        LineageStep("source", "the shipped pictures", (("where", ", ".join(Path(s).name for s in facts["sources"])),)),
        LineageStep(
            "corpus",
            f"snapshot {facts['snapshot']}",
            (("digest", facts["digest"]), ("rows", rows), ("rejected", rejects)),
            tuple(facts["operators"].items()),
        ),
    ]
    for stage, output in stages.items():
        recipe = Path(output, "recipe.json").read_text()
        steps.append(LineageStep("stage", stage, (("checkpoint", output),), _pairs(recipe)))
    for protocol, document in evaluations.items():
        sampling = tuple((key, str(value)) for key, value in document["sampling"].items())
        steps.append(LineageStep("evaluation", protocol, (("pairs", f"{document['samples']:,}"),), sampling))
    return steps


def _pairs(recipe_json: str) -> Pairs:
    return tuple((key, str(value)) for key, value in json.loads(recipe_json).items())


def _commands(out: str, corpus: str, stages: Mapping[str, str]) -> Pairs:
    last = list(stages.values())[-1]
    irodori = program("irodori")
    return (
        ("the corpus", f"{irodori} corpus info {shlex.quote(corpus)}"),
        (
            "the chain from the score to the pictures",
            f"{irodori} lineage {shlex.quote(join(out, 'evaluation/known-answer'))}",
        ),
        (
            "colour your own drawing",
            f"{irodori} colorize --checkpoint {shlex.quote(last)} "
            "--sketch SKETCH.png --reference PICTURE.png --out RESULT.png",
        ),
        (
            "the runs in MLflow",
            f"{program('mlflow')} ui --backend-store-uri sqlite:///{shlex.quote(join(out, 'mlflow.db'))}",
        ),
    )
