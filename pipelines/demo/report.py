"""Gathers what the demo made into one offline page: pictures first, then training, scores, and how it was made."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataprep.corpus_tools.info import info
from dataprep.storage.store import exists, join, list_files, read_bytes, write_whole
from dataprep.visible import visible
from eval.metrics.metric import LOWER, UPPER, Metric
from eval.metrics.table import metric_of
from eval.report.page import (
    Credit,
    LineageStep,
    LossCurve,
    Pairs,
    Report,
    ReportPicture,
    ReportScore,
    ReportStrip,
    StripFrame,
    render_report,
)
from pipelines.evaluation.evaluate import read_results
from pipelines.evaluation.lookup import find_metric, find_protocol
from pipelines.training.stage import read_history

PICTURES_SHOWN = {"known-answer": 8}  # of other protocols FEW
FEW = 2
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
    Credit("OpenMoji", "OpenMoji project, HfG Schwäbisch Gmünd", "CC BY-SA 4.0", "https://openmoji.org/"),
)


def write_report(out: str, evaluations: Mapping[str, dict[str, Any]], stages: Mapping[str, str], corpus: str) -> str:
    """Write `<out>/report.html` from the evaluations (protocol -> document) and stages (name -> output); its path."""
    pictures: list[ReportPicture] = []
    for protocol, document in evaluations.items():
        pictures += _pictures(join(out, "evaluation", protocol), document)
    facts = info(corpus)
    share = evaluations["known-answer"]["scores"]["known_answer_share"]
    report = Report(
        title="Irodori: first light",
        summary=(
            f"A tiny model learned on this machine to colour line art after a reference picture. {share:.0%} of its "
            "results take the colours of their own reference rather than another's (chance: 50 %). Every drawing shown "
            "is one that it never saw in training."
        ),
        pictures=tuple(pictures),
        strips=tuple(_strips(stages)),
        scores=tuple(score for document in evaluations.values() for score in _scores(document)),
        curves=tuple(_curve(name, output) for name, output in stages.items()),
        lineage=tuple(_lineage(facts, stages, evaluations)),
        commands=_commands(out, corpus, stages, evaluations["known-answer"]["sampling"]["guidance_scale"]),
        credits=CREDITS,
    )
    path = os.path.join(out, "report.html")
    write_whole(path, visible(render_report(report)).encode())
    return path


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
    words = " ".join(f"{name} {shlex.quote(value)}" for name, value in arguments.items())
    as_scored = "--polarity dark --no-levels --no-keep-lines"  # the sketch as it is, and the network's own picture
    return f"{program('irodori')} colorize {words} {as_scored}"


def _pictures(evaluation: str, document: Mapping[str, Any]) -> list[ReportPicture]:
    protocol = find_protocol(document["protocol"])
    metrics = [find_metric(name) for name in protocol.metrics]
    shown = []
    for number, row in enumerate(read_results(evaluation)[: PICTURES_SHOWN.get(protocol.name, FEW)]):
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


def _strips(stages: Mapping[str, str]) -> list[ReportStrip]:
    """Each fixed pair through all stages, one after the other."""
    first = next(iter(stages.values()))
    strips = []
    number = 0
    while exists(join(first, "samples", f"{number}-sketch.png")):
        samples = join(first, "samples")
        frames = [frame for stage, output in stages.items() for frame in _frames(stage, output, number)]
        strips.append(
            ReportStrip(
                title=f"Fixed pair {number + 1}",
                sketch=read_bytes(join(samples, f"{number}-sketch.png")),
                reference=read_bytes(join(samples, f"{number}-reference.png")),
                frames=tuple(frames),
            )
        )
        number += 1
    return strips


def _frames(stage: str, output: str, number: int) -> list[StripFrame]:
    names = {Path(entry.uri).stem: entry.uri for entry in list_files(join(output, "samples"))}
    seen = sorted(int(name.split("-")[1]) for name in names if name.split("-")[0] == str(number) and name[-1].isdigit())
    return [StripFrame(images, read_bytes(names[f"{number}-{images:09d}"]), stage) for images in seen]


def _scores(document: Mapping[str, Any]) -> list[ReportScore]:
    """One row for each score; bounds belong to the score they bound."""
    values: Mapping[str, float | None] = document["scores"]
    names = [name for name in values if not name.endswith((LOWER, UPPER))]
    metrics = [find_metric(name) for name in find_protocol(document["protocol"]).metrics]
    return [_score(name, metric_of(name, metrics), document) for name in names]


def _score(name: str, metric: Metric | None, document: Mapping[str, Any]) -> ReportScore:
    values = document["scores"]
    bounds = (values.get(name + LOWER), values.get(name + UPPER))
    return ReportScore(
        name=name,
        value=values[name],
        meaning=metric.meaning_of(name) if metric else "",
        unit=metric.unit if metric else "",
        reason=document["reasons"].get(name, ""),
        samples=document["samples"],
        protocol=document["protocol"],
        feature_network=document["feature_network"] if metric and metric.features else "",
        interval=bounds if None not in bounds else None,
    )


def _curve(stage: str, output: str) -> LossCurve:
    records = [(record["images_seen"], record["loss"]) for record in read_history(output) if "loss" in record]
    return LossCurve(stage, tuple(_smoothed(records)))


def _smoothed(points: list[tuple[int, float]], window: int = 16) -> list[tuple[int, float]]:
    """Means of `window` steps: the loss of one step says more about its timesteps than about the model."""
    chunks = [points[start : start + window] for start in range(0, len(points), window)]
    return [(chunk[-1][0], sum(loss for _, loss in chunk) / len(chunk)) for chunk in chunks if chunk]


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


def _commands(out: str, corpus: str, stages: Mapping[str, str], guidance_scale: float) -> Pairs:
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
            f"{irodori} colorize --checkpoint {shlex.quote(last)} --guidance-scale {guidance_scale:g} "
            "--sketch SKETCH.png --reference PICTURE.png --out RESULT.png",
        ),
        (
            "the runs in MLflow",
            f"{program('mlflow')} ui --backend-store-uri sqlite:///{shlex.quote(join(out, 'mlflow.db'))}",
        ),
    )
