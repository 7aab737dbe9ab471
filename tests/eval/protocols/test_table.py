"""Every row of the table of protocols, held against the table of metrics."""

import pytest

from eval.metrics.metric import ALWAYS_GIVEN
from eval.metrics.table import METRICS
from eval.metrics.views import given_names
from eval.protocols.protocol import EvaluationProtocol
from eval.protocols.published_figures import TABLES, table_of
from eval.protocols.table import PROTOCOLS


def test_the_names_and_their_order_are_those_of_saved_scores() -> None:
    ours = ["random-reference", "same-group", "deformed-reference", "self", "known-answer"]
    published = ["table1-002", "table2-002", "table-I-000", "table-I-000-deformed", "table-4.2", "rasc-A", "rasc-B"]
    assert list(PROTOCOLS) == [*ours, "uniform-reference", "user-pairs", *published, "rasc-C"]


def test_published_figures_belong_to_published_protocols_that_report_them() -> None:
    for table in TABLES.values():
        for protocol, metric in table.columns.values():
            assert metric in PROTOCOLS[protocol].metrics
            assert table_of(protocol) is table
        assert all(figures.keys() == table.columns.keys() for figures in table.rows.values())
    assert {name for name, protocol in PROTOCOLS.items() if protocol.settings} == {
        protocol for table in TABLES.values() for protocol, _ in table.columns.values()
    }
    assert TABLES["table-I-000"].rows["Proposed (v2)"]["CLIP"] == 0.9056
    assert table_of("self") is None


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_a_protocol_gives_what_the_metrics_that_it_reports_need(protocol: EvaluationProtocol) -> None:
    assert protocol.metrics
    for metric in map(METRICS.__getitem__, protocol.metrics):
        needed = {part for need in metric.needs for part in given_names(need)}
        assert needed <= {*ALWAYS_GIVEN, *protocol.gives}
    assert protocol.truth_note
    assert protocol.source


def test_every_metric_that_needs_no_weights_of_the_store_is_reported_by_some_protocol() -> None:
    reported = {name for protocol in PROTOCOLS.values() for name in protocol.metrics}
    of_package = {name for name, metric in METRICS.items() if set(metric.networks) <= {"efficientnet_lite0_320"}}
    on_request = {"seconds", "memory_mib", "gram_denoiser", "leakage", "structure_chamfer", "structure_f"}
    assert of_package - on_request <= reported <= set(METRICS)
