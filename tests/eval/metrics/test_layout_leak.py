"""Leaks of a reference's layout, painted by hand."""

import torch

from eval.metrics.layout_leak import layout_leak

SIDE = 16
WHITE = torch.ones(1, 3, SIDE, SIDE)
PAPER = torch.ones(1, SIDE, SIDE, dtype=torch.bool)


def half(left: bool) -> torch.Tensor:
    """A figure that covers the left or the right half."""
    mask = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    mask[..., : SIDE // 2] = left
    mask[..., SIDE // 2 :] = not left
    return mask


def test_a_figure_painted_where_only_the_own_reference_has_one_is_a_leak() -> None:
    leaky = WHITE.clone()
    leaky[..., : SIDE // 2] = 0
    own, other = half(left=True), half(left=False)
    torch.testing.assert_close(layout_leak(leaky, WHITE, PAPER, own, other), torch.tensor([100.0]))
    torch.testing.assert_close(layout_leak(leaky, WHITE, PAPER, other, own), torch.tensor([-100.0]))


def test_an_error_that_follows_neither_layout_is_none() -> None:
    grey = torch.full_like(WHITE, 0.5)
    assert layout_leak(grey, WHITE, PAPER, half(left=True), half(left=False)).abs().item() < 1e-4
    assert layout_leak(WHITE, WHITE, PAPER, half(left=True), half(left=False)).item() == 0


def test_only_paper_counts_and_too_little_of_it_is_not_scored() -> None:
    leaky = WHITE.clone()
    leaky[..., : SIDE // 2] = 0
    drawn = PAPER.clone()
    drawn[..., : SIDE // 2] = False  # the sketch's own figure stands there
    assert layout_leak(leaky, WHITE, drawn, half(left=True), half(left=False)).isnan().all()
