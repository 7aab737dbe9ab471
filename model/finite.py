"""Numbers that must be finite before anything is made of them: weights that are saved or loaded, and pictures.

A sum is finite only where every number in it is, so one pass at the speed of memory settles a tensor (36 GB/s on one
core, where `isfinite` takes forty times as long); only where the sum itself overflows is each number looked at.
"""

from collections.abc import Mapping

import torch

from model.errors import ModelError

REMEDY = "try --precision bf16 or fp32 where fp16 was asked for, or another checkpoint"


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether every number of a tensor is finite; True for whole numbers and for tensors without any ("meta").
    A device is waited for."""
    if not tensor.is_floating_point() or tensor.is_meta:
        return True
    kind = torch.float64 if tensor.dtype == torch.float64 else torch.float32  # a sum in fp16 would overflow early
    return bool(torch.isfinite(tensor.sum(dtype=kind))) or bool(torch.isfinite(tensor).all())


def check_weights(tensors: Mapping[str, torch.Tensor], source: object) -> None:
    """ModelError that names the first tensor of `source` that is not finite, unless all are."""
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            wrong = int((~torch.isfinite(tensor)).sum())
            raise ModelError(
                f"{source}: {name} is not finite ({wrong:,} of its {tensor.numel():,} numbers are NaN or infinite); "
                "the training that made it went wrong, or the file was damaged. Take an earlier checkpoint"
            )


def check_pictures(pictures: torch.Tensor, what: str = "a picture") -> torch.Tensor:
    """`pictures` as they came; ModelError where a number is not finite, which would be painted black."""
    if not is_finite(pictures):
        raise ModelError(f"{what} that the network made is not finite ({pictures.dtype} overflowed): {REMEDY}")
    return pictures
