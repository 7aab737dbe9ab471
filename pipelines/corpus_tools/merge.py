"""Merges corpora over their shards: in this process, or on Ray where `workers` or a cluster are asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dataprep.corpus.column_files import ColumnFile
from dataprep.corpus.snapshot import Snapshot, commit, newest_snapshot, open_snapshot
from dataprep.corpus_tools.merge import agreed, merge_shard, merged_parts, plan_merge
from dataprep.errors import DataError
from dataprep.storage import store as storage
from pipelines import lineage
from pipelines.common.addresses import absolute
from pipelines.common.progress import Clock, ProgressSink, silent
from pipelines.execution.ray_data import Engine, in_process, over_ray

Part = tuple[str, int | None]  # address, snapshot (None for the newest)


@dataclass(frozen=True)
class MergeReport:
    """What a merge took from where."""

    out: str
    snapshot: int
    is_new: bool
    digest: str
    rows: Mapping[str, int]  # split -> count
    rejects: Mapping[str, int]  # reason -> count
    duplicates: Mapping[str, int]  # reason -> rows that another part has too
    taken: int  # shards that stayed as they are
    filtered: int  # shards that lost rows
    left_behind: int  # shards that lost all their rows
    bytes_written: int

    def document(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def summary(self) -> str:
        """A few lines for a person."""
        head = f"{self.out}: snapshot {self.snapshot}" if self.is_new else f"{self.out}: was merged already"
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.duplicates.items())
        return "\n".join(
            [
                f"{head}, {sum(self.rows.values()):,} rows, {sum(self.rejects.values()):,} rejects",
                f"  rows that are rejects now, since another part has them: {reasons or 'none'}",
                f"  {self.taken:,} shards as they are, {self.filtered:,} filtered, {self.left_behind:,} left behind; "
                f"{self.bytes_written / 1e6:,.1f} MB written",
                f"  digest {self.digest}",
            ]
        )


def merge_corpora(
    parts: Sequence[Part],
    out: str,
    *,
    shared: bool = False,
    progress: ProgressSink = silent,
    log_file: Path | str = "irodori-engine.log",
    workers: int | None = None,
    address: str | None = None,
    tracking_uri: str | None = None,
) -> MergeReport:
    """Merge and trace; the same call again goes on where it stopped. `shared`: only the columns that all agree on.

    Raises DataError where the parts do not fit together, one is damaged, or `out` holds another corpus.
    """
    out = absolute(out)
    opened = open_parts(parts, out, shared)
    params = {"parts": len(opened), "shared": shared}
    with lineage.run("corpus", "corpus merge", out, tracking_uri, params) as run:
        if workers is None and address is None:
            report = run_merge(opened, out, shared, progress, in_process)
        else:
            from pipelines.execution.ray_session import ray_session

            with ray_session(log_file, num_cpus=workers, address=address) as session:
                report = session.run(lambda: run_merge(opened, out, shared, progress, over_ray))
        run.log_metrics({"rows": sum(report.rows.values()), "rejects": sum(report.rejects.values())})
        if report.is_new or not storage.exists(storage.join(out, lineage.LINEAGE)):
            node = lineage.Node(out, "corpus", f"snapshot {report.snapshot} ({report.digest[:12]})")
            run.finish(node, [lineage.Input("corpus", part.uri, part.number, part.digest) for part in opened])
    return report


def open_parts(parts: Sequence[Part], out: str, shared: bool = False) -> list[Snapshot]:
    """The snapshots to merge, before any work: DataError where one is missing, they do not fit together or `out` holds
    another corpus; ValueError for fewer than two.
    """
    if len(parts) < 2:
        raise ValueError("a merge needs at least two corpora")
    opened = [open_snapshot(absolute(uri), number) for uri, number in parts]
    storage.check_reachable(out)
    _earlier(opened, out)
    agreed(opened, shared)
    return opened


def _earlier(parts: Sequence[Snapshot], out: str) -> Snapshot | None:
    """The merge of the same parts that `out` holds, perhaps of older snapshots of them. DataError for anything else."""
    there = newest_snapshot(out)
    uris = [part["uri"] for part in merged_parts(parts)]
    known = [part["uri"] for part in there.document.get("listed", {}).get("merged", [])] if there is not None else uris
    if out in uris or known != uris:
        raise DataError(
            f"{out}: there is a corpus here already, no merge of these parts. "
            "A merge makes a new one: choose an empty place."
        )
    return there


def run_merge(
    parts: Sequence[Snapshot],
    out: str,
    shared: bool = False,
    progress: ProgressSink = silent,
    engine: Engine = over_ray,
) -> MergeReport:
    """The merge itself, on the Ray that runs or on another engine."""
    earlier = _earlier(parts, out)  # what is committed there from now on is not overwritten
    plan = plan_merge(parts, out, shared)
    clock = Clock("merge", len(plan.index), "rows", "", progress)
    files: list[ColumnFile] = []
    rows = written = 0
    for result in engine(merge_shard, plan.tasks):
        files += [ColumnFile(**fields) for fields in result["files"]]
        rows, written = rows + result["rows"], written + result["bytes"]
        clock.tell(rows)
    snapshot, is_new = commit(out, plan.contents(files), earlier)
    return MergeReport(
        out=out,
        snapshot=snapshot.number,
        is_new=is_new,
        digest=snapshot.digest,
        rows=snapshot.document["rows"],
        rejects=snapshot.document["rejects"],
        duplicates=plan.duplicates,
        taken=plan.taken,
        filtered=plan.filtered,
        left_behind=plan.left_behind,
        bytes_written=written,
    )
