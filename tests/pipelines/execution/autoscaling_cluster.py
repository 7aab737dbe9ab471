"""A Ray cluster on this machine whose autoscaler starts stand-in nodes: raylets that claim a node type's resources.

A GPU of such a node is a number: what is placed on it finds no CUDA device. Ray's own `AutoscalingCluster` is not used:
it needs a file that the wheel lacks, and ends every Ray of the machine when it stops.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.pipelines.training.train_helpers import alive, wait_for

HEAD_TYPE = "ray.head.default"  # as the stand-in provider names it
HEAD_ID = "f" * 51 + "00000"  # of the head node, as the stand-in provider expects it
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
MEMORY = 100_000_000  # of a node's object store, the smallest that Ray takes is 75 MB
# An external provider gets no defaults, so these stand there empty.
EMPTY = {
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    **{
        name: []
        for name in (
            *("rsync_exclude", "rsync_filter", "initialization_commands", "setup_commands", "head_setup_commands"),
            *("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands"),
        )
    },
}


@dataclass(frozen=True)
class AutoscalingCluster:
    """A cluster that is up, with no node but its head. address: for `--address`; environment: of its clients."""

    address: str
    environment: Mapping[str, str]
    folder: Path

    def launched(self, node_type: str) -> bool:
        """Whether the autoscaler has ever started a node of that type."""
        events = (self.folder / "ray").glob("session_*/logs/events/event_AUTOSCALER.log")
        return any(f"of type {node_type}" in log.read_text() for log in events)


@contextmanager
def autoscaling_cluster(
    folder: Path, node_types: Mapping[str, tuple[Mapping[str, float], int]]
) -> Iterator[AutoscalingCluster]:
    """node_types: name -> (resources of a node, the most nodes of it)."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    types: dict[str, Any] = {HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}}
    for name, (resources, most) in node_types.items():
        held = {**resources, "object_store_memory": MEMORY}
        types[name] = {"resources": held, "node_config": {}, "min_workers": 0, "max_workers": most}
    config = {
        "cluster_name": "stand-in",
        "max_workers": sum(most for _, most in node_types.values()),
        "upscaling_speed": 100.0,
        "idle_timeout_minutes": 5,
        "provider": {
            "type": "external",
            "module": PROVIDER,
            "gcs_address": f"127.0.0.1:{port}",
            "head_node_id": HEAD_ID,
            "launch_multiple": True,
        },
        "available_node_types": types,
        "head_node_type": HEAD_TYPE,
        **EMPTY,
    }
    (folder / "cluster.yaml").write_text(yaml.safe_dump(config))
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    ours |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    head = {
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
    }
    command = [
        str(Path(sys.executable).with_name("ray")),
        *("start", "--head", "--block", f"--port={port}", "--include-dashboard=false", "--num-cpus=0"),
        *(f"--object-store-memory={MEMORY}", f"--temp-dir={folder / 'ray'}"),
        f"--autoscaling-config={folder / 'cluster.yaml'}",
    ]
    with (folder / "head.log").open("wb") as log:
        process = subprocess.Popen(command, env=ours | head, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: answers(port) or process.poll() is not None, timeout_s=60)
        assert process.poll() is None, (folder / "head.log").read_text()[-2000:]
        yield AutoscalingCluster(f"127.0.0.1:{port}", ours, folder)
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        psutil.wait_procs(family, timeout=5)
        process.kill()
        process.wait()
        for left in alive(family):
            left.kill()


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
