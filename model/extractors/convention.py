"""How a picture becomes a network's input, and the network's output a value: the three steps that every operator has.

Public code disagrees on these steps for one and the same file, so each way has a name, and a corpus row says which was
used. The steps are apart so that pictures of one input size share a pass, on any device.

Shapes: H, W picture; C, h, w what one picture feeds the network; N pictures in a batch.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Picture = npt.NDArray[np.uint8]  # (H, W, 3) RGB, or (H, W) line art, black on white
Planes = npt.NDArray[np.float32]  # (C, h, w)


class Convention(Protocol):
    """A frozen dataclass whose fields (its name among them) are JSON-able: they are the operator's settings."""

    def prepare(self, picture: Picture) -> Planes:
        """What one picture feeds the network. Any H, W from 1 up; h and w follow from H and W alone."""
        ...

    def infer(self, network: nn.Module, planes: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) float32 or half, on the network's device -> (N, ...), without gradients."""
        ...

    def finish(self, output: npt.NDArray[np.float32], size: tuple[int, int]) -> Any:
        """One picture's output -> the value: (H, W) float32 in [0, 1] for pictures, where `size` is (H, W)."""
        ...
