"""Exports a snapshot over its shards: in this process, or on Ray where `workers` or a cluster are asked for."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dataprep.corpus.snapshot import open_snapshot
from dataprep.corpus_tools.export import export_shard, finish_export, start_export
from dataprep.corpus_tools.export_settings import ExportSettings
from dataprep.storage import store as storage
from pipelines.common.addresses import absolute
from pipelines.common.progress import Clock, ProgressSink, silent
from pipelines.execution.ray_data import Engine, in_process, over_ray

_COUNTED = ("left_out", "without", "failed")


@dataclass(frozen=True)
class ExportReport:
    """What an export holds. The counts by column: rows that the layout left out for want of it, rows that have no
    value there, rows whose value could not be computed."""

    out: str
    layout: str
    snapshot: int
    digest: str
    shards: int
    reused: int  # shards that an earlier call had done
    rows: int
    files: int
    bytes: int
    left_out: Mapping[str, int]
    without: Mapping[str, int]
    failed: Mapping[str, int]

    def document(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def summary(self) -> str:
        """A few lines for a person."""
        head = f"{self.out}: {self.layout} of snapshot {self.snapshot}, {self.rows:,} rows in {self.files:,} files"
        lines = [f"{head}, {self.bytes / 1e6:,.1f} MB"]
        if self.reused:
            lines.append(f"  {self.reused:,} of {self.shards:,} shards were done already")
        counts = {"left out, since they have no": self.left_out, "without": self.without, "failed in": self.failed}
        lines += [
            f"  rows {what} {', '.join(f'{column} {count:,}' for column, count in sorted(counts.items()))}"
            for what, counts in counts.items()
            if counts
        ]
        return "\n".join(lines)


def export_corpus(
    uri: str,
    number: int | None,
    out: str,
    settings: ExportSettings,
    *,
    progress: ProgressSink = silent,
    log_file: Path | str = "irodori-engine.log",
    workers: int | None = None,
    address: str | None = None,
) -> ExportReport:
    """Export snapshot `number` (the newest by default) of the corpus at `uri`; the same call again goes on.

    Raises DataError where the snapshot lacks what is asked for, a file is damaged, or `out` holds something else.
    """
    if workers is None and address is None:
        return run_export(uri, number, out, settings, progress, in_process)
    from pipelines.execution.ray_session import ray_session

    with ray_session(log_file, num_cpus=workers, address=address) as session:
        return session.run(lambda: run_export(uri, number, out, settings, progress, over_ray))


def run_export(
    uri: str,
    number: int | None,
    out: str,
    settings: ExportSettings,
    progress: ProgressSink = silent,
    engine: Engine = over_ray,
) -> ExportReport:
    """The export itself, on the Ray that runs or on another engine."""
    uri, out = absolute(uri), absolute(out)  # workers have folders of their own
    storage.check_reachable(out)
    snapshot = open_snapshot(uri, number)
    tasks = start_export(snapshot, out, settings)
    sums: Counter[str] = Counter()
    by_column = {name: Counter[str]() for name in _COUNTED}
    clock = Clock(f"export {settings.layout}", sum(task["rows"] for task in tasks), "rows", "", progress)
    for counts in engine(export_shard, tasks):
        sums.update({name: int(counts[name]) for name in ("rows", "files", "bytes", "reused")})
        for name in _COUNTED:
            by_column[name].update(counts[name])
        clock.tell(sums["rows"] + by_column["left_out"].total())
    finish_export(out, tasks, settings)
    return ExportReport(
        out=out,
        layout=settings.layout,
        snapshot=snapshot.number,
        digest=snapshot.digest,
        shards=len(tasks),
        reused=sums["reused"],
        rows=sums["rows"],
        files=sums["files"],
        bytes=sums["bytes"],
        left_out=dict(by_column["left_out"]),
        without=dict(by_column["without"]),
        failed=dict(by_column["failed"]),
    )
