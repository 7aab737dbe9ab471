"""What every metric asks of the pictures it is given."""

from torch import Tensor


def check_pictures(*batches: Tensor) -> None:
    """Raise ValueError unless all batches are equal in shape, (B, 3, H, W), and lie in [0, 1] without NaN."""
    for batch in batches:
        if batch.ndim != 4 or batch.shape[1] != 3 or batch.shape != batches[0].shape:
            raise ValueError(
                f"pictures must be (B, 3, H, W) and equal in shape, not {[tuple(b.shape) for b in batches]}"
            )
        if not bool(((batch >= 0) & (batch <= 1)).all()):
            raise ValueError("pictures must lie in [0, 1]; clamp them, or map [-1, 1] by (x + 1) / 2 first")
