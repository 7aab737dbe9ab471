"""Finds protocols and metrics by name: rows of the tables of `eval`, or "module:NAME" of a module on the workers' path.

Workers find them by the same names, so a plan holds names alone.
"""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from eval.protocols.protocol import EvaluationProtocol
from eval.protocols.table import PROTOCOLS
from pipelines.common.overrides import SettingsError, nearest

if TYPE_CHECKING:
    from eval.metrics.metric import Metric

Row = TypeVar("Row")


def find_protocol(name: str) -> EvaluationProtocol:
    """The protocol with this name. Raises SettingsError that names the nearest ones, or what "module:NAME" lacks.

    Imports no torch, so that a wrong call is answered at once.
    """
    return _find("protocol", name, PROTOCOLS, EvaluationProtocol)


def find_metric(name: str) -> "Metric":
    """The metric with this name. Raises SettingsError that names the nearest ones, or what "module:NAME" lacks."""
    from eval.metrics.metric import Metric
    from eval.metrics.table import METRICS

    return _find("metric", name, METRICS, Metric)


def _find(kind: str, name: str, table: Mapping[str, Row], row_type: type[Row]) -> Row:
    if ":" not in name:
        if name not in table:
            raise SettingsError(f"there is no {kind} {name!r}: {nearest(name, table)}")
        return table[name]
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"{kind} {name}: {error}. Is its module on the path of every worker?") from error
    if not isinstance(found, row_type):
        raise SettingsError(f"{kind} {name} is {type(found).__name__}, not {row_type.__name__}")
    return found
