"""Where Ray Train meets a stage: the entry of its workers, and which of their errors are final.

Nothing heavy is imported until a worker runs.
"""

from typing import Any

from ray.train import UserCallback

from model.errors import ModelError
from pipelines.common.errors import PipelineError


def train_worker(settings: dict[str, Any]) -> None:
    """Entry point of a Ray Train worker; `settings` holds the TrainJob under `job`."""
    from pipelines.training.worker import run_worker

    run_worker(settings["job"])


class FinalErrors(UserCallback):
    """Ends a run at an error that would come again: Ray Train itself starts the workers anew after any."""

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """In the controller: what is raised here is not tried again, and reaches the driver."""
        for error in worker_exceptions.values():
            if isinstance(error, PipelineError | ModelError):
                raise PipelineError(str(error))
