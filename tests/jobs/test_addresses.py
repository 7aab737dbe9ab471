"""Every option and argument of every command that takes an address, found by walking the table of commands."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from jobs import addresses
from jobs.cli import app, run
from tests.jobs.command import one_line

PARSERS = (
    addresses.place,
    addresses.local_place,
    addresses.weights_place,
    addresses.cluster,
    addresses.tracking_store,
)
# What else is a word: a new option is in neither list, and fails here until somebody has decided what it takes.
WORDS = {
    "attention_scale", "columns", "device", "kinds", "loader", "megapixels", "metric", "model_size", "name", "origin",
    "pictures", "price", "protocol", "rebuild", "recipe", "retry_rejects", "schedule", "seed", "set_", "share", "size",
    "split", "stage", "store", "style", "to", "weighting",
}  # fmt: skip


def parameters(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """(words of the command, the command, a parameter of it that takes words) of the whole table."""
    command = command or get_command(app)
    for name, inner in getattr(command, "commands", {}).items():
        yield from parameters(inner, (*path, name))
    for parameter in () if hasattr(command, "commands") else command.params:
        if parameter.type_descriptor.annotation in (str, list[str]):
            yield path, command, parameter


def parser_of(parameter: Any) -> Any:
    return parameter.type_descriptor.parameter_info.parser


TAKING = [entry for entry in parameters() if parser_of(entry[2]) in PARSERS]


def call(path: tuple[str, ...], command: Any, tried: Any, value: str) -> list[str]:
    """A call that is complete but for what it names: `value` for the parameter that is tried."""
    options, arguments = [], []
    for parameter in command.params:
        given = value if parameter is tried else "x"
        if parameter is not tried and not parameter.required:
            continue
        if parameter.param_type_name == "argument":
            arguments.append(given)
        else:
            options += [parameter.opts[0], given]
    return [*path, *options, *arguments]


def test_every_word_of_a_call_is_an_address_or_known_to_be_none() -> None:
    undecided = {p.name for _, _, p in parameters() if parser_of(p) is None and p.name not in WORDS}
    assert undecided == set()
    assert len(TAKING) > 40


@pytest.mark.parametrize("value", ["gs://b/o", ""])
@pytest.mark.parametrize("entry", TAKING, ids=lambda entry: " ".join([*entry[0], entry[2].opts[0]]))
def test_an_unknown_store_and_an_empty_address_are_wrong_calls(
    entry: tuple[tuple[str, ...], Any, Any], value: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(call(*entry, value)) == 2
    line = one_line(capsys)
    assert "Invalid value" in line
    assert value in line
    assert sorted(path.name for path in desk.iterdir()) == ["bad.png", "empty"]


def test_a_file_address_is_the_path(corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["corpus", "info", Path(corpus).as_uri(), "--json"]) == 0
    by_address = capsys.readouterr().out
    assert run(["corpus", "info", f"{corpus}/../{Path(corpus).name}/", "--json"]) == 0
    assert by_address.count("\n") == capsys.readouterr().out.count("\n")


@pytest.mark.parametrize(
    ("value", "taken"), [("auto", True), ("10.0.0.1:6379", True), ("ray://head:10001", True), ("http://head", False)]
)
def test_a_cluster_is_auto_or_a_host(value: str, taken: bool) -> None:
    if taken:
        assert addresses.cluster(value) == value
    else:
        with pytest.raises(Exception, match="no Ray cluster"):
            addresses.cluster(value)
