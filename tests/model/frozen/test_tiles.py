"""Networks in overlapping tiles: exact where they only look about, blended where tiles differ, whole where one fits."""

import pytest
import torch
import torch.nn.functional as F

from model.frozen.tiles import in_tiles


@pytest.mark.parametrize(("height", "width"), [(33, 20), (9, 50), (16, 16), (17, 17), (8, 8), (5, 3)])
def test_a_network_of_single_cells_gives_the_same_in_tiles(height: int, width: int) -> None:
    x = torch.rand(2, 3, height * 2, width * 2)
    weight = torch.rand(3, 5, 4, 4)

    def cells(piece: torch.Tensor) -> torch.Tensor:
        return F.conv_transpose2d(F.avg_pool2d(piece, 2), weight, stride=4)

    torch.testing.assert_close(in_tiles(cells, x, 8, 2, 4), cells(x))


def test_no_piece_is_larger_than_the_tile_and_all_of_one_picture_are_alike() -> None:
    sizes = []

    def look(piece: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(piece.shape[-2:]))
        return piece

    x = torch.rand(1, 1, 100, 10)
    torch.testing.assert_close(in_tiles(look, x, 16, 1, 1), x)
    assert set(sizes) == {(16, 10)}
    assert len(sizes) == 8  # 84 cells beyond the first tile, in steps of 12 at most


def test_where_tiles_disagree_one_fades_into_the_other() -> None:
    numbers = iter([0.0, 1.0])
    blended = in_tiles(lambda piece: torch.full_like(piece, next(numbers)), torch.zeros(1, 1, 1, 28), 16, 1, 1)[0, 0, 0]
    assert torch.equal(blended[:12], torch.zeros(12))
    assert torch.equal(blended[16:], torch.ones(12))
    torch.testing.assert_close(blended[12:16], torch.tensor([0.125, 0.375, 0.625, 0.875]))
