"""What parts figure from ground in a call: masks of sketches and references, and backgrounds that are pictures of their
own. Nothing here knows a network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from model.errors import ModelError

WHITE = 1.0


@dataclass(frozen=True, eq=False)
class Separation:
    """By the indices of a call's sketches and references.

    sketch_masks: (1, H, W) of each sketch, of its size, in [0, 1], 1 = the figure; empty where no part of a network
    reads them. reference_masks: (1, h, w) of each
    reference, of any size, None where it has no figure: it is background as a whole. backgrounds: for each reference a
    picture (3, h, w) in [-1, 1] that gives the background instead, or None; empty for none at all.
    """

    sketch_masks: Sequence[torch.Tensor]
    reference_masks: Sequence[torch.Tensor | None] = ()
    backgrounds: Sequence[torch.Tensor | None] = ()

    def check(self, sketches: int, references: int, parted: bool = True) -> None:
        """ModelError for counts, shapes or values that do not fit; parted: the sketches' masks are needed."""
        counts = (("sketch mask", self.sketch_masks, sketches), ("reference mask", self.reference_masks, references))
        for name, masks, wanted in counts:
            if len(masks) not in (wanted, 0 if name == "reference mask" or not parted else wanted):
                raise ModelError(f"{wanted} pictures need as many of a {name}, not {len(masks)}")
            for index, mask in enumerate(masks):
                if mask is not None and not (mask.ndim == 3 and len(mask) == 1 and 0 <= mask.min() <= mask.max() <= 1):
                    raise ModelError(f"{name} {index} is not of shape (1, height, width) with numbers within 0..1")
        if len(self.backgrounds) not in (0, references):
            raise ModelError(f"{references} references need as many backgrounds, or none, not {len(self.backgrounds)}")

    def mask_of(self, reference: int) -> torch.Tensor | None:
        """The mask of a reference, None where it has no figure."""
        return self.reference_masks[reference] if self.reference_masks else None

    def background_of(self, reference: int) -> torch.Tensor | None:
        """The picture that gives a reference's background, None where it is its own."""
        return self.backgrounds[reference] if self.backgrounds else None


def without_figure(picture: torch.Tensor, mask: torch.Tensor | None, threshold: float) -> torch.Tensor:
    """A picture (3, h, w) with its figure painted white; mask: (1, any, any), None where there is no figure."""
    if mask is None:
        return picture
    fitted = F.interpolate(mask[None].to(picture), size=picture.shape[-2:], mode="bilinear", antialias=True)[0]
    return torch.where(fitted < threshold, picture, WHITE)


def averaged(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """A mask (B, 1, H, W) at (h, w): the mean over each cell."""
    return F.adaptive_avg_pool2d(mask.float(), size)
