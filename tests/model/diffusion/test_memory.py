"""Networks that wait on the CPU for their turn on the device."""

import pytest
import torch
from torch import nn

from model.diffusion.memory import Offload


@pytest.fixture
def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).requires_grad_(False), nn.Linear(4, 2)


def devices(network: nn.Module) -> set[str]:
    return {tensor.device.type for tensor in [*network.parameters(), *network.buffers()]}


def test_a_network_is_on_the_device_only_while_it_visits_and_comes_back_unchanged(
    networks: tuple[nn.Module, nn.Module],
) -> None:
    # "meta" is a device that every machine has: tensors without numbers
    first, second = networks
    before = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    offload = Offload(networks, torch.device("meta"))
    assert devices(first) == devices(second) == {"cpu"}
    offload.visit(first)
    assert (devices(first), devices(second)) == ({"meta"}, {"cpu"})
    assert first(torch.empty(5, 3, device="meta")).shape == (5, 4)
    offload.visit(second)
    assert (devices(first), devices(second)) == ({"cpu"}, {"meta"})
    offload.visit(first, second)
    assert devices(first) == devices(second) == {"meta"}
    offload.visit()
    assert devices(first) == devices(second) == {"cpu"}
    after = first.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_leaving_costs_no_copy(networks: tuple[nn.Module, nn.Module]) -> None:
    offload = Offload(networks, torch.device("meta"))
    address = networks[0].get_parameter("0.weight").data_ptr()
    offload.visit(networks[0])
    offload.visit(networks[1])
    assert networks[0].get_parameter("0.weight").data_ptr() == address


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU; run there: pytest -m gpu tests/model")
def test_the_gpu_holds_one_network_at_a_time() -> None:
    networks = [nn.Linear(4096, 4096) for _ in range(3)]  # 64 MiB each
    offload = Offload(networks, torch.device("cuda"))
    torch.cuda.reset_peak_memory_stats()
    start = torch.cuda.memory_allocated()
    for network in networks:
        offload.visit(network)
    assert torch.cuda.max_memory_allocated() - start < 1.5 * 4096 * 4096 * 4
