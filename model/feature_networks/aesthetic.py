"""How pleasing pictures are, by the predictor of model.extractors.labels.aesthetic."""

import torch.nn.functional as F
from torch import Tensor, nn

from model.extractors.labels.aesthetic import SO400M
from model.feature_networks.squashing import Pictures, antialiased


def scores(vision: nn.Module, head: nn.Module, pictures: Pictures) -> Tensor:
    """(B, 1), 1 to 10, of pictures in [0, 1]."""
    found: Tensor = head(F.normalize(vision(2 * antialiased(pictures, SO400M.side) - 1), dim=-1))
    return found[:, None]
