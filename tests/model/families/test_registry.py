"""Families are found by name: those that ship and those that the environment registers, and no others."""

import pytest

from model.errors import ModelError
from model.families.registry import SHIPPED, families, family, stage_kind


def test_a_family_that_ships_and_one_of_the_environment_are_found() -> None:
    assert families() == SHIPPED | {"duel": "tests.families.duel"}
    assert [family(name).name for name in families()] == list(families())


def test_without_the_variable_only_those_that_ship_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IRODORI_FAMILIES")
    assert families() == SHIPPED
    with pytest.raises(ModelError, match="no model family 'duel': known: v1"):
        family("duel")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean duel"):
        family("duell")
    with pytest.raises(ModelError, match=r"no stage 'duel\.paint': duel\.draw, duel\.tune"):
        stage_kind("duel.paint")


def test_a_module_that_nobody_registered_is_never_imported() -> None:
    with pytest.raises(ModelError, match="no model family 'antigravity'"):
        family("antigravity")


def test_a_registered_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRODORI_FAMILIES", "no_such_studio.gan")
    with pytest.raises(ModelError, match=r"IRODORI_FAMILIES names no_such_studio\.gan, which cannot be imported"):
        family("gan")
