"""What would act on a terminal is shown and never acts; everything else stays as it is."""

import json
import unicodedata

import pytest

from dataprep.visible import one_line, visible

PLANTED = {
    "a title": "\x1b]0;x\x07",
    "a cleared screen": "\x1b[2J",
    "a line begun again": "\r",
    "one byte for two": "\x9b2J",
    "an override": "\u202e",
    "an isolate": "\u2066",
    "half a character": "\ud800",
    "a backspace": "\b",
    "delete": "\x7f",
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_what_acts_on_a_terminal_is_an_escape(planted: str) -> None:
    shown = visible(f"a{planted}b")
    assert shown.isprintable()
    assert json.loads(f'"{shown}"') == f"a{planted}b"


def test_words_of_every_script_stay_as_they_are() -> None:
    for text in ("夏目友人帳 — ｶﾗｰ", "שלום", "مرحبا", "👩‍🚀🏴󠁧󠁢󠁥󠁮󠁧󠁿", "a\tb\nc", "café", "é"):
        assert visible(text) == text


def test_no_control_is_left_but_tab_and_newline() -> None:
    every = "".join(map(chr, range(0x110000)))
    left = {character for character in visible(every) if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")}
    assert left == {"\t", "\n"}


def test_a_value_within_a_line_keeps_to_its_line() -> None:
    assert one_line("a\nirodori: all is well\tx") == "a\\nirodori: all is well\\tx"
    assert one_line(12) == "12"
