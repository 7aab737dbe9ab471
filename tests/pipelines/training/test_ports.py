"""On one machine nothing that training opens can be reached from another."""

import json
from pathlib import Path

import pytest

from tests.pipelines.training.train_helpers import LISTENING

pytestmark = [pytest.mark.ray]


def test_every_listening_socket_of_a_training_on_two_workers_is_on_loopback(undisturbed: Path) -> None:
    listening = json.loads(undisturbed.with_name(LISTENING).read_text())
    sockets = [(name, place) for name, place in listening if not name.startswith("weed ")]  # the suite's own S3 server
    workers = [place for name, place in sockets if "RayTrainWorker" in name]
    assert len(workers) >= 2  # gloo's, and Ray's own
    assert {name for name, place in sockets if place.removeprefix("::ffff:") != "127.0.0.1"} == set()
