"""The command `irodori train`: one stage of training; the same call again resumes it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.addresses import place
from jobs.options import Address, Device, DryRun, Set, Tracking
from jobs.output import engine_console, log_folder, print_json
from jobs.recipe_files import recipe_option, write_recipe_option
from pipelines.common.overrides import SettingsError, parse_assignments

if TYPE_CHECKING:
    from pipelines.recipes.stage_recipe import StageRecipe
    from pipelines.training.stage import TrainReport

KEPT = "checkpoints and history are kept"  # by a call that is stopped


# Of a run's recipe.json and of what --dry-run prints: what the stage decides, and what the inputs were.
DECIDED = ("family", "parent_stage", "corpus_digest", "parent_weights", "frozen_weights", "rows", "dealt_out")


def command(
    stage: Annotated[str, typer.Argument(help="The stage, such as v1.noisy or v1.refine.")],
    corpus: Annotated[str | None, typer.Option(parser=place, help="The corpus to train on.")] = None,
    out: Annotated[
        str | None,
        typer.Option(parser=place, help="Where checkpoints, samples and history go. The same again resumes."),
    ] = None,
    model_size: Annotated[str, typer.Option(help="tiny or small, for two CPU cores, or base (published).")] = "tiny",
    from_: Annotated[
        str | None, typer.Option("--from", parser=place, help="The checkpoint to continue or start from.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Training workers (one for each GPU, or CPU processes).")] = 1,
    loader: Annotated[
        str, typer.Option(help="What makes the samples: threads (beside the trainer) or ray (as tasks).")
    ] = "threads",
    device: Device = "auto",
    address: Address = None,
    tracking_uri: Tracking = None,
    dry_run: DryRun = False,
    show_samples: Annotated[
        int,
        typer.Option(min=0, max=200, help="Train nothing: write a sheet of so many samples as it sees them."),
    ] = 0,
    set_: Set = [],  # noqa: B006 (typer reads the default, nothing changes it)
    recipe: Annotated[str, recipe_option(DECIDED)] = "",
    write_recipe: Annotated[str | None, write_recipe_option()] = None,
) -> None:
    """Train one stage; run the same command again to resume. --dry-run without a corpus shows the recipe.

    --show-samples N writes N samples, as the stage sees them, to OUT.samples.png.
    """
    from dataprep.storage.store import is_s3
    from pipelines.common.addresses import absolute, check_buckets
    from pipelines.execution.capacity import checked_device
    from pipelines.training.batch_shares import checked_loader
    from pipelines.training.state.lock import check_free

    # What is wrong with the call alone.
    resolved = _recipe(stage, model_size, set_, parent=from_, workers=workers, complete=corpus is not None)
    loading, wanted = checked_loader(loader), checked_device(device)
    if corpus is None and dry_run:
        print_json(resolved.flat())
        return
    if corpus is None or out is None:
        raise SettingsError(f"--{'out' if corpus else 'corpus'} is missing")
    check_buckets(corpus, out, from_)
    if show_samples and is_s3(out):
        raise SettingsError("--show-samples writes beside --out, which must be on a disk")
    if not dry_run and not show_samples:
        check_free(absolute(out))
    from pipelines.training.stage import check_this_machine, plan_stage, train_stage

    if not dry_run and not show_samples and address is None:
        check_this_machine(resolved, workers, wanted)

    # What is wrong with corpus, parent or output.
    plan = plan_stage(resolved, corpus, out, from_, workers, loading, wanted)
    if dry_run:
        print_json({"rows": plan.rows, "dealt_out": vars(plan.shares)} | plan.document())
        return
    if show_samples:
        from pipelines.training.watching.sample_sheet import write_sample_sheet

        sheet = Path(f"{out.rstrip('/')}.samples.png")
        write_sample_sheet(plan, show_samples, sheet)
        print(f"{stage}: {show_samples} samples as it sees them: {sheet}")
        return
    with engine_console(log_folder(out), "train") as (console, log_file):
        report = train_stage(
            plan, log_file=log_file, progress=console.progress, tracking_uri=tracking_uri, address=address
        )
        console.result(_outcome(stage, report))


def _recipe(
    stage: str, model_size: str, changes: list[str], *, parent: str | None, workers: int, complete: bool
) -> "StageRecipe":
    """The resolved recipe of a call that can work; `complete`: with the parent that the stage needs."""
    from pipelines.recipes.stage_recipe import check_parent_given, configured
    from pipelines.recipes.stages import stage_recipe
    from pipelines.training.batch_shares import BatchShares

    recipe = configured(stage_recipe(stage, model_size), parse_assignments(changes))
    if complete:
        check_parent_given(recipe, parent)
    BatchShares.of(recipe.length, workers)
    return recipe


def _outcome(stage: str, report: "TrainReport") -> str:
    """One line of what the training did, and where its checkpoint is."""
    how = "was complete already" if report.already_complete else "done"
    if report.resumed_from and not report.already_complete:
        how += f" (resumed from {report.resumed_from:,} images)"
    if report.damaged:
        how += "".join(f", after a damaged state: {uri} ({problem})" for uri, problem in report.damaged.items())
    if report.replaced:
        how += f", {report.replaced:,} samples whose row could not be used were replaced (see history.jsonl)"
    return f"{stage}: {how}, {report.images_seen:,} images, loss {report.loss:.4f}: {report.checkpoint}"
