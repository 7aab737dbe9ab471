"""A tiny corpus, a training recipe of seconds, and what training drills look at."""

import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from dataprep.pictures.assembled import Template, shipped_templates
from dataprep.plan.split import assign_split
from pipelines.common.progress import ProgressSink, silent
from pipelines.corpus_build.build import build_corpus
from pipelines.recipes.corpora import CORPUS_RECIPES
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.recipes.stages import stage_recipe
from pipelines.training.plan import TrainPlan
from pipelines.training.stage import TrainReport, plan_stage, read_history, train_stage
from pipelines.training.state.store import StateStore

BATCH = 8
HELD_OUT = 0.25
LISTENING = "listening.json"
QUICK: dict[str, Any] = {
    "images": 8 * BATCH,
    "batch_size": BATCH,
    "width": 64,
    "height": 64,
    "warmup_images": 0,
    "checkpoint_images": 2 * BATCH,
    "sample_images": 4 * BATCH,
    "validate_images": 4 * BATCH,
}


@dataclass(frozen=True)
class Bench:
    """Where a drill works: a corpus, the MLflow store and a folder for logs."""

    corpus: str
    store: str
    folder: Path

    def plan(self, out: Path | str, workers: int = 2, parent: str | None = None, **changes: Any) -> TrainPlan:
        """The plan of a quick stage (`v1.noisy`, or `stage=...`) with some settings changed."""
        return plan_stage(quick_recipe(**changes), self.corpus, str(out), parent, workers)

    def train(
        self,
        out: Path | str,
        workers: int = 2,
        parent: str | None = None,
        progress: ProgressSink = silent,
        **changes: Any,
    ) -> TrainReport:
        """Plan and run a quick stage on the Ray that runs."""
        plan = self.plan(out, workers, parent, **changes)
        return train_stage(plan, log_file=self.folder / "train.log", progress=progress, tracking_uri=self.store)

    def arguments(self, out: Path | str, workers: int = 2, stage: str = "v1.noisy", **changes: Any) -> list[str]:
        """The command line that does the same as `train`."""
        settings = [f"--set={key}={json.dumps(value).strip(chr(34))}" for key, value in (QUICK | changes).items()]
        places = ["--corpus", self.corpus, "--out", str(out), "--tracking-uri", self.store]
        return ["train", stage, *places, "--workers", str(workers), *settings]


def make_bench(folder: Path, train: int = 12, validation: int = 4) -> Bench:
    """A corpus of assembled pictures, each of another template, with so many rows in each split."""
    source = folder / "pictures"
    source.mkdir(parents=True)
    lines = [json.dumps(asdict(template)) for template in _chosen("train", train) + _chosen("validation", validation)]
    (source / "some.jsonl").write_text("\n".join(lines))
    (source / "assembled.json").write_text(json.dumps({"templates": ["some.jsonl"], "colorings": 1, "size": 128}))
    recipe = replace(CORPUS_RECIPES["demo"], validation_share=HELD_OUT)
    bench = Bench(str(folder / "corpus"), f"sqlite:///{folder / 'mlflow.db'}", folder)
    build_corpus([str(source)], bench.corpus, recipe, log_file=folder / "build.log", tracking_uri=bench.store)
    return bench


def _chosen(split: str, count: int) -> list[Template]:
    """The first templates whose pictures fall into that split."""
    templates = shipped_templates().values()
    return [t for t in templates if assign_split(f"{t.style}-{t.id}", HELD_OUT) == split][:count]


def quick_recipe(stage: str = "v1.noisy", **changes: Any) -> StageRecipe:
    """The tiny recipe of a stage, at 64 pixels and 64 images, with some settings changed."""
    return stage_recipe(stage, "tiny").changed(**(QUICK | changes))


def losses(out: Path | str) -> list[float]:
    """The loss of each step of a finished stage."""
    return [record["loss"] for record in read_history(str(out)) if "loss" in record]


def images_compared(out: Path | str, undisturbed: Path | str) -> dict[str, int]:
    """Images whose step a disturbed run lacks or counts twice, beside a run that nothing disturbed (`Survived`)."""
    ran, whole = (
        Counter(record["images_seen"] for record in read_history(str(run)) if "loss" in record)
        for run in (out, undisturbed)
    )
    return {"lost": BATCH * (whole - ran).total(), "doubled": BATCH * (ran - whole).total()}


def training_workers(parent_pid: int) -> list[psutil.Process]:
    """The Ray Train workers among the descendants of a process: never those of another run on this machine."""
    family = psutil.Process(parent_pid).children(recursive=True)
    return [process for process in alive(family) if "RayTrainWorker" in _command(process)]


def write_listening(folder: Path) -> None:
    """Once for a folder: which processes of this one's family listen, and at which address, in the file LISTENING."""
    if (folder / LISTENING).exists():
        return
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    found = [
        (process.name() + " " + _command(process), connection.laddr.ip)
        for process in alive(family)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    (folder / LISTENING).write_text(json.dumps(found))


def wait_for(condition: Callable[[], Any], timeout_s: float = 240) -> None:
    """Wait until `condition()` holds; fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "what the drill waits for did not happen"
        time.sleep(0.02)


def processes_named(parent_pid: int, name: str) -> list[psutil.Process]:
    """The descendants of a process with that name, while others of them come and go."""
    found = []
    for process in psutil.Process(parent_pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() == name:
                found.append(process)
    return found


def found_at(
    find: Callable[[], list[psutil.Process]], when: Callable[[], Any], number: int = 1
) -> list[psutil.Process]:
    """Wait until `when()` holds, and give the processes that `find()` found just before it: at least `number` of them.

    They can be struck at once. A search takes tenths of a second on a busy machine, and a tiny run may end in them: it
    is made again only where one of them has ended, and the condition is looked at between.
    """
    found: list[psutil.Process] = []

    def reached() -> bool:
        nonlocal found
        if len(alive(found)) < number:
            found = find()
        return len(found) >= number and bool(when())

    wait_for(reached)
    return found


def checkpointed(out: Path) -> bool:
    """Whether a state of this run is kept."""
    return bool(StateStore(str(out)).kept())


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that run; a zombie has ended and waits to be noticed."""
    return [process for process in processes if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # between the two
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
