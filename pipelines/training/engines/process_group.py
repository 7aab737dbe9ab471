"""How the workers of a stage meet: the process group of torch, started by Ray Train.

Workers on one machine meet in a file and talk over loopback, so that no port is open to the network: torch's own
meeting place (TCPStore) listens on every address, and gloo on that of the host's name. Workers that were given GPUs and
do not find them do not meet at all: they would compute on CPUs, or fail and be started again without end.
"""

import os
import socket
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import ray
import ray.train
import torch
import torch.distributed as dist
from ray.train.torch import TorchConfig

NO_CUDA = "IRODORI_NO_CUDA"  # in a worker's environment: the machines on which workers find no GPU
LOOPBACK = "127.0.0.1"
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")  # where gloo and nccl talk


@dataclass
class ProcessGroupConfig(TorchConfig):
    """Ray Train's configuration of a process group, with the meeting place chosen as above."""

    @property
    def backend_cls(self) -> Any:
        return _Backend


class _Backend(TorchConfig().backend_cls):  # type: ignore[misc]  # Ray's class has no types
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        """Let the workers meet; called by Ray Train in its controller for each group that it starts."""
        machines = worker_group.execute(_machine)
        if backend_config.backend == "nccl" and (blind := sorted({name for _, name, cuda in machines if not cuda})):
            worker_group.execute(_mark_blind, ", ".join(blind))
        elif len({node for node, _, _ in machines}) == 1:
            node: Any = ray._private.worker._global_node  # there is no public way to the folder of Ray's session
            meeting = Path(node.get_session_dir_path(), f"irodori-meeting-{uuid.uuid4().hex}")
            worker_group.execute(_meet, meeting, backend_config.backend, backend_config.timeout_s)
        else:
            super().on_start(worker_group, backend_config)


def blind_machines() -> str:
    """In a worker: the machines on which this group's workers find no GPU that they were given; empty where all do."""
    return os.environ.get(NO_CUDA, "")


def _machine() -> tuple[str, str, bool]:
    """Of a worker: the node it is on, the machine's name, and whether a GPU is visible to it."""
    return ray.get_runtime_context().get_node_id(), socket.gethostname(), torch.cuda.is_available()


def _mark_blind(machines: str) -> None:
    os.environ[NO_CUDA] = machines


def _meet(meeting: Path, backend: str, timeout_s: int) -> None:
    """Join the group through the file `meeting`."""
    context = ray.train.get_context()
    places = {
        "LOCAL_RANK": context.get_local_rank(),
        "LOCAL_WORLD_SIZE": context.get_local_world_size(),
        "NODE_RANK": context.get_node_rank(),
        "RANK": context.get_world_rank(),
        "WORLD_SIZE": context.get_world_size(),
    }
    os.environ.update({name: str(place) for name, place in places.items()})
    for name in INTERFACES:
        os.environ.setdefault(name, loopback_interface())
    dist.init_process_group(
        backend,
        init_method=meeting.as_uri(),
        rank=context.get_world_rank(),
        world_size=context.get_world_size(),
        timeout=timedelta(seconds=timeout_s),
    )


def loopback_interface() -> str:
    """The name of the interface that only this machine reaches ("lo")."""
    addresses = psutil.net_if_addrs().items()
    return next(name for name, own in addresses if any(address.address == LOOPBACK for address in own))
