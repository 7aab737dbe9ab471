"""Which operators of a recipe run together: those without networks in tasks, those with networks where networks are.

A lane is a set of columns whose inputs are made in it or in lanes before it. Column files are what one lane hands to
the next, so a lane that was cut short costs its own work only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dataprep.operators.operator import Operator


@dataclass(frozen=True)
class Lane:
    """Columns that one worker makes of a shard in one go."""

    columns: tuple[str, ...]
    has_networks: bool


def lanes(operators: Sequence[Operator]) -> tuple[Lane, ...]:
    """The operators in lanes: even ones without networks, odd ones with; each operator as early as its inputs allow."""
    levels: dict[str, int] = {}
    for operator in operators:
        parity = int(operator.network is not None)
        earliest = max((levels[needed.column] for needed in operator.inputs), default=parity)
        levels[operator.column] = earliest + (earliest + parity) % 2
    return tuple(
        Lane(tuple(column for column, own in levels.items() if own == level), level % 2 == 1)
        for level in sorted(set(levels.values()))
    )
