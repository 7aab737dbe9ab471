"""Commands and groups of commands: each is a module, found by its name in a table.

A module of a command has one function `command`, whose docstring is its help; a package of commands has a group
`command`, made here. So adding a command is a file and a name in a table: `COMMANDS` of jobs/cli.py, or a group's own.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from jobs.list_options import repeat_list_options
from jobs.recipe_files import add_recipe_settings, write_recipe
from pipelines.common.overrides import SettingsError, nearest

_METAVARS = {int: "N", float: "X", str: "TEXT", list[str]: "TEXT"}


class PlainCommand(TyperCommand):
    """A command whose help shows what the value of an option looks like, and nothing beside a flag.

    Options that take many values take several at once, and a recipe file gives what the call does not.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain_types(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, repeat_list_options(self.get_params(ctx), args))
        add_recipe_settings(ctx)
        return rest

    def invoke(self, ctx: Any) -> Any:
        write_recipe(ctx)
        return super().invoke(ctx)


class NamingGroup(TyperGroup):
    """A group that answers an unknown command with the nearest valid ones, or with all where none is near; one with a
    default takes what is no command as its first word."""

    default_command = ""

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain_types(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            if self.default_command:
                return super().resolve_command(ctx, [self.default_command, *args])
            raise SettingsError(f"there is no command {args[0]!r}: {nearest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


def command_group(
    package: str, names: Sequence[str], help: str, options: Callable[..., None] | None = None, default: str = ""
) -> typer.Typer:
    """The group of the commands that the modules `names` of `package` have; the help lists them in this order.

    options: a function whose parameters are options of the group itself. default: the command that is meant where the
    first word names none.
    """

    class InOrder(NamingGroup):  # Typer itself puts groups last
        default_command = default

        def list_commands(self, ctx: Any) -> list[str]:
            return list(names)

    group = typer.Typer(
        cls=InOrder,
        help=help,
        callback=options,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for name in names:
        command = import_module(f"{package}.{name}").command
        if isinstance(command, typer.Typer):
            group.add_typer(command, name=name)
        else:
            group.command(name, cls=PlainCommand)(command)
    return group


def _plain_types(parameters: list[Any]) -> list[Any]:
    """The parameters, with N where Typer shows <int range>, TEXT for <str>, and nothing for <bool>."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        elif parameter.param_type_name == "option" and parameter.metavar is None:
            parameter.metavar = _METAVARS.get(parameter.type_descriptor.annotation)
    return parameters
