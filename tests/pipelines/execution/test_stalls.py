"""What is waited for is said in a line, each time that nothing has ended for a while."""

import logging
import time

import pytest

from pipelines.execution.stalls import described, stall_reports
from tests.pipelines.training.train_helpers import wait_for

ONE_GPU = (("GPU", 1.0),)
HEAD = {"CPU": 0.0}


@pytest.mark.ray
@pytest.mark.seconds
def test_a_line_comes_when_nothing_has_ended_and_none_while_tasks_end(
    ray_engine: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "irodori"):
        with stall_reports("busy work", after_s=0.4) as stall:
            for _ in range(16):
                stall.ended()
                time.sleep(0.05)
        assert not caplog.messages
        with stall_reports("slow work", after_s=0.1):
            wait_for(lambda: caplog.messages, timeout_s=20)
    assert caplog.messages[0].startswith("slow work: nothing has ended for 0 min; its tasks run on 1 node with 2 CPUs")


def test_what_no_node_holds_is_named_with_what_is_starting() -> None:
    asked: dict[tuple[tuple[str, float], ...], int] = {ONE_GPU: 2, (("CPU", 1.0),): 5}
    nodes = [HEAD, {"CPU": 8.0}]
    assert described(asked, nodes, {"gpu_worker": 1}, []) == (
        "asked for and not there: 2 x (1 GPU); starting: 1 x gpu_worker"
    )
    assert described(asked, nodes, {}, []) == "asked for and not there: 2 x (1 GPU); no node is starting"
    assert described(asked, nodes, {}, ["gpu_worker"]) == (
        "asked for and not there: 2 x (1 GPU); could not be started: gpu_worker"
    )


def test_tasks_that_only_wait_for_others_are_not_missing_machines() -> None:
    assert described({(("CPU", 1.0),): 5}, [HEAD, {"CPU": 8.0}], {}, []) == "its tasks run on 2 nodes with 8 CPUs"
