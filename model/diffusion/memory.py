"""What a pipeline trades for memory: the precision of its weights, and networks that wait on the CPU for their turn.

In half precision weights and activations take half the bytes; sampler, guidance and noise stay float32 around them.
With offload the device holds one network at a time: at published size the reference encoder (2.5 GB in fp32), the
colouring network (3.7 GB) or the codec (0.3 GB), instead of their sum; each turn costs one copy over the bus.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import nn


class Offload:
    """Networks that wait on the CPU and visit a device in turn.

    Weights do not change while pictures are made, so those on the CPU stay where they are and a network that leaves
    copies nothing back. Whoever changes weights in between makes a new Offload.
    """

    def __init__(self, networks: Sequence[nn.Module], device: torch.device) -> None:
        self.device = device
        self._home = {network: _cpu_weights(network, pin=device.type == "cuda") for network in networks}
        self.visitors: set[nn.Module] = set(networks)
        self.visit()

    def visit(self, *networks: nn.Module) -> None:
        """These networks are on the device, all others on the CPU."""
        for network in self.visitors.difference(networks):
            for module, name, kept in self._home[network]:
                setattr(module, name, kept)
        for network in set(networks) - self.visitors:
            for module, name, kept in self._home[network]:
                moved = kept.to(self.device, non_blocking=True)
                setattr(module, name, nn.Parameter(moved, False) if isinstance(kept, nn.Parameter) else moved)
        self.visitors = set(networks)


def _cpu_weights(network: nn.Module, pin: bool) -> list[tuple[nn.Module, str, torch.Tensor]]:
    """Each weight and buffer on the CPU with its owner and name; from pinned memory copies are several times faster."""
    found: list[tuple[nn.Module, str, torch.Tensor]] = []
    for module in network.modules():
        named = itertools.chain(module.named_parameters(recurse=False), module.named_buffers(recurse=False))
        for name, tensor in named:
            kept = tensor.detach().cpu()
            kept = kept.pin_memory() if pin else kept
            found.append((module, name, nn.Parameter(kept, False) if isinstance(tensor, nn.Parameter) else kept))
    return found
