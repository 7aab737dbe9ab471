"""Every row of the table of protocols, held against the table of metrics."""

import pytest

from eval.metrics.metric import ALWAYS_GIVEN
from eval.metrics.table import METRICS
from eval.protocols.protocol import EvaluationProtocol
from eval.protocols.table import PROTOCOLS


def test_the_names_and_their_order_are_those_of_saved_scores() -> None:
    assert list(PROTOCOLS) == ["random-reference", "same-group", "deformed-reference", "self", "known-answer"]


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_a_protocol_gives_what_the_metrics_that_it_reports_need(protocol: EvaluationProtocol) -> None:
    assert protocol.metrics
    for metric in map(METRICS.__getitem__, protocol.metrics):
        assert set(metric.needs) <= {*ALWAYS_GIVEN, *protocol.gives}
    assert protocol.truth_note
    assert protocol.source


def test_every_metric_is_reported_by_some_protocol() -> None:
    assert {name for protocol in PROTOCOLS.values() for name in protocol.metrics} == set(METRICS)
