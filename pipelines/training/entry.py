"""Where a Ray Train worker begins. Nothing heavy is imported until it runs."""

from typing import Any


def train_worker(settings: dict[str, Any]) -> None:
    """Entry point of a Ray Train worker; `settings` holds the TrainJob under `job`."""
    from pipelines.training.worker import run_worker

    run_worker(settings["job"])
