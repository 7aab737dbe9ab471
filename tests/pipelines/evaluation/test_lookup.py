"""Protocols and metrics by name: rows of the tables, objects of other modules, and what is no such name."""

import pytest

from eval.metrics.table import METRICS
from eval.protocols.table import PROTOCOLS
from pipelines.common.overrides import SettingsError
from pipelines.evaluation.lookup import find_metric, find_protocol
from tests.pipelines.evaluation.mirrored import MIRROR_ERROR, MIRRORED

HERE = "tests.pipelines.evaluation.mirrored"


def test_rows_of_the_tables_are_found_by_their_names() -> None:
    assert [find_protocol(name) for name in PROTOCOLS] == list(PROTOCOLS.values())
    assert [find_metric(name) for name in METRICS] == list(METRICS.values())


def test_objects_of_other_modules_are_found_by_their_paths() -> None:
    assert find_protocol(f"{HERE}:MIRRORED") is MIRRORED
    assert find_metric(f"{HERE}:MIRROR_ERROR") is MIRROR_ERROR


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean known-answer"):
        find_protocol("known-answers")
    with pytest.raises(SettingsError, match="did you mean ms_ssim"):
        find_metric("ms-ssim")


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("tests.nowhere:MIRRORED", "No module named"),
        (f"{HERE}:ABSENT", "no attribute 'ABSENT'"),
        (f"{HERE}:MIRROR_ERROR", "is Metric, not EvaluationProtocol"),
    ],
)
def test_what_is_no_protocol_of_another_module_is_refused(name: str, refusal: str) -> None:
    with pytest.raises(SettingsError, match=refusal):
        find_protocol(name)
