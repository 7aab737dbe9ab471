"""The table of masks: what is compared with what, and the real weights against true alpha."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.extractors.masks import Case, over_white, overlap, run, score, shipped
from dataprep.pictures.decode import decode
from model.extractors.masks.isnet import CONVENTIONS
from model.weights.catalogue import CATALOGUE
from pipelines.common.errors import PipelineError
from pipelines.common.shipped_pictures import PICTURES
from pipelines.weights.intake import add
from pipelines.weights.packages import download_package
from pipelines.weights.store import load_network

SPRITES = PICTURES / "sprites"


class Dark(nn.Module):
    """A network whose foreground is everything darker than half."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x[:, :1] < 0.5).float()


def _half_black() -> Case:
    rgb = np.full((40, 60, 3), 255, np.uint8)
    rgb[:, :30] = 0
    return Case("half", rgb, rgb[..., 0] == 0)


def test_overlap_is_what_both_have_over_what_either_has() -> None:
    mask, truth = np.array([True, True, True, False]), np.array([False, True, True, True])
    assert overlap(mask, truth) == 0.5
    assert overlap(mask, ~mask) == 0
    assert overlap(np.zeros(4, bool), np.zeros(4, bool)) == 1


def test_a_network_that_sees_the_foreground_scores_one() -> None:
    case = _half_black()
    assert score(Dark(), CONVENTIONS["skytnt"], case) == pytest.approx(1, abs=0.05)
    assert score(Dark(), CONVENTIONS["skytnt"], Case("other", case.rgb, ~case.foreground)) < 0.05


def test_a_row_names_the_worst_picture_of_a_convention() -> None:
    half = _half_black()
    section = run(Dark(), "x", {"both": [half, Case("other", half.rgb, ~half.foreground)]})
    assert [row["convention"] for row in section.rows] == list(CONVENTIONS)
    row = section.rows[0]
    assert (row["number"], row["whose"]) == (2, "other")
    assert row["worst"] < 0.05 < row["mean"]


def test_sprites_stand_over_white_and_over_backgrounds_with_the_same_foreground() -> None:
    groups = shipped()
    white, backgrounds = groups["sprites over white"], groups["sprites over backgrounds"]
    assert [case.name for case in white] == [case.name for case in backgrounds] == sorted(case.name for case in white)
    assert len(white) == 8
    for on_white, behind in zip(white, backgrounds, strict=True):
        picture = decode((SPRITES / on_white.name).read_bytes())
        assert picture.alpha is not None
        opaque, clear = picture.alpha == 255, picture.alpha == 0
        np.testing.assert_array_equal(on_white.foreground, behind.foreground)
        np.testing.assert_array_equal(on_white.foreground[opaque | clear], opaque[opaque | clear])
        np.testing.assert_array_equal(on_white.rgb[opaque], behind.rgb[opaque])
        assert (on_white.rgb[clear] == 255).all()
        assert behind.rgb[clear].std() > 10


def test_a_part_of_a_folder_is_taken_from_all_over_it() -> None:
    assert [case.name for case in over_white(SPRITES, 2)] == ["eileen-concerned.webp", "sylvie-blue-giggle.webp"]


@pytest.fixture(scope="module")
def general_use(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    """The general-use weights out of their package, by way of a weight store."""
    package, folder = CATALOGUE["isnet_general"].package, tmp_path_factory.mktemp("package")
    assert package is not None
    try:
        archive = download_package(package, folder)
    except PipelineError as error:
        pytest.skip(f"the package with the weights cannot be had: {error}")
    store = str(folder / "store")
    return load_network("isnet_general", add("isnet_general", str(archive), store).sha256, store)


@pytest.mark.slow
@pytest.mark.parametrize(("convention", "mean", "worst"), [("dis", 0.86, 0.71), ("skytnt", 0.78, 0.5)])
def test_masks_of_the_general_use_weights_are_the_alpha_of_the_sprites(
    general_use: nn.Module, convention: str, mean: float, worst: float
) -> None:
    scores = [score(general_use, CONVENTIONS[convention], case) for case in over_white(SPRITES)]
    print(f"{convention}: intersection over union {np.round(scores, 3)}")
    assert np.mean(scores) > mean
    assert min(scores) > worst
