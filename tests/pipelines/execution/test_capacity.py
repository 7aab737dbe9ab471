"""A device is chosen by what can be brought, and a request that can never be met is refused at once."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError
from pipelines.execution.capacity import Capacity, Device, NodeType, checked_device, chosen_device, node_types

CLUSTER = Path(__file__).parents[3] / "ray_cluster.yaml"
EMPTY = Capacity(((0, 0),), (NodeType("cpu", 64, 0, 20), NodeType("gpu", 192, 8, 4)), most=24)
HALF_STARTED = replace(EMPTY, up=((0, 0), (192, 8)))
STATIC = Capacity(((64, 0), (192, 8)))
UNKNOWN = replace(EMPTY, types=None)
LAPTOP = Capacity(((8, 0),), local=True)
WORKSTATION = Capacity(((16, 1),), local=True)


def chosen(asked: Device, capacity: Capacity, gpus: int = 1, needs_gpu: bool = False) -> str:
    return chosen_device(asked, capacity, gpus=gpus, needs_gpu=needs_gpu, work="v1.noisy")


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_gpus_that_can_be_brought_are_asked_for_though_none_is_up(asked: Device) -> None:
    assert chosen(asked, EMPTY, gpus=32) == "cuda"
    assert chosen(asked, EMPTY, gpus=32, needs_gpu=True) == "cuda"
    assert chosen("cpu", EMPTY, gpus=32, needs_gpu=True) == "cpu"


@pytest.mark.parametrize("capacity", [HALF_STARTED, STATIC, replace(UNKNOWN, up=((192, 8),))])
def test_a_cluster_with_some_of_the_gpus_is_waited_for_and_not_taken_for_one_without(capacity: Capacity) -> None:
    assert chosen("auto", capacity, gpus=16) == "cuda"


def test_small_sizes_run_on_the_cpus_of_a_machine_without_gpus_and_published_ones_are_refused() -> None:
    assert chosen("auto", LAPTOP) == "cpu"
    assert chosen("auto", WORKSTATION) == "cuda"
    assert chosen("auto", WORKSTATION, gpus=2) == "cpu"
    with pytest.raises(PipelineError, match=r"needs 1 GPU and this machine has none.*--address.*--device cpu"):
        chosen("auto", LAPTOP, needs_gpu=True)
    with pytest.raises(PipelineError, match="needs 2 GPUs and this machine has 1"):
        chosen("cuda", WORKSTATION, gpus=2)


def test_what_no_node_type_can_bring_is_refused_with_the_node_types() -> None:
    with pytest.raises(
        PipelineError, match=r"33 GPUs and the cluster can have 32; its node types are cpu \(up to 20, 0 "
    ):
        chosen("cuda", EMPTY, gpus=33)
    with pytest.raises(PipelineError, match="no node of the cluster has a GPU, and it has no autoscaler"):
        chosen("auto", Capacity(((64, 0),)), needs_gpu=True)


def test_where_nobody_knows_the_node_types_only_what_was_asked_for_is_waited_for() -> None:
    assert chosen("auto", UNKNOWN) == "cpu"
    assert chosen("auto", UNKNOWN, needs_gpu=True) == "cuda"
    assert chosen("cuda", UNKNOWN) == "cuda"


def test_the_node_types_are_those_of_the_cluster_file() -> None:
    types, most = node_types(yaml.safe_load(CLUSTER.read_text()))
    assert types == (NodeType("cpu_worker", 64, 0, 20), NodeType("gpu_worker", 192, 8, 4))
    capacity = Capacity(((0, 0),), types, most)
    assert (capacity.gpus, capacity.cpus) == (32, 4 * 192 + 20 * 64)
    assert Capacity(((0, 0),), types, most=2).gpus == 16  # of all kinds together, no more than max_workers


def test_a_device_has_one_of_three_names() -> None:
    assert checked_device("cuda") == "cuda"
    with pytest.raises(SettingsError, match="there is no device 'gpu'"):
        checked_device("gpu")
