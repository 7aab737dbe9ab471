"""Whether a picture shows a character, and what is then the foreground of a reference.

Only characters are a reference's foreground; a reference without one is background as a whole ("Separating Reference
Representations" III.C). An empty mask therefore means that there is no figure, and a full one that there is nothing but
the figure: its background is blank paper.

Shapes: B samples, h w reference.
"""

from collections.abc import Sequence

import torch

from model.families.v15.settings import PartedSettings


def shows_character(tags: Sequence[Sequence[str]], masks: torch.Tensor, settings: PartedSettings) -> torch.Tensor:
    """(B,) booleans. By its tags where a sample has them, else by how much of it the mask (B, 1, h, w) covers."""
    covered = masks.flatten(1).mean(dim=1) >= settings.character_share
    wanted = set(settings.character_tags)
    found = [bool(wanted & set(own)) if own else bool(enough) for own, enough in zip(tags, covered, strict=True)]
    return torch.tensor(found, device=masks.device)


def reference_background(pictures: torch.Tensor, masks: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """References (B, 3, h, w) with what their masks (B, 1, h, w) do not leave below thresholds (B,) painted white."""
    return torch.where(masks < thresholds[:, None, None, None], pictures, 1.0)
