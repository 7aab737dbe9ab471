"""The command `irodori demo`: the whole main job on the shipped pictures."""

from typing import Annotated

import typer

from jobs.addresses import local_place
from jobs.output import engine_console, log_folder

KEPT = "finished steps are kept"  # by a call that is stopped


def command(
    out: Annotated[str, typer.Option(parser=local_place, help="Where everything goes; a local directory.")] = "demo",
) -> None:
    """The whole main job on the shipped pictures: corpus, training, evaluation, report."""
    from pipelines.demo.demo import run_demo

    with engine_console(log_folder(out), "demo") as (console, log_file):
        console.message(f"The demo writes to {out}; engine logs go to {log_file}")
        console.result(run_demo(out, log_file=log_file, progress=console.progress, say=console.message))
