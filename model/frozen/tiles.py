"""A network over a picture in overlapping square tiles, so that its memory grows with the tile and not the picture.

Tiles all have the full size and overlap by at least a quarter; where they meet they are blended linearly. What a
network gathers over the whole picture (group norms, attention) it gathers over a tile instead: results are close to,
not equal to, those of one piece. A picture that fits into one tile is computed in one piece.

Shapes: B batch, C K channels, H W in cells: the smallest squares that input and output have in common.
"""

from collections.abc import Callable

import torch

OVERLAP = 0.25  # of a tile's side, at least


def in_tiles(
    network: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, tile: int, cell_in: int, cell_out: int
) -> torch.Tensor:
    """network(x) from tiles of `tile` cells a side: (B, C, H cell_in, W cell_in) to (B, K, H cell_out, W cell_out)."""
    height, width = (side // cell_in for side in x.shape[-2:])
    if height <= tile and width <= tile:
        return network(x)
    total = weights = torch.zeros((), device=x.device)
    for top in _starts(height, tile):
        for left in _starts(width, tile):
            rows, columns = min(tile, height), min(tile, width)
            piece = network(_window(x, top, left, rows, columns, cell_in))
            weight = _ramp(rows * cell_out, piece)[:, None] * _ramp(columns * cell_out, piece)
            if not total.ndim:
                total = piece.new_zeros(*piece.shape[:2], height * cell_out, width * cell_out)
                weights = piece.new_zeros(height * cell_out, width * cell_out)
            _window(total, top, left, rows, columns, cell_out).add_(piece * weight)
            _window(weights, top, left, rows, columns, cell_out).add_(weight)
    return total / weights


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin, evenly spread from the first cell to the last."""
    if length <= tile:
        return [0]
    overlap = int(tile * OVERLAP)
    steps = -(-(length - tile) // (tile - overlap))
    return [round(step * (length - tile) / steps) for step in range(steps + 1)]


def _window(x: torch.Tensor, top: int, left: int, rows: int, columns: int, cell: int) -> torch.Tensor:
    return x[..., top * cell : (top + rows) * cell, left * cell : (left + columns) * cell]


def _ramp(length: int, like: torch.Tensor) -> torch.Tensor:
    """Weights (length,) that rise over the overlap from the edge to 1: a seam is a linear blend."""
    from_edge = torch.arange(length, device=like.device, dtype=like.dtype) + 0.5
    return (torch.minimum(from_edge, from_edge.flip(0)) / (length * OVERLAP)).clamp(max=1)
