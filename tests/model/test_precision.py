"""A precision has one name and a spelling that recipes of corpora store; both are understood everywhere."""

import pytest
import torch

from model.precision import SPELLED_OUT, dtype_of, spelled_out
from pipelines.recipes.build_recipe import NetworkSettings


@pytest.mark.parametrize(("short", "whole"), SPELLED_OUT.items())
def test_both_spellings_are_one_dtype(short: str, whole: str) -> None:
    assert dtype_of(short) is dtype_of(whole) is getattr(torch, whole)


def test_others_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no precision 'fp8'; known: fp32, fp16, bf16"):
        spelled_out("fp8")


def test_a_corpus_recipe_stores_the_long_spelling_whichever_was_given() -> None:
    assert NetworkSettings(precision="fp16") == NetworkSettings(precision="float16")
    assert NetworkSettings(precision="fp16").precision == "float16"
