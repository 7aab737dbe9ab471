"""Devices by request: on a cluster with no node but its head, work asks for what it needs, and computes nowhere else.

Its GPU nodes are stand-ins, so a worker that was brought there has to find that no CUDA device is visible, and end.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpus_pictures import write_pictures
from tests.jobs.command import irodori
from tests.pipelines.corpus_build.network_operators import EDGES
from tests.pipelines.execution.autoscaling_cluster import AutoscalingCluster, autoscaling_cluster
from tests.pipelines.training.train_helpers import QUICK

pytestmark = [pytest.mark.drill, pytest.mark.ray]

BLIND = "no CUDA device is visible on "


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AutoscalingCluster]:
    """CPU nodes and one GPU node may come; none is there."""
    types = {"cpu_worker": ({"CPU": 2}, 1), "gpu_worker": ({"CPU": 4, "GPU": 8}, 1)}
    with autoscaling_cluster(tmp_path_factory.mktemp("cluster"), types) as started:
        yield started


def train(corpus: str, out: Path, *options: str) -> list[str]:
    settings = [f"--set={name}={value}" for name, value in QUICK.items()]
    store = f"sqlite:///{out.parent / 'mlflow.db'}"
    return ["train", "v1.noisy", "--corpus", corpus, "--out", str(out), "--tracking-uri", store, *settings, *options]


def test_more_gpus_than_the_node_types_have_are_refused_with_their_names(
    cluster: AutoscalingCluster, drawn_corpus: str, tmp_path: Path
) -> None:
    asked = train(drawn_corpus, tmp_path / "out", "--device", "cuda", "--set=batch_size=16", "--workers", "16")
    done = irodori(*asked, "--address", cluster.address, env=dict(cluster.environment), code=1)
    assert "needs 16 GPUs and the cluster can have 8" in done.stderr
    assert "gpu_worker (up to 1, 8 GPUs each)" in done.stderr
    assert not cluster.launched("worker")


def test_training_brings_a_gpu_node_up_and_never_computes_on_its_cpus(
    cluster: AutoscalingCluster, drawn_corpus: str, tmp_path: Path
) -> None:
    asked = train(drawn_corpus, tmp_path / "out", "--workers", "2", "--address", cluster.address)
    done = irodori(*asked, env=dict(cluster.environment), code=1)
    assert BLIND in done.stderr
    assert cluster.launched("gpu_worker")
    assert not cluster.launched("cpu_worker")
    assert not (tmp_path / "out" / "checkpoint").exists()


def test_an_evaluation_asks_for_a_gpu_and_never_computes_on_cpus(
    cluster: AutoscalingCluster, drawn_corpus: str, untrained_checkpoint: str, tmp_path: Path
) -> None:
    call = ["evaluate", "--checkpoint", untrained_checkpoint, "--corpus", drawn_corpus, "--out", str(tmp_path / "out")]
    call += [
        "--protocol",
        "deformed-reference",
        "--limit",
        "2",
        "--tracking-uri",
        f"sqlite:///{tmp_path / 'mlflow.db'}",
    ]
    done = irodori(*call, "--address", cluster.address, env=dict(cluster.environment), code=1)
    assert BLIND in done.stderr
    assert not (tmp_path / "out" / "scores.json").exists()


def test_networks_of_a_build_ask_for_a_gpu_and_never_run_on_cpus(cluster: AutoscalingCluster, tmp_path: Path) -> None:
    source, out = write_pictures(tmp_path / "source", 6), tmp_path / "out"
    call = ["corpus", "build", "--source", str(source), "--out", str(out), "--set", f"extra_operators={EDGES}"]
    call += ["--set", "filters.min_side=16"]
    call += ["--tracking-uri", f"sqlite:///{tmp_path / 'mlflow.db'}", "--address", cluster.address]
    done = irodori(*call, env=dict(cluster.environment), code=1)
    assert BLIND in done.stderr
    assert not list(out.glob("data/*/*/sketch_edges*"))
    assert not (out / "snapshots").exists()
