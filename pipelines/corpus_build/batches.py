"""The operators of a lane on the rows of a shard: a window of pictures at a time, networks in batches of one size.

Where no operator has a network, the window is one picture. A batch that fails is tried again picture by picture, so
that one of them does not take the others with it; what is done to one picture, or to one batch, runs under
dataprep.limits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from dataprep.corpus.hashes import short_hash
from dataprep.faults import Failure
from dataprep.limits import Limiter
from dataprep.operators.network_step import NetworkStep, Planes
from dataprep.operators.operator import Operator
from dataprep.operators.row_input import RowInput
from dataprep.pictures.canvas import CanvasSettings, placed
from dataprep.pictures.decode import decode
from dataprep.sources.items import SourceData
from pipelines.recipes.build_recipe import NetworkSettings

Cell = tuple[bytes | None, str | None]  # value, error
WINDOW_MEGAPIXELS = 64.0  # of decoded pictures in memory
BYTES_PER_PIXEL = 20  # of a picture in a window: decoded (3), as a network's input in floats (12), its output (4)
GPU_BATCH_MEGAPIXELS = 4.0


@dataclass
class OpenRow:
    """A row in work. `cells`: values of the columns that are there already, which the made ones join."""

    id: str
    cells: dict[str, bytes | None]
    kept: Mapping[str, Cell] = field(default_factory=dict)  # of an earlier file; they hold unless an input is renewed
    renewed: set[str] = field(default_factory=set)
    made: dict[str, Cell] = field(default_factory=dict)
    input: RowInput | Failure | None = None

    def holds(self, operator: Operator) -> bool:
        """Whether the earlier cell of this column stays."""
        return operator.column in self.kept and not self.renewed & {needed.column for needed in operator.inputs}

    def needs(self, operators: Sequence[Operator]) -> bool:
        """Whether the picture has to be looked at."""
        return not all(self.holds(operator) for operator in operators)

    def take(self, column: str, value: bytes | Failure | None) -> None:
        self.settle(column, (None, str(value)) if isinstance(value, Failure) else (value, None))
        if not isinstance(value, Failure):
            self.renewed.add(column)

    def settle(self, column: str, cell: Cell) -> None:
        self.made[column] = cell
        self.cells[column] = cell[0]

    def seen(self) -> RowInput:
        """What an operator sees of the row now."""
        assert isinstance(self.input, RowInput)
        return replace(self.input, columns=self.cells)


@dataclass(frozen=True, kw_only=True)
class OperatorRun:
    """The operators that rows go through, under what names and limits."""

    operators: Sequence[Operator]
    marks: Mapping[str, str]  # column -> fingerprint
    limiter: Limiter
    networks: NetworkSettings
    canvas: CanvasSettings

    def windows(self, megapixels: Sequence[float]) -> Iterator[slice]:
        """Neighbouring rows that are worked on together, of pictures of these sizes."""
        most = self.networks.window if any(operator.network for operator in self.operators) else 1
        start, held = 0, 0.0
        for end, size in enumerate(megapixels):
            if end > start and (end - start == most or held + size > WINDOW_MEGAPIXELS):
                yield slice(start, end)
                start, held = end, 0.0
            held += size
        if start < len(megapixels):
            yield slice(start, len(megapixels))

    def work(self, window: Sequence[tuple[OpenRow, SourceData]]) -> None:
        """Make the cells of the rows of a window, each given with its source."""
        rows = [row for row, _ in window]
        room = int(WINDOW_MEGAPIXELS * 1e6) * BYTES_PER_PIXEL if len(window) > 1 else 0
        with self.limiter.picture(room):
            for row, data in window:
                row.input = self.limiter.call(f"decode-{row.id}", partial(_row_input, row.id, data, self.canvas))
            for operator in self.operators:
                self._work_column(operator, rows)
            for row in rows:
                row.input = None

    def _work_column(self, operator: Operator, rows: Sequence[OpenRow]) -> None:
        column, todo = operator.column, []
        for row in rows:
            if row.holds(operator):
                row.settle(column, row.kept[column])
            elif isinstance(row.input, Failure):
                row.settle(column, (None, str(row.input)))
            else:
                todo.append(row)
        if operator.network is None:
            values = [self._call(operator, row, partial(operator.value, row.seen())) for row in todo]
        else:
            values = self._by_network(operator, operator.network, todo)
        for row, value in zip(todo, values, strict=True):
            row.take(column, value)

    def _by_network(self, operator: Operator, step: NetworkStep, rows: Sequence[OpenRow]) -> list[Any]:
        """The value of each row, or why it has none."""
        planes = [self._call(operator, row, partial(step.prepare, row.seen())) for row in rows]
        outputs: list[Any] = list(planes)  # None and failures stay
        for batch in batches(planes, self._batch_megapixels()):
            names = [self._name(operator, rows[index]) for index in batch]
            for index, output in zip(batch, self._run(step, [planes[i] for i in batch], names), strict=True):
                outputs[index] = output
        return [
            output
            if isinstance(output, Failure)
            else self._call(operator, row, partial(_finished, operator, step, row.seen(), output))
            for row, output in zip(rows, outputs, strict=True)
        ]

    def _run(self, step: NetworkStep, planes: Sequence[Planes], names: Sequence[str]) -> list[Any]:
        """The network's output for each picture of a batch, or why there is none."""
        limit = self.limiter.limits.seconds_per_pass
        with self.limiter.unlimited():  # what the network's library takes is not the picture's
            if len(planes) > 1:
                batch = f"batch-{short_hash(list(names))}"
                outputs = self.limiter.call(batch, partial(step.run, np.stack(planes)), limit)
                if not isinstance(outputs, Failure):
                    return list(outputs)
            single = [
                self.limiter.call(name, partial(step.run, one[None]), limit)
                for name, one in zip(names, planes, strict=True)
            ]
        return [output if isinstance(output, Failure) else output[0] for output in single]

    def _batch_megapixels(self) -> float:
        if self.networks.batch_megapixels:
            return self.networks.batch_megapixels
        import torch

        on_gpu = self.networks.device != "cpu" and torch.cuda.is_available()
        return GPU_BATCH_MEGAPIXELS if on_gpu else 0.0

    def _call(self, operator: Operator, row: OpenRow, work: Any) -> Any:
        return self.limiter.call(self._name(operator, row), work)

    def _name(self, operator: Operator, row: OpenRow) -> str:
        return f"{operator.column}-{self.marks[operator.column]}-{row.id}"


def batches(planes: Sequence[Planes | Failure | None], megapixels: float) -> Iterator[list[int]]:
    """Positions of arrays (C, h, w) of one shape, as many as have at most so many pixels together; at least one."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, one in enumerate(planes):
        if isinstance(one, np.ndarray):
            by_shape.setdefault(one.shape, []).append(index)
    for (_, height, width), members in by_shape.items():
        size = max(1, int(megapixels * 1e6 // (height * width)))
        for start in range(0, len(members), size):
            yield members[start : start + size]


def _finished(operator: Operator, step: NetworkStep, row: RowInput, output: Any) -> bytes | None:
    return operator.checked(row, step.without_network(row) if output is None else step.finish(row, output))


def _row_input(row_id: str, data: SourceData, canvas: CanvasSettings) -> RowInput:
    picture, placement = placed(decode(data.data), canvas)
    return RowInput(row_id, data.data, picture, data.drawn_sketch, data.mask, placement=placement)
