"""What an operator is: a versioned step that derives one column from one row.

An operator is a pure function of one row. Its fingerprint covers name, version, settings, weights and the fingerprints
of the columns it reads, so that a changed setting renews the columns that depend on it and no other. Raise `version`
whenever the code's result changes. The operators themselves: dataprep.operators.without_networks, and
pipelines.extraction.learned_operators for those with networks.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dataprep.corpus.hashes import short_hash
from dataprep.operators.network_step import NetworkStep
from dataprep.operators.outputs import JSON, KINDS, finished
from dataprep.operators.row_input import RowInput, Value

_COLUMN = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Operator:
    """A versioned step that derives `column`; `compute` gives a PNG or an array (dataprep.operators.outputs), or None.

    A learned operator has a `network`, whose three steps are run for many rows at once
    (pipelines.corpus_build.batches); `one_by_one(network)` is its `compute`.
    """

    column: str
    name: str
    version: int
    compute: Callable[[RowInput], Value]
    settings: Mapping[str, Any] = field(default_factory=dict)  # JSON-able
    weights: str | None = None  # hash of the network's weights
    inputs: tuple["Operator", ...] = ()
    gives: str = "sketch"  # one of dataprep.operators.outputs.KINDS, or JSON
    network: NetworkStep | None = None
    after: Callable[[bytes], Value] | None = None  # what is done to the PNG of `compute` or of the network

    def __post_init__(self) -> None:
        if not _COLUMN.fullmatch(self.column):
            raise ValueError(f"{self.column!r} is no name for a column: lower case letters, digits and _")
        if self.gives not in (*KINDS, JSON):
            raise ValueError(f"operator {self.name} gives {self.gives!r}, which is none of {', '.join((*KINDS, JSON))}")

    def value(self, row: RowInput) -> bytes | None:
        """The column's value for `row`: computed, held against `gives` and the picture's size, and encoded.

        Raises Fault where it is not what was declared, and whatever `compute` raises.
        """
        return self.checked(row, self.compute(row))

    def checked(self, row: RowInput, given: Value) -> bytes | None:
        """What `compute` gave for `row`, held against `gives` and the picture's size, and encoded. Raises Fault."""
        if given is row.data:
            return row.data  # the source's own bytes, which the scan has decoded
        height, width = row.picture.rgb.shape[:2]
        value = finished(given, self.gives, (height, width))
        if self.after is None or value is None:
            return value
        return finished(self.after(value), self.gives, (height, width))

    def describe(self) -> dict[str, Any]:
        """What a snapshot keeps of this operator."""
        known = {"name": self.name, "version": self.version, "settings": dict(self.settings), "weights": self.weights}
        known |= {"gives": self.gives}
        return known | {"inputs": [operator.column for operator in self.inputs], "fingerprint": fingerprint(self)}


def fingerprint(operator: Operator) -> str:
    """12 hex digits that change with everything that may change the operator's result."""
    inputs = [fingerprint(upstream) for upstream in operator.inputs]
    return short_hash([operator.name, operator.version, dict(operator.settings), operator.weights, inputs])


def one_by_one(network: NetworkStep) -> Callable[[RowInput], Value]:
    """The `compute` of a learned operator: its three steps for a single row."""

    def compute(row: RowInput) -> Value:
        planes = network.prepare(row)
        return network.without_network(row) if planes is None else network.finish(row, network.run(planes[None])[0])

    return compute
