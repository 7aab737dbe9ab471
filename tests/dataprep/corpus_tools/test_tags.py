"""Tags at use: thresholds, ratings, kinds of a source's tags, captions."""

import json

import pytest

from dataprep.corpus_tools.tags import (
    FLOOR,
    KAOMOJI,
    PUBLISHED_THRESHOLDS,
    RATINGS,
    Prediction,
    Thresholds,
    VocabularySettings,
    caption,
    split_kind,
)
from dataprep.errors import DataError
from model.extractors.labels import wd_tagger

SAID = {
    "rating": {"general": 0.2, "sensitive": 0.7, "questionable": 0.1, "explicit": 0.0},
    "general": {"solo": 0.9, "1girl": 0.99, "smile": 0.35, "hat": 0.34, "bow": 0.9},
    "character": {"sylvie": 0.8, "eileen": 0.75, "lucy": 0.749},
}


def prediction(**changes: dict[str, float]) -> Prediction:
    return Prediction.parse(json.dumps(SAID | changes).encode())


def test_a_tag_counts_from_its_kinds_threshold_on_the_most_probable_first() -> None:
    assert prediction().tags(Thresholds()) == ["1girl", "bow", "solo", "smile", "sylvie", "eileen"]
    assert prediction().tags(Thresholds(0.95, 0.05)) == ["1girl", "sylvie", "eileen", "lucy"]
    assert prediction().tags(PUBLISHED_THRESHOLDS["colorizediffusion-xl"], ("character",)) == []
    assert prediction().tags(Thresholds(), ("character", "general"))[:3] == ["sylvie", "eileen", "1girl"]


@pytest.mark.parametrize(
    ("name", "general", "character"),
    [("wdv3-timm", 35, 75), ("wd-tagger", 35, 85), ("colorizediffusion-xl", 25, 85)],
)
def test_published_thresholds_are_those_of_their_programs(name: str, general: int, character: int) -> None:
    """In hundredths: the least probable tag that counts."""
    hundredths = {str(n): n / 100 for n in range(5, 101)}
    given = prediction(general=hundredths, character=hundredths)
    for kind, least in (("general", general), ("character", character)):
        assert given.tags(PUBLISHED_THRESHOLDS[name], (kind,))[-1] == str(least)


def test_thresholds_below_what_taggers_keep_are_refused() -> None:
    Thresholds(FLOOR, 1.0)
    for wrong in ((0.04, 0.75), (0.35, 1.01), (float("nan"), 0.75)):
        with pytest.raises(ValueError, match=r"a threshold lies between 0\.05 and 1"):
            Thresholds(*wrong)


def test_taggers_keep_what_thresholds_may_ask_for() -> None:
    """The two packages do not import each other, so each has these names."""
    assert {convention.floor for convention in wd_tagger.CONVENTIONS.values()} == {FLOOR}
    assert wd_tagger.RATINGS == RATINGS


@pytest.mark.parametrize(
    ("probabilities", "rating"),
    [((0.2, 0.7, 0.1, 0.0), "sensitive"), ((0.1, 0.2, 0.3, 0.9), "explicit"), ((0.4, 0.4, 0.4, 0.1), "general")],
)
def test_the_rating_is_the_most_likely_of_four_the_milder_of_equals(
    probabilities: tuple[float, ...], rating: str
) -> None:
    given = prediction(rating=dict(zip(RATINGS, probabilities, strict=True)))
    assert given.most_likely_rating() == rating


@pytest.mark.parametrize(
    "value",
    [
        b"\xff\xfe",
        b"nothing",
        b"[]",
        b'{"general": {}, "character": {}}',
        json.dumps(SAID | {"rating": {"general": 1.0}}).encode(),
        json.dumps(SAID | {"general": ["1girl"]}).encode(),
        json.dumps(SAID | {"general": {"1girl": "often"}}).encode(),
        json.dumps(SAID | {"character": {"sylvie": None}}).encode(),
    ],
)
def test_what_is_no_prediction_is_told(value: bytes) -> None:
    with pytest.raises(DataError, match="a value of predicted_tags"):
        Prediction.parse(value)


def test_a_sources_prefix_tells_the_kind_and_other_colons_do_not() -> None:
    assert split_kind("character:sylvie") == ("character", "sylvie")
    assert split_kind("copyright:fate/stay_night:_heaven's_feel") == ("copyright", "fate/stay_night:_heaven's_feel")
    for plain in (":d", ">:(", "year:2020", "artist:", "general:x", "1girl"):
        assert split_kind(plain) == ("general", plain)


def test_captions_have_words_and_faces_stay() -> None:
    tags = ["1girl", "looking_at_viewer", "^_^", "star_(symbol)", "(o)_(o)", ":d"]
    assert caption(tags) == "1girl, looking at viewer, ^_^, star (symbol), (o)_(o), :d"
    assert caption(tags, escape=True) == r"1girl, looking at viewer, ^_^, star \(symbol\), \(o\)_\(o\), :d"
    assert caption([]) == ""


def test_there_are_nineteen_faces_and_each_is_kept_as_it_is() -> None:
    assert len(KAOMOJI) == 19
    assert all("_" in face and caption([face]) == face for face in KAOMOJI)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"top": 0}, "top must be"),
        ({"origin": "guess"}, "origin is one of source, predicted"),
        ({"weighting": "none"}, "weighting is one of inverse, balanced"),
        ({"kinds": ()}, "not none"),
        ({"kinds": ("colour",)}, "kinds of source tags are"),
        ({"origin": "predicted", "kinds": ("artist",)}, "kinds of predicted tags are general, character, not artist"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        VocabularySettings(**wrong)
