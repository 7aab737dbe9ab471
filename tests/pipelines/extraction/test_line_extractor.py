"""Lines of a colour picture are those that a corpus would hold, at the picture's size."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dataprep.errors import DataError
from dataprep.lines.region_map import RegionSettings
from dataprep.lines.xdog import draw_common, draw_sigma
from dataprep.operators.row_input import RowInput
from dataprep.operators.styles import StyleSettings
from dataprep.pictures.decode import decode, decode_png, encode_png
from pipelines.colorization.picture_settings import EXTRACTED_STYLES
from pipelines.common.errors import PipelineError
from pipelines.extraction.learned_operators import corpus_operators, with_weights
from pipelines.extraction.line_extractor import MOST_SIDE, LineExtractor, extractor_sha256
from pipelines.recipes.build_recipe import BuildRecipe, NetworkSettings
from tests.corpus_pictures import picture
from tests.pipelines.extraction.test_learned_operators import keep_weights

CPU = torch.device("cpu")
DATA = encode_png(picture(3))
USUAL = next(f"{number}" for number in range(99) if draw_sigma(f"{number}", 0) == 0.6)
COMMON = next(f"{number}" for number in range(99) if draw_common(f"{number}", 0).sigma == 0.4)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    keep_weights(folder, "hed")
    keep_weights(folder, "simplify_gan", conv_gain=1.4)  # with less it gives one gray
    return folder


def as_in_a_corpus(style: str) -> np.ndarray:
    """The sketch of a row that draws sigma 0.6, or 0.4 of the common ones."""
    recipe = BuildRecipe(
        styles=StyleSettings(**{style: 1.0}),
        regions=RegionSettings(lines=()),
        networks=NetworkSettings(device="cpu"),
    )
    row = COMMON if style == "xdog_common" else USUAL
    columns: dict[str, bytes | None] = {}
    for operator in corpus_operators(with_weights(recipe)):
        columns[operator.column] = operator.value(RowInput(row, DATA, decode(DATA), columns=columns))
    return decode_png(columns[f"sketch_{style}"] or b"")


@pytest.mark.parametrize("style", ["xdog", "xdog_common", "hed", "xdog_simplified"])
def test_lines_are_those_of_a_corpus(style: str, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRODORI_WEIGHTS", str(store))
    line_art = LineExtractor(style, CPU)(DATA)
    expected = as_in_a_corpus(style)
    assert np.ptp(expected) > 10
    np.testing.assert_array_equal(line_art.gray, expected)
    np.testing.assert_array_equal(line_art.lines[..., 3], 255 - expected)
    assert not line_art.lines[..., :3].any()
    assert line_art.polarity == "dark"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU; run there: pytest -m gpu tests/pipelines")
def test_a_gpu_draws_the_lines_of_the_cpu(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRODORI_WEIGHTS", str(store))
    grays = [LineExtractor("hed", device)(DATA).gray.astype(int) for device in (CPU, torch.device("cuda", 0))]
    assert np.abs(grays[0] - grays[1]).max() <= 1


def test_lines_of_a_picture_larger_than_they_are_drawn_at_lie_where_its_own_lie() -> None:
    large = np.full((200, 2 * MOST_SIDE, 3), (250, 220, 90), np.uint8)
    cv2.line(large, (1000, 0), (1000, 199), (20, 40, 120), 6)
    gray = LineExtractor("xdog", CPU)(encode_png(large)).gray
    assert gray.shape == large.shape[:2]
    dark = np.flatnonzero((gray[20:-20] < 64).any(axis=0))
    assert dark.size
    assert np.abs(dark - 1000).max() <= 8
    assert (gray[:, :900] == 255).all()


def test_what_is_transparent_is_paper() -> None:
    cut = np.zeros((40, 60, 4), np.uint8)
    cut[10:30, 20:40] = (200, 30, 30, 255)
    over_white = np.where(cut[..., 3:] > 0, cut[..., :3], 255).astype(np.uint8)
    grays = [LineExtractor("xdog", CPU)(encode_png(pixels)).gray for pixels in (cut, over_white)]
    np.testing.assert_array_equal(grays[0], grays[1])


def test_a_file_that_is_no_picture_is_refused() -> None:
    with pytest.raises(DataError):
        LineExtractor("xdog", CPU)(b"no picture")


@pytest.mark.parametrize("style", EXTRACTED_STYLES)
def test_every_style_needs_no_weights_or_says_how_to_have_them(
    style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRODORI_WEIGHTS", str(tmp_path))
    if style in ("xdog", "xdog_common"):
        assert extractor_sha256(style) == ""
        return
    for wanted in (extractor_sha256, lambda style: LineExtractor(style, CPU)):
        with pytest.raises(PipelineError, match=r"irodori weights (add|get) "):
            wanted(style)


def test_weights_of_a_style_have_one_hash(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRODORI_WEIGHTS", str(store))
    assert extractor_sha256("hed") == with_weights(BuildRecipe(styles=StyleSettings(hed=1))).weights_sha256[0][4:]
