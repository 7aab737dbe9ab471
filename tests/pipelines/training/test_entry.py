"""Which errors of a worker end a run at once: those that would come again, and not a lost worker or store."""

import pytest

from dataprep.errors import DataError
from model.errors import ModelError
from pipelines.common.errors import PipelineError
from pipelines.training.entry import FinalErrors


@pytest.mark.parametrize("error", [PipelineError("stopped"), ModelError("stopped")])
def test_what_a_worker_refuses_is_final(error: Exception) -> None:
    with pytest.raises(PipelineError, match="stopped"):
        FinalErrors().after_exception(None, {1: RuntimeError("connection closed by peer"), 0: error})


def test_what_may_pass_is_tried_again() -> None:
    FinalErrors().after_exception(None, {0: RuntimeError("killed"), 1: DataError("the S3 server does not answer")})
