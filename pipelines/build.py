"""Builds a corpus on Ray Data: list, scan, plan, columns, commit.

Every phase writes its work whole and under a name that says what it is, so a build that was killed goes on where it
stopped, and a build of unchanged input makes no new snapshot. The snapshot is the last write. A picture that is removed
from the sources leaves the next snapshot (its files stay for the earlier ones).
"""

import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dataprep import storage
from dataprep.columns import ColumnFile
from dataprep.errors import DataError
from dataprep.operators import CORPUS_RECIPES, CorpusRecipe
from dataprep.plan import Plan
from dataprep.snapshot import Contents, Snapshot, commit, newest_snapshot
from pipelines import build_phases as phases
from pipelines import lineage
from pipelines.addresses import absolute
from pipelines.build_tasks import FAULTS, Engine, over_ray
from pipelines.progress import ProgressSink, silent

__all__ = ["CORPUS_RECIPES", "BuildReport", "CorpusRecipe", "build_corpus", "run_build"]


@dataclass(frozen=True)
class BuildReport:
    """What a build found, did and left alone."""

    out: str
    snapshot: int
    is_new: bool
    digest: str
    rows: Mapping[str, int]  # split -> count
    rejects: Mapping[str, int]  # reason -> count
    failures: Mapping[str, int]  # column -> rows whose value could not be computed
    pictures: int
    pictures_read: int
    shard_columns: int
    computed: Mapping[str, int]  # column -> shards in which it was computed
    seconds: Mapping[str, float] = field(default_factory=dict)  # phase -> time

    @property
    def shard_columns_reused(self) -> int:
        return self.shard_columns - sum(self.computed.values())

    def summary(self) -> str:
        """The report in a few lines for a person."""
        rows, rejects = sum(self.rows.values()), sum(self.rejects.values())
        head = f"{self.out}: snapshot {self.snapshot}" if self.is_new else f"{self.out}: nothing new, no new snapshot"
        held = "" if self.is_new else f" (still snapshot {self.snapshot})"
        lines = [
            f"{head}{held}, {rows:,} rows{_listed(self.rows)}, {rejects:,} rejects{_listed(self.rejects)}",
            f"  read {self.pictures_read:,} new of {self.pictures:,} pictures; "
            f"reused {self.shard_columns_reused:,} of {self.shard_columns:,} shard columns",
            f"  digest {self.digest}",
        ]
        if self.failures:
            lines.append(f"  without a value because the operator failed{_listed(self.failures)}; see column 'error'")
        return "\n".join(lines)


@dataclass(frozen=True)
class DryRun:
    """What a build would do."""

    out: str
    recipe: CorpusRecipe
    pictures: int
    unread: int
    missing: Mapping[str, int] | None  # column -> shards to compute; None while unread pictures leave it open

    def summary(self) -> str:
        """The resolved recipe and the work, in a few lines for a person."""
        lines = [json.dumps(asdict(self.recipe), indent=2), f"{self.out}: nothing was written."]
        lines.append(f"  would read {self.unread:,} of {self.pictures:,} pictures")
        if self.missing is None:
            lines.append("  would compute columns as the new pictures need them (known once they are read)")
        else:
            todo = [f"{column} in {count:,} shards" for column, count in sorted(self.missing.items())]
            lines.append(f"  would compute {', '.join(todo) or 'no column: everything is there'}")
        return "\n".join(lines)


def build_corpus(
    sources: Sequence[str],
    out: str,
    recipe: CorpusRecipe,
    *,
    limit: int | None = None,
    dry_run: bool = False,
    progress: ProgressSink = silent,
    log_file: Path | str = "irodori-engine.log",
    workers: int | None = None,
    address: str | None = None,
    tracking_uri: str | None = None,
) -> BuildReport | DryRun:
    """Build or extend the corpus at `out` and trace it; `limit` takes the first pictures of the sources in order.

    Uses Ray as it runs, else starts it with `workers` CPUs or joins `address`. Raises DataError where a source or the
    store is out of reach, or another build committed something else meanwhile.
    """
    if dry_run:
        return plan_build(sources, out, recipe, limit, progress)
    from pipelines.ray_session import ray_session

    out, sources = absolute(out), [absolute(source) for source in sources]
    storage.check_reachable(out)
    for source in sources:
        _check_there(source)
    with (
        ray_session(log_file, num_cpus=workers, address=address),
        lineage.run("corpus", "corpus build", out, tracking_uri, _flat(asdict(recipe))) as run,
    ):
        report = run_build(sources, out, recipe, limit, progress)
        run.log_metrics({"rows": sum(report.rows.values()), "rejects": sum(report.rejects.values())})
        if report.is_new or not storage.exists(storage.join(out, lineage.LINEAGE)):
            node = lineage.Node(out, "corpus", f"snapshot {report.snapshot} ({report.digest[:12]})")
            run.finish(node, [], list(sources))
    return report


def plan_build(
    sources: Sequence[str], out: str, recipe: CorpusRecipe, limit: int | None, progress: ProgressSink = silent
) -> DryRun:
    """What `run_build` would do; reads listings and earlier results only, and starts no engine."""
    out, sources = absolute(out), [absolute(source) for source in sources]
    storage.check_reachable(out)
    items = phases.list_sources(sources, limit, progress)
    known = phases.known_records(out, recipe)
    unread = len(phases.unknown_items(items, known))
    missing = None
    if not unread:
        earlier = newest_snapshot(out)
        plan = phases.plan_rows(phases.in_order(items, known), recipe, earlier)
        missing = phases.plan_columns(plan, out, recipe, earlier).missing()
    return DryRun(out, recipe, len(items), unread, missing)


def run_build(
    sources: Sequence[str],
    out: str,
    recipe: CorpusRecipe,
    limit: int | None = None,
    progress: ProgressSink = silent,
    engine: Engine = over_ray,
) -> BuildReport:
    """The build itself, on the Ray that runs or on another engine."""
    out, sources = absolute(out), [absolute(source) for source in sources]  # workers have folders of their own
    clock = _Stopwatch()
    storage.check_reachable(out)
    earlier = newest_snapshot(out)
    items = phases.list_sources(sources, limit, progress)
    clock.lap("list")
    scan = phases.scan_items(items, out, recipe, progress, engine)
    clock.lap("scan")
    plan = phases.plan_rows(scan.records, recipe, earlier)
    columns = phases.plan_columns(plan, out, recipe, earlier)
    clock.lap("plan")
    files, computed = list(columns.described), Counter[str]()
    for file, is_new in phases.fill_columns(columns, plan.rows, out, recipe, progress, engine):
        files.append(file)
        computed[file.column] += is_new
    clock.lap("columns")
    snapshot, is_new = commit(out, _contents(files, plan, sources, recipe), earlier)
    storage.delete_files([entry.uri for entry in storage.list_files(storage.join(out, FAULTS))])
    clock.lap("commit")
    return BuildReport(
        out=out,
        snapshot=snapshot.number,
        is_new=is_new,
        digest=snapshot.digest,
        **_counted(snapshot),
        pictures=len(items),
        pictures_read=scan.new,
        shard_columns=len(files),
        computed={column: count for column, count in computed.items() if count},
        seconds=clock.seconds,
    )


def _check_there(source: str) -> None:
    """Before an engine starts: a source that is not there can be told at once."""
    if storage.is_s3(source):
        storage.check_reachable(source)
    elif not os.path.exists(source):
        raise DataError(f"{source}: there is no such file or directory.")


def _contents(files: Sequence[ColumnFile], plan: Plan, sources: Sequence[str], recipe: CorpusRecipe) -> Contents:
    described = {operator.column: operator.describe() for operator in phases.all_operators(recipe)}
    return Contents(files, plan.index(), plan.rejects, described, sources, asdict(recipe))


def _counted(snapshot: Snapshot) -> dict[str, Any]:
    return {name: snapshot.document[name] for name in ("rows", "rejects", "failures")}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _listed(counts: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{name} {count:,}' for name, count in counts.items())})" if counts else ""


class _Stopwatch:
    """Seconds of each phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, phase: str) -> None:
        now = time.monotonic()
        self.seconds[phase], self._last = round(now - self._last, 3), now
