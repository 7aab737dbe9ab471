"""Builds a corpus on Ray Data: list, scan, plan, columns, commit.

Every phase writes its work whole and under a name that says what it is, so a build that was killed goes on where it
stopped, and a build of unchanged input makes no new snapshot. The snapshot is the last write. A picture that is removed
from the sources leaves the next snapshot (its files stay for the earlier ones).
"""

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.column_files import ColumnFile
from dataprep.corpus.snapshot import Contents, Snapshot, commit, newest_snapshot
from dataprep.corpus_tools.ink import ColumnLook, look
from dataprep.errors import DataError
from dataprep.plan.row_plan import Plan, make_plan
from dataprep.storage import store as storage
from pipelines import lineage
from pipelines.common.addresses import absolute
from pipelines.common.overrides import flatten
from pipelines.common.progress import ProgressSink, silent
from pipelines.corpus_build.columns_phase import OpenShard, column_steps, fill_columns, plan_columns
from pipelines.corpus_build.dry_run import DryRun, column_work, leaving_rows
from pipelines.corpus_build.job import BuildJob
from pipelines.corpus_build.listing import list_sources
from pipelines.corpus_build.report import BuildReport, underfilled
from pipelines.corpus_build.scan_phase import Known, counted, note_counts, records_of, scan_items
from pipelines.corpus_build.tasks import EVERY_REASON
from pipelines.execution.ray_data import Engine, check_devices, over_ray
from pipelines.extraction.learned_operators import corpus_operators, with_weights
from pipelines.recipes.build_recipe import BuildRecipe

__all__ = ["BuildReport", "DryRun", "build_corpus", "plan_build", "run_build"]


def build_corpus(
    sources: Sequence[str],
    out: str,
    recipe: BuildRecipe,
    *,
    limit: int | None = None,
    retry: Sequence[str] = (),
    dry_run: bool = False,
    progress: ProgressSink = silent,
    log_file: Path | str = "irodori-engine.log",
    workers: int | None = None,
    address: str | None = None,
    tracking_uri: str | None = None,
) -> BuildReport | DryRun:
    """Build or extend the corpus at `out` and trace it; `limit` takes the first pictures of the sources in order.

    What failed before is taken as it is, but for the reasons in `retry` ("all": for any). Uses Ray as it runs, else
    starts it with `workers` CPUs or joins `address`. Raises DataError where a source or the store is out of reach, or
    another build committed something else meanwhile.
    """
    if dry_run:
        return plan_build(sources, out, recipe, limit=limit, progress=progress, retry=retry)
    from pipelines.execution.ray_session import ray_session

    # Everything out of reach is found before anything starts.
    out, sources = absolute(out), [absolute(source) for source in sources]
    storage.check_reachable(out)
    for source in sources:
        _check_there(source)
    # The build itself, traced.
    with (
        ray_session(log_file, num_cpus=workers, address=address) as session,
        lineage.run("corpus", "corpus build", out, tracking_uri, flatten(asdict(recipe))) as run,
    ):
        report = session.run(lambda: run_build(sources, out, recipe, limit=limit, progress=progress, retry=retry))
        run.log_metrics({"rows": sum(report.rows.values()), "rejects": sum(report.rejects.values())})
        if report.is_new or not storage.exists(storage.join(out, lineage.LINEAGE)):
            node = lineage.Node(out, "corpus", f"snapshot {report.snapshot} ({report.digest[:12]})")
            run.finish(node, [], list(sources))
    return report


def plan_build(
    sources: Sequence[str],
    out: str,
    recipe: BuildRecipe,
    *,
    limit: int | None = None,
    progress: ProgressSink = silent,
    retry: Sequence[str] = (),
) -> DryRun:
    """What `run_build` would do; reads listings and earlier results only, and starts no engine."""
    out, sources = absolute(out), [absolute(source) for source in sources]
    storage.check_reachable(out)
    recipe = with_weights(recipe)
    job = BuildJob(out=out, recipe=recipe, columns=corpus_operators(recipe), retry=tuple(retry), progress=progress)
    earlier = newest_snapshot(out)
    with list_sources(sources, recipe, limit, progress) as listing:
        known = Known.at(out, recipe)
        to_read = counted(known.why_read(listing.keys, job.retry))
        records = records_of(listing, (), known, recipe.filters)
    counts: dict[str, Any] = {**listing.counted(), "to_read": to_read, "sources": listing.notes.reported()}
    if not pc.any(pc.is_null(records["reason"])).as_py():
        return DryRun(out, recipe, **counts, rows=0, leaving=0, columns={})
    plan = _plan_rows(records, recipe, earlier)
    column_plan = plan_columns(plan, job, earlier)
    work = column_work(plan, column_plan, job.operators, earlier)
    return DryRun(
        out, recipe, **counts, rows=len(plan.rows), leaving=leaving_rows(plan.rows["id"], earlier), columns=work
    )


def run_build(
    sources: Sequence[str],
    out: str,
    recipe: BuildRecipe,
    *,
    limit: int | None = None,
    progress: ProgressSink = silent,
    engine: Engine = over_ray,
    retry: Sequence[str] = (),
) -> BuildReport:
    """The build itself, on the Ray that runs or on another engine."""
    clock = _Stopwatch()
    # What is asked for, with whole addresses: workers have folders of their own.
    out, sources = absolute(out), [absolute(source) for source in sources]
    storage.check_reachable(out)
    recipe = with_weights(recipe)
    columns = corpus_operators(recipe)  # before work starts: one that cannot be had is an error at once
    job = BuildJob(out=out, recipe=recipe, columns=columns, retry=tuple(retry), progress=progress, engine=engine)
    if engine is over_ray:
        check_devices(column_steps(recipe, columns))
    earlier = newest_snapshot(out)
    with job.working_folder(), list_sources(sources, recipe, limit, progress) as listing:
        clock.lap("list")
        # Scan: what no earlier build has read.
        records, read = scan_items(listing, Known.at(out, recipe), job)
        clock.lap("scan")
        notes = note_counts(records)
        # Plan: which pictures are rows of which shard, and which files are there already.
        plan = _plan_rows(records, recipe, earlier)
        del records  # the plan has what it needs of them, and six million are 2 GB
        column_plan = plan_columns(plan, job, earlier)
        clock.lap("plan")
        # Columns: the files that are missing.
        files, computed, cells = list(column_plan.described), Counter[str](), Counter[str]()
        for filled in fill_columns(column_plan, plan, listing, job):
            files.append(filled.file)
            computed[filled.file.column] += filled.computed > 0
            cells[filled.file.column] += filled.computed
    clock.lap("columns")
    # Commit: the only write that makes the others count.
    listed = {**listing.counted(), "notes": notes}
    snapshot, is_new = commit(out, _contents(files, plan, sources, job, listed), earlier)
    clock.lap("commit")
    looks = _looks(snapshot)
    clock.lap("look")
    retried_cells = _retried(column_plan.work)
    return BuildReport(
        out=out,
        snapshot=snapshot.number,
        is_new=is_new,
        digest=snapshot.digest,
        **{name: snapshot.document[name] for name in ("rows", "rejects", "failures", "failure_reasons")},
        **listed,
        sources=listing.notes.reported(),
        pictures_read=sum(read.values()),
        read_because=read,
        retried_cells=retried_cells,
        nothing_to_retry=_not_found(retry, [read, *retried_cells.values()]),
        shard_columns=len(files),
        computed={column: count for column, count in computed.items() if count},
        cells={column: count for column, count in cells.items() if count},
        batch_rows=recipe.batch_rows,
        underfilled=underfilled(plan, recipe.batch_rows),
        seconds=clock.seconds,
        looks=looks,
    )


def _looks(snapshot: Snapshot) -> Sequence[ColumnLook]:
    """What some cells show; nothing where the store fails now: the snapshot stands."""
    try:
        return look(snapshot)
    except DataError:
        return ()


def _check_there(source: str) -> None:
    """Before an engine starts: a source that is not there is reported at once."""
    if storage.is_s3(source):
        storage.check_reachable(source)
    elif not os.path.exists(source):
        raise DataError(f"{source}: there is no such file or directory.")


def _plan_rows(records: pa.Table, recipe: BuildRecipe, earlier: Snapshot | None) -> Plan:
    """Which pictures become rows of which shard. Raises DataError where not one is left."""
    plan = make_plan(records, recipe, earlier.table("index") if earlier else None)
    if not len(plan.rows):
        reasons = ", ".join(sorted(pc.unique(plan.rejects["reason"]).to_pylist())) or "no pictures"
        first = ""
        if len(plan.rejects):
            reject = plan.rejects.slice(0, 1).to_pylist()[0]
            first = f" The first: {reject['source']}: {reject['message'] or reject['reason']}."
        many = f"{len(records):,} pictures" if len(records) != 1 else "1 picture"
        raise DataError(f"not one of {many} can be used ({reasons}).{first} Nothing was written.")
    return plan


def _contents(
    files: Sequence[ColumnFile], plan: Plan, sources: Sequence[str], job: BuildJob, listed: Mapping[str, Any]
) -> Contents:
    described = {operator.column: operator.describe() for operator in job.operators}
    return Contents(
        files=files,
        index=plan.index(),
        rejects=plan.rejects,
        operators=described,
        sources=sources,
        recipe=asdict(job.recipe),
        listed=listed,
    )


def _retried(work: Iterable[OpenShard]) -> dict[str, dict[str, int]]:
    """Column -> reason -> cells that were tried again."""
    counts: dict[str, Counter[str]] = {}
    for needs in work:
        for column, reasons in needs.retried.items():
            counts.setdefault(column, Counter()).update(reasons)
    return {column: dict(reasons) for column, reasons in sorted(counts.items())}


def _not_found(retry: Iterable[str], tried: Iterable[Mapping[str, int]]) -> tuple[str, ...]:
    """The reasons that were asked for and that nothing was tried again for."""
    found = {reason for counts in tried for reason in counts} - {"new"}
    return tuple(reason for reason in retry if not (found if reason == EVERY_REASON else reason in found))


class _Stopwatch:
    """Seconds of each phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, phase: str) -> None:
        now = time.monotonic()
        self.seconds[phase], self._last = round(now - self._last, 3), now
