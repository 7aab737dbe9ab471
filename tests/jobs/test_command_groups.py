"""Adding a command is a file and a name in a table: every file of a command is in one table, and has one function."""

import ast
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import typer

import jobs.commands
from jobs import cli
from jobs.commands import corpus, weights

TABLES = {"jobs.commands": cli.COMMANDS, corpus.__name__: corpus.COMMANDS, weights.__name__: weights.COMMANDS}
TEXTS = {"inspection_text", "stored_text"}  # what several or long commands print
MODULES = [f"{package}.{name}" for package, names in TABLES.items() for name in names]


def names_in(package: ModuleType) -> set[str]:
    """The modules and packages of a package."""
    folder = Path(str(package.__file__)).parent
    files = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    return files - {"__init__"}


@pytest.mark.parametrize("package", [jobs.commands, corpus, weights], ids=lambda package: package.__name__)
def test_every_file_of_a_command_is_in_the_table_once(package: ModuleType) -> None:
    table = TABLES[package.__name__]
    assert len(table) == len(set(table))
    assert names_in(package) - TEXTS == set(table)


@pytest.mark.parametrize("name", MODULES)
def test_a_command_is_one_function_or_one_group(name: str) -> None:
    module = import_module(name)
    assert callable(module.command)
    public = {value for key, value in vars(module).items() if not key.startswith("_") and callable(value)}
    own = {value for value in public if getattr(value, "__module__", "") == name and not isinstance(value, type)}
    assert own <= {module.command}
    assert isinstance(module.command, typer.Typer) or module.command.__doc__


@pytest.mark.parametrize("package", [jobs.commands, corpus, weights], ids=lambda package: package.__name__)
def test_the_help_lists_the_commands_in_the_order_of_the_table(
    package: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    group = package.__name__.partition("jobs.commands.")[2]
    assert cli.run([*group.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    listed = [words[1] for line in shown.splitlines() if len(words := line.split()) > 1 and words[0] == "│"]
    assert [name for name in listed if name in TABLES[package.__name__]] == list(TABLES[package.__name__])


@pytest.mark.parametrize("command", [[], ["train"], ["corpus", "gc"]], ids=str)
def test_no_type_stands_beside_a_flag(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "<bool>" not in shown
    assert "<int" not in shown


def test_the_command_line_names_no_command_but_in_its_table() -> None:
    """No function and no import of a command in cli.py: it parses, runs and reports failures."""
    tree = ast.parse(Path(str(cli.__file__)).read_text())
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [module for module in imported if module.startswith("jobs.commands")]
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert set(cli.COMMANDS) <= words
    assert not functions & set(cli.COMMANDS)
