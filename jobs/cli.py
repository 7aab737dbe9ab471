"""The command line `irodori`: parse, build, run. What a command does lives in `pipelines`.

A command is a file in `jobs/commands` and its name in `COMMANDS`. Exit codes: 0 done; 2 the call was wrong; 1 anything
missing, refused or failed beyond the call; 130 and 143 stopped by SIGINT or SIGTERM. Heavy imports happen inside the
commands, so that help and wrong calls answer at once.
"""

import sys
import tempfile
import traceback
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer

from dataprep.errors import DataError
from dataprep.secrets import without_secrets
from dataprep.visible import one_line
from eval.errors import EvalError
from jobs.command_groups import command_group
from jobs.console import silence
from jobs.stopping import Stopping, end_children, sentence
from jobs.surroundings import prepare
from model.errors import ModelError
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError, nearest
from pipelines.common.versions import code_version

REFUSED = (DataError, ModelError, EvalError, PipelineError)

# In the order of the help.
COMMANDS = (
    "corpus",
    "plan",
    "train",
    "colorize",
    "evaluate",
    "sweep",
    "report",
    "weights",
    "lineage",
    "tracking",
    "doctor",
    "demo",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"irodori {code_version()}")
        raise typer.Exit()


def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and end.")
    ] = False,
) -> None:
    """Options of `irodori` itself."""


stopping = Stopping()
app = command_group(
    "jobs.commands",
    COMMANDS,
    help="Reference-based sketch colorization at scale: build a corpus, train, colorize, evaluate.",
    options=_options,
)


def main() -> None:
    """Entry point: turns every failure into one clear line and the right exit code."""
    prepare()
    stopping.listen()
    code = run(sys.argv[1:])
    if stopping.number is not None:
        end_children()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run a command line; returns the exit code."""
    try:
        code, message = _outcome(arguments)
    except (typer.Abort, KeyboardInterrupt):
        code, message = stopping.exit_code(), sentence(arguments)
    except Exception as error:
        code, message = 1, f"unexpected {type(error).__name__}: {error} (the whole story is in {_keep_story()})"
    if code and stopping.number is not None:  # whatever broke while everything was being closed
        code, message = stopping.exit_code(), sentence(arguments)
    if message:
        print(f"irodori: {one_line(without_secrets(message))}", file=sys.stderr)
    return code


def _outcome(arguments: list[str]) -> tuple[int, str]:
    """The exit code, and the line that explains it where there is one: of every failure that is foreseen."""
    try:
        code = int(app(arguments, prog_name="irodori", standalone_mode=False) or 0)
        sys.stdout.flush()
        return code, ""
    except typer.exceptions.TyperException as error:
        return 2, _wrong_call(error, arguments)
    except SettingsError as error:
        return 2, str(error)
    except REFUSED as error:
        return 1, str(error)
    except BrokenPipeError:
        silence(sys.stdout)  # whoever read the output has seen enough
        return 0, ""
    except ImportError as error:
        return 1, f"{error}: run `irodori doctor` to see what is missing and how to mend it"
    except OSError as error:
        return 1, f"{error.filename}: {error.strerror}" if error.filename else str(error)


def _keep_story() -> Path:
    """Write the traceback where the person can send it from, instead of into their face."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="irodori-crash-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
    ) as file:
        file.write(without_secrets(traceback.format_exc()))
    return Path(file.name)


def _wrong_call(error: Any, arguments: list[str]) -> str:
    """A call that typer refused: what is wrong, and where help is; a call without arguments has printed the help."""
    message = error.format_message().strip()
    if not message:
        return ""
    context = getattr(error, "ctx", None)
    if context is not None and hasattr(error, "possibilities"):  # an unknown option
        options = [name for parameter in context.command.params for name in parameter.opts if name.startswith("--")]
        message = f"there is no option {error.option_name}: {nearest(error.option_name, [*options, '--help'])}"
    if message.startswith("Got unexpected extra argument"):  # a shell's drawings/*.png, most often
        message = f"{message.splitlines()[0]}: no option before it takes several values"
    words = takewhile(lambda word: not word.startswith("-"), arguments)
    usage = context.command_path if context else " ".join(["irodori", *words])
    return f"{message.splitlines()[0]} (see: {usage} --help)"
