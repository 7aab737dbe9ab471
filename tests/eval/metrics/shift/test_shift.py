"""Each measure of shift on made cases: what must be zero, and what must be worse than what."""

import math

import pytest
import torch

from eval.metrics.shift.gram import GRAM_DENOISER, Divergence, gram_divergence
from eval.metrics.shift.leakage import leaked_colors
from eval.metrics.shift.structure import STRUCTURE_CHAMFER, structure

SIDE = 64


# ---- Gram divergence -----------------------------------------------------------------------------------------------


def layout(columns: int) -> torch.Tensor:
    """Features (1, 64, 8) of 8 x 8 places: so many columns are of one kind, the others of another."""
    kinds = torch.eye(8)[:2]
    places = torch.zeros(8, 8, dtype=torch.long)
    places[:, :columns] = 1
    return kinds[places].reshape(1, 64, 8)


def test_colours_move_no_layout_and_a_moved_layout_counts_the_more_the_farther() -> None:
    same, moved, farther = (gram_divergence(layout(4), layout(columns))[0] for columns in (4, 5, 7))
    assert same.item() == 0
    turned = layout(4) @ torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))[0]
    assert gram_divergence(layout(4), 3 * turned)[0].item() == pytest.approx(0, abs=1e-10)
    assert 0 < moved.item() < farther.item()


def test_the_map_is_where_the_layout_moved() -> None:
    value, places = gram_divergence(layout(4), layout(5))
    by_column = places.reshape(8, 8).mean(dim=0)
    assert by_column.argmax().item() == 4
    assert places.mean().item() == pytest.approx(value.item())


def test_inside_a_denoiser_the_family_is_part_of_the_name() -> None:
    divergence = Divergence(torch.tensor([0.1]), torch.zeros(1, 2, 2), "v1_up1")
    assert list(GRAM_DENOISER.measure(torch.zeros(1, 3, 4, 4), divergence)) == ["gram_denoiser_v1_up1"]
    assert GRAM_DENOISER.title_of("gram_denoiser_v1_up1") == "layout moved in the denoiser"


# ---- leakage -------------------------------------------------------------------------------------------------------

RED, BLUE, GREEN = ((0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.8, 0.2))


def picture(figure: tuple[float, ...], ground: tuple[float, ...], leak: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A square figure on a ground, of whose upper rows so many have the figure's colour; and the figure's mask."""
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[20:50, 20:50] = True
    rgb = torch.where(mask, torch.tensor(figure)[:, None, None], torch.tensor(ground)[:, None, None])
    rgb[:, :leak] = torch.tensor(figure)[:, None, None]
    return rgb, mask


def leak(rows: int, figure: tuple[float, ...] = RED, ground: tuple[float, ...] = BLUE) -> float:
    reference, reference_mask = picture(RED, BLUE)
    result, mask = picture(figure, ground, rows)
    return leaked_colors(result[None], mask[None], [reference], [reference_mask])[0].item()


def test_leakage_is_the_share_of_the_ground_that_has_the_figures_colours() -> None:
    assert leak(0) == 0
    ground = SIDE * SIDE - 30 * 30
    assert leak(10) == pytest.approx(10 * SIDE / ground, abs=1e-6)
    assert leak(0) < leak(5) < leak(10) < leak(20)
    assert leak(0, ground=RED) == pytest.approx(1)
    assert leak(0, figure=BLUE) == 0, "what the figure looks like is no leak of the ground"


def test_colours_that_the_reference_does_not_have_say_nothing() -> None:
    assert math.isnan(leak(0, ground=GREEN))


def test_the_leak_is_shown_where_it_is() -> None:
    reference, reference_mask = picture(RED, BLUE)
    result, mask = picture(RED, BLUE, 10)
    places = leaked_colors(result[None], mask[None], [reference], [reference_mask])[1][0]
    assert places[:10].mean().item() == pytest.approx(1)
    assert places[10:].max().item() == 0


def test_without_a_figure_or_a_ground_there_is_no_leakage() -> None:
    reference, mask = picture(RED, BLUE)
    result = reference[None]
    for nothing in (torch.zeros_like(mask), torch.ones_like(mask)):
        assert leaked_colors(result, mask[None], [reference], [nothing])[0].isnan().all()
    assert leaked_colors(result, torch.ones_like(mask)[None], [reference], [mask])[0].isnan().all()


# ---- structure -----------------------------------------------------------------------------------------------------


def lines(shift: int = 0, extra: bool = False) -> torch.Tensor:
    drawn = torch.zeros(1, 200, 200, dtype=torch.bool)
    drawn[0, 50 + shift] = True
    drawn[0, :, 120 + shift] = True
    if extra:
        drawn[0, 180] = True
    return drawn


def test_structure_is_perfect_where_lines_are_equal_and_worse_the_farther_they_move() -> None:
    values = [structure(lines(shift), lines()) for shift in (0, 1, 5, 20)]
    chamfer, score = ([value[place].item() for value in values] for place in (0, 1))
    assert (chamfer[0], score[0]) == (0, 1)
    assert chamfer == sorted(chamfer)
    assert len(set(chamfer)) == 4
    assert score[1] == 1, "within the tolerance"
    assert score[1] > score[2] >= score[3]


def test_new_lines_and_lost_ones_both_count_and_are_shown() -> None:
    for drawn, sketch in ((lines(extra=True), lines()), (lines(), lines(extra=True))):
        chamfer, score, places = structure(drawn, sketch)
        assert chamfer.item() > 0
        assert 0.6 < score.item() < 1
        assert places[0, 180].float().mean() > 0.9
        assert places[0, 50].max() == 0


def test_no_lines_at_all() -> None:
    none = torch.zeros(1, 200, 200, dtype=torch.bool)
    chamfer, score, _ = structure(none, lines())
    assert (chamfer.item(), score.item()) == (1, 0)
    assert structure(lines(), none)[0].isnan().all()
    (undefined,) = STRUCTURE_CHAMFER.summarize({"structure_chamfer": structure(lines(), none)[0].numpy()})
    assert undefined.reason == "no sketch has a line"
