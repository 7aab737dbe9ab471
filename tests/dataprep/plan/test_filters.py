from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataprep.corpus.schema import SCAN_SCHEMA
from dataprep.pictures.decode import Picture
from dataprep.plan.filters import FilterSettings, judge, measure


def picture(height: int, width: int, levels: int = 100) -> Picture:
    rgb = np.full((height, width, 3), 255, np.uint8)
    rgb[0, 0, 1] -= levels
    return Picture(rgb=rgb, alpha=None, source_is_plain_rgb=True)


def reject_reason(sample: Picture, settings: FilterSettings, facts: dict[str, Any] | None = None) -> str | None:
    """Why one picture is dropped, None when it is taken; `facts`: its tags, rating, score as in a scan record."""
    record = {"item": "", "uri": "", "tags": [], "kind": "file", "detail": ""} | (facts or {}) | measure(sample)
    reason: str | None = judge(pa.Table.from_pylist([record], SCAN_SCHEMA), settings)[0][0].as_py()
    return reason


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (picture(64, 64), None),
        (picture(63, 200), "too-small"),
        (picture(200, 63), "too-small"),
        (picture(64, 256), None),
        (picture(64, 257), "too-elongated"),
        (picture(257, 64), "too-elongated"),
        (picture(64, 64, levels=8), None),
        (picture(64, 64, levels=7), "blank"),
    ],
)
def test_pictures_are_rejected_for_their_size_shape_and_emptiness(sample: Picture, reason: str | None) -> None:
    assert reject_reason(sample, FilterSettings()) == reason


@pytest.mark.parametrize(
    ("settings", "facts", "reason"),
    [
        ({"max_side": 100}, {}, None),
        ({"max_side": 99}, {}, "too-large"),
        ({"ratings": ("g", "s")}, {"rating": "s"}, None),
        ({"ratings": ("g", "s")}, {"rating": "e"}, "rating"),
        ({"ratings": ("g",)}, {}, "rating"),
        ({"min_score": 3}, {"score": 3.0}, None),
        ({"min_score": 3}, {"score": 2.9}, "low-score"),
        ({"max_score": 3}, {"score": 3.1}, "high-score"),
        ({"min_score": -5}, {}, "low-score"),
        ({}, {"tags": ["1girl", "watermark"]}, "watermark"),
        ({}, {"tags": ["meta:sample_watermark"]}, "watermark"),
        ({}, {"tags": ["artist:watermark"]}, None),
        ({"watermark_tags": ("logo",)}, {"tags": ["watermark"]}, None),
        ({"watermark_tags": ("logo",)}, {"tags": ["a", "logo"]}, "watermark"),
        ({"watermark_tags": ()}, {"tags": ["watermark"]}, None),
    ],
)
def test_pictures_are_rejected_for_what_their_source_says(
    settings: dict[str, Any], facts: dict[str, Any], reason: str | None
) -> None:
    assert reject_reason(picture(80, 100), FilterSettings(**settings), facts) == reason


@pytest.mark.parametrize(
    ("settings", "facts", "reason"),
    [
        ({}, {"drawing": 0.0, "unsafe": 1.0}, None),
        ({"min_drawing": 0.5}, {"drawing": 0.5}, None),
        ({"min_drawing": 0.5}, {"drawing": 0.4999}, "photograph"),
        ({"min_drawing": 0.0}, {"drawing": 0.0}, None),
        ({"max_unsafe": 0.25}, {"unsafe": 0.25}, None),
        ({"max_unsafe": 0.25}, {"unsafe": 0.2501}, "unsafe"),
        ({"max_unsafe": 0.0}, {"unsafe": 0.1}, "unsafe"),
        ({"min_drawing": 0.5, "max_unsafe": 0.5}, {"drawing": 0.1, "unsafe": 0.9}, "photograph"),
        ({"min_drawing": 0.5}, {"unsafe": 0.0}, "photograph"),
        ({"max_unsafe": 0.5}, {"drawing": 1.0}, "unsafe"),
        ({"min_drawing": 0.5}, {"drawing": float("nan")}, "photograph"),
        ({"max_unsafe": 0.5}, {"unsafe": float("nan")}, "unsafe"),
    ],
)
def test_pictures_are_rejected_for_what_a_network_measured_and_where_it_measured_nothing(
    settings: dict[str, Any], facts: dict[str, Any], reason: str | None
) -> None:
    assert reject_reason(picture(80, 100), FilterSettings(**settings), facts) == reason


def test_what_a_network_measured_is_in_the_message() -> None:
    rows = [{"drawing": 0.1234, "unsafe": 0.0}, {"drawing": 0.9, "unsafe": 0.75}, {"drawing": 1.0}]
    reasons, messages = judge(records(rows), FilterSettings(min_drawing=0.5, max_unsafe=0.5))
    assert reasons.to_pylist() == ["photograph", "unsafe", "unsafe"]
    assert messages.to_pylist() == ["drawing 0.1234", "unsafe 0.75", "unsafe not measured"]


@pytest.mark.parametrize("settings", [{"min_drawing": 0.0}, {"max_unsafe": 1.0}])
def test_filters_that_only_a_network_can_judge_ask_for_it(settings: dict[str, Any]) -> None:
    assert FilterSettings(**settings).ask_for_content
    assert not FilterSettings(min_chroma=12, ratings=("g",)).ask_for_content


def tinted(seed: int, tint: int, coloured_share: float = 0.0) -> Picture:
    """Noise whose channels are `tint` levels apart, a share of its pixels bright red."""
    rng = np.random.default_rng(seed)
    gray = rng.integers(20, 200, (300, 400), dtype=np.uint8)
    rgb = np.stack([gray + tint, gray, gray], axis=-1).astype(np.uint8)
    rgb[rng.random(gray.shape) < coloured_share] = (255, 0, 0)
    return Picture(rgb=rgb, alpha=None, source_is_plain_rgb=True)


@pytest.mark.parametrize(
    ("sample", "monochrome"),
    [
        (tinted(0, 0), True),
        (tinted(0, 11), True),  # what JPEG does to grey
        (tinted(0, 12), False),
        (tinted(0, 0, coloured_share=0.005), True),  # a signature
        (tinted(0, 0, coloured_share=0.02), False),
    ],
)
def test_a_picture_is_monochrome_when_99_of_100_pixels_have_little_chroma(sample: Picture, monochrome: bool) -> None:
    assert (reject_reason(sample, FilterSettings(min_chroma=12)) == "monochrome") == monochrome
    assert reject_reason(sample, FilterSettings()) is None


def test_contrast_and_chroma_are_those_of_counting_every_pixel() -> None:
    rng = np.random.default_rng(3)
    for size in ((64, 64), (511, 90), (200, 255)):
        rgb = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        rgb[..., 0] //= 4
        measured = measure(Picture(rgb=rgb, alpha=None, source_is_plain_rgb=True))
        spread = np.ptp(rgb.reshape(-1, 3).astype(int), axis=0).max()
        chroma = np.sort(np.ptp(rgb[:, :: max(1, size[1] // 256)].astype(int), axis=2), axis=None)
        assert measured["contrast"] == spread
        assert abs(measured["chroma"] - np.quantile(chroma, 0.99)) <= 2
        assert (measured["height"], measured["width"]) == size


def records(rows: list[dict[str, Any]]) -> pa.Table:
    known = {
        "item": "k",
        "uri": "/p",
        "tags": [],
        "kind": "file",
        "detail": "",
        "id": "0",
        "contrast": 200,
        "chroma": 90,
    }
    sizes = {"width": 100, "height": 100}
    return pa.Table.from_pylist([known | sizes | row for row in rows], SCAN_SCHEMA)


def test_the_scans_own_reasons_stay_and_unread_pictures_are_not_judged() -> None:
    rows: list[dict[str, Any]] = [
        {"reason": "unreadable", "message": "broken", "width": None, "height": None, "contrast": None, "chroma": None},
        {"reason": "not-read", "message": "gone", "rating": "e"},
        {"width": 10},
        {},
    ]
    reasons, messages = judge(records(rows), FilterSettings(ratings=()))
    assert reasons.to_pylist() == ["unreadable", "not-read", "too-small", None]
    assert messages.to_pylist() == ["broken", "gone", "10x100", None]


def test_the_first_rule_speaks_and_messages_say_the_value() -> None:
    rows: list[dict[str, Any]] = [
        {"width": 10, "rating": "e"},
        {"rating": "e", "score": 1.0},
        {"score": 1.5, "rating": "g"},
        {"rating": "g"},
    ]
    reasons, messages = judge(records(rows), FilterSettings(ratings=("g",), min_score=2))
    assert reasons.to_pylist() == ["too-small", "rating", "low-score", "low-score"]
    assert messages.to_pylist() == ["10x100", "e", "1.5", "no score"]


def test_a_table_in_pieces_and_an_empty_one_are_judged_alike() -> None:
    rows: list[dict[str, Any]] = [{"width": 10}, {}, {"tags": ["watermark"]}, {"tags": ["x", "y"]}]
    whole = records(rows)
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 2), whole.slice(3)])
    assert judge(pieces, FilterSettings())[0].equals(judge(whole, FilterSettings())[0])
    assert len(judge(whole.slice(0, 0), FilterSettings())[0]) == 0
    assert len(judge(SCAN_SCHEMA.empty_table(), FilterSettings())[0]) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_side": 10},
        {"max_aspect": 0.5},
        {"min_score": 2, "max_score": 1},
        {"min_contrast": 300},
        {"min_chroma": -1},
        {"phash_distance": 64},
        {"min_drawing": 1.5},
        {"max_unsafe": -0.1},
        {"max_unsafe": float("nan")},
    ],
)
def test_filters_that_cannot_be_meant_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FilterSettings(**wrong)
