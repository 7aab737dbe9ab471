"""What a build would do, column by column, and why; it reads listings and earlier results and writes nothing.

The operators of the newest snapshot are compared with those of the recipe by what both say of themselves. What pictures
that nobody has read yet will ask for is not known: they count as an upper bound of their own.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.snapshot import Snapshot
from dataprep.operators.operator import Operator
from dataprep.plan.row_plan import Plan
from dataprep.sources.notes import SourceFacts
from pipelines.corpus_build.columns_phase import ColumnPlan, OpenShard
from pipelines.corpus_build.report import Counts, left_lines, listed, source_lines
from pipelines.corpus_build.tasks import ROW
from pipelines.recipes.build_recipe import BuildRecipe

Facts = Mapping[str, Any]  # of one operator, as Operator.describe gives them
_ABSENT = "none"


@dataclass(frozen=True)
class ColumnWork:
    """What a build would do for one column, in rows; `why`: reason -> rows to compute."""

    compute: int = 0
    carry_over: int = 0
    take_over: int = 0  # files that a build left which did not end
    why: Mapping[str, int] | None = None


@dataclass(frozen=True)
class DryRun:
    """What a build would do. `columns` counts the pictures that are read already; others are at most `to_read` more."""

    out: str
    recipe: BuildRecipe
    pictures: int
    not_selected: Counts
    not_taken: Counts
    litter: int
    to_read: Counts  # "new", or the reason for which the picture would be tried again
    rows: int
    leaving: int  # rows of the newest snapshot that the next one would not have
    columns: Mapping[str, ColumnWork]
    sources: SourceFacts = field(default_factory=SourceFacts)

    @property
    def unread(self) -> int:
        return sum(self.to_read.values())

    def document(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        return asdict(self) | {"recipe": self.recipe.document(), "unread": self.unread}

    def summary(self) -> str:
        """The work in a few lines for a person, and behind it the resolved recipe."""
        lines = [f"{self.out}: nothing was written."]
        lines.append(f"  would read {self.unread:,} of {self.pictures:,} pictures{listed(self.to_read)}")
        lines += source_lines(self.sources)
        if self.not_selected:
            lines.append(f"  not selected: {sum(self.not_selected.values()):,} pictures{listed(self.not_selected)}")
        lines += left_lines(self.not_taken, self.litter)
        if self.leaving:
            lines.append(f"  rows that would leave: {self.leaving:,}")
        lines += self._table()
        if self.unread:
            lines.append(f"  and at most {self.unread:,} rows more in every column, for pictures not read yet")
        elif not any(work.compute for work in self.columns.values()):
            lines.append("  would compute no column: everything is there")
        return "\n".join([*lines, "the recipe:", json.dumps(self.recipe.document(), indent=2)])

    def _table(self) -> Iterator[str]:
        width = max(map(len, self.columns), default=0)
        if self.rows:
            yield f"  {'column':<{width}}  {'compute':>11}  {'carry over':>11}  why"
            for column, work in self.columns.items():
                why = "; ".join(f"{reason} ({rows:,})" for reason, rows in (work.why or {}).items())
                left = f"; left by an unfinished build {work.take_over:,}" if work.take_over else ""
                carried = work.carry_over + work.take_over
                yield f"  {column:<{width}}  {work.compute:>11,}  {carried:>11,}  {why + left}".rstrip().rstrip(";")


def column_work(
    plan: Plan, columns: ColumnPlan, operators: Sequence[Operator], earlier: Snapshot | None
) -> dict[str, ColumnWork]:
    """The work on each column for the rows of the plan."""
    names = [operator.column for operator in operators]
    carried: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for file in columns.described:
        carried[file.column] += file.rows
    why: dict[str, Counter[str]] = {name: Counter() for name in names}
    reasons = _Reasons.of(plan, operators, earlier)
    for needs in columns.work:
        size = len(needs.shard.rows)
        taken.update({column: size for column in needs.files.found})
        for column in needs.files.paths.keys() - {*needs.files.described, *needs.files.found}:
            rows_by_reason = reasons.of_shard(needs, column)
            why[column].update(rows_by_reason)
            carried[column] += size - sum(rows_by_reason.values())
    return {
        name: ColumnWork(why[name].total(), carried[name], taken[name], dict(sorted(why[name].items())))
        for name in names
    }


def leaving_rows(plan_ids: pa.ChunkedArray, earlier: Snapshot | None) -> int:
    """How many rows of the newest snapshot are no rows of the plan."""
    if earlier is None:
        return 0
    ids = (batch["id"] for batch in earlier.batches("index", ["id"]))
    return sum(len(some) - (pc.sum(pc.is_in(some, plan_ids)).as_py() or 0) for some in ids)


def changes(now: Mapping[str, Facts], before: Mapping[str, Facts], column: str) -> list[str]:
    """Why the column's fingerprint is another one than in the snapshot, in the terms of its recipe."""
    if column not in before:
        return ["new column"]
    new, old = now[column], before[column]
    found = [f"operator {old['name']} -> {new['name']}"] if new["name"] != old["name"] else []
    found += [f"{name} {old[name]} -> {new[name]}" for name in ("version", "weights") if new[name] != old[name]]
    found += [f"settings: {change}" for change in _changed_settings(new["settings"], old["settings"])]
    if new["inputs"] != old["inputs"]:
        found.append(f"inputs {', '.join(old['inputs']) or _ABSENT} -> {', '.join(new['inputs']) or _ABSENT}")
    for name in new["inputs"]:
        if name in before and before[name]["fingerprint"] != now[name]["fingerprint"]:
            found.append(f"input column {name} changed")
    return found


def _changed_settings(new: Facts, old: Facts) -> Iterator[str]:
    for name in sorted(new.keys() | old.keys()):
        before, after = _shown(old, name), _shown(new, name)  # as JSON: a snapshot's document knows no tuples
        if before != after:
            yield f"{name} {before} -> {after}"


def _shown(settings: Facts, name: str) -> str:
    return json.dumps(settings[name]) if name in settings else _ABSENT


@dataclass(frozen=True)
class _Reasons:
    """Why a column of a shard has to be computed."""

    was_row: npt.NDArray[np.bool_]  # of each row of the plan, whether the newest snapshot has it
    shards: frozenset[tuple[str, str]]  # (split, shard) of the newest snapshot
    paths: frozenset[str]  # of its files
    changed: Mapping[str, str]  # column -> why its fingerprint is another one
    inputs: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, plan: Plan, operators: Sequence[Operator], earlier: Snapshot | None) -> "_Reasons":
        now = {operator.column: operator.describe() for operator in operators}
        inputs = {column: facts["inputs"] for column, facts in now.items()}
        if earlier is None:
            return cls(np.zeros(len(plan.rows), bool), frozenset(), frozenset(), {}, inputs)
        index, files = earlier.table("index"), earlier.table("files").select(["split", "shard", "path"])
        was_row = pc.is_in(plan.rows["id"], index["id"]).to_numpy()
        shards = frozenset(zip(files["split"].to_pylist(), files["shard"].to_pylist(), strict=True))
        before: Mapping[str, Facts] = earlier.document["operators"]
        marks = {column: facts["fingerprint"] for column, facts in before.items()}
        changed = {
            column: ", ".join(changes(now, before, column))
            for column, facts in now.items()
            if marks.get(column) != facts["fingerprint"]
        }
        return cls(was_row, shards, frozenset(files["path"].to_pylist()), changed, inputs)

    def of_shard(self, needs: OpenShard, column: str) -> dict[str, int]:
        """Reason -> rows of the shard."""
        shard, size = needs.shard, len(needs.shard.rows)
        if column in needs.files.again:
            return self._of_retry(needs, column)
        if (shard.split, shard.name) not in self.shards:
            stayed = int(self.was_row[shard.rows].sum())
            counts = {"new pictures": size - stayed, "moved into another shard": stayed}
            return {reason: rows for reason, rows in counts.items() if rows}
        if column in self.changed:
            return {self.changed[column]: size}
        lost = needs.files.paths[column][1] in self.paths or column != ROW
        return {"its file is missing or cut" if lost else "what the sources say changed": size}

    def _of_retry(self, needs: OpenShard, column: str) -> dict[str, int]:
        """A column that hangs on one that is tried again is computed for at most as many rows."""
        counts = {f"failed before: {reason}": count for reason, count in needs.retried.get(column, {}).items()}
        for name in self.inputs[column]:
            if name in needs.files.again:
                count = min(sum(self._of_retry(needs, name).values()), len(needs.shard.rows) - sum(counts.values()))
                counts |= {f"input column {name} is tried again, at most": count} if count else {}
        return counts
