"""Recipes as a call names them: of corpora by name or file, of other commands by a YAML file of the call's options.

A file of `--recipe` holds options by their names (`guidance_scale: 2`, `sketch: [a.png, b.png]`), nested or dotted
where settings are (`injection.fidelity`), and under their own names the settings that `--set` takes. What the call
itself gives overrides the file. JSON is YAML, so a training's `recipe.json` and what `--dry-run` prints are recipes.
"""

import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
import yaml

from dataprep.secrets import without_secrets
from jobs.addresses import local_place
from jobs.output import print_result
from pipelines.common.overrides import SettingsError, nearest, override, read_overrides

RECIPE, WRITE_RECIPE = "recipe", "write_recipe"
# Of the call alone, or of documents that say more than a call can: never options of a recipe.
NO_PART = {RECIPE, WRITE_RECIPE, "dry_run", "json_", "help", "replay"}


@dataclass(frozen=True)
class RecipeValues:
    """What a file gives: values of the command's parameters, and settings of `--set`, "KEY=VALUE"."""

    parameters: Mapping[str, Any]
    settings: tuple[str, ...]


def recipe_by_name(name: str, known: Mapping[str, Any]) -> Any:
    """The recipe of this name in `known`, or of this file, whose key `base` (default: plain) names what it changes.

    Raises SettingsError for what is neither, and for settings that do not fit.
    """
    if name in known:
        return known[name]
    if Path(name).is_file():
        values = read_overrides(name)
        return override(recipe_by_name(str(values.pop("base", "plain")), known), values)
    raise SettingsError(f"there is no recipe {name!r} and no such file: {nearest(name, known)}")


def recipe_option(ignored: Collection[str] = ()) -> Any:
    """The option `--recipe` of a command; ignored: keys of documents that are results, and that no call sets."""

    def read(context: typer.Context, file: str) -> str:
        if file and not context.resilient_parsing:
            values = read_recipe(file, list(context.command.params), ignored)
            context.default_map = {**(context.default_map or {}), **values.parameters}
            context.meta[RECIPE] = values.settings
        return file

    return typer.Option(
        "--recipe",
        metavar="FILE",
        help="Options of a YAML file by their names; those of the call override it.",
        is_eager=True,
        callback=read,
        show_default=False,
    )


def write_recipe_option() -> Any:
    """The option `--write-recipe` of a command."""
    return typer.Option(
        "--write-recipe",
        metavar="FILE",
        parser=local_place,
        help="Write the options of this call to a new YAML file for --recipe, and do nothing else.",
        show_default=False,
    )


def read_recipe(file: str, parameters: Collection[Any], ignored: Collection[str] = ()) -> RecipeValues:
    """The recipe in a file, of a command with these parameters.

    Raises SettingsError for a file that cannot be read, and for a key that is no option of a command without `--set`.
    """
    if not Path(file).is_file():
        raise SettingsError(f"--recipe {file}: there is no such file")
    by_name = {_key(parameter): parameter for parameter in parameters if parameter.name not in NO_PART}
    not_here = {_plain(name) for name in NO_PART}
    given, settings = dict[str, Any](), list[str]()
    for key, value in read_overrides(file).items():
        head, _, part = key.partition(".")
        option, many = by_name.get(_plain(key)), by_name.get(_plain(head))
        if option is not None and value is not None:
            given[option.name] = _as_words(value, option)
        elif part and many is not None and many.multiple:  # {name: value} for NAME=VALUE
            given.setdefault(many.name, []).append(f"{part}={_text(value)}")
        elif option is None and key not in ignored:
            if "set" not in by_name or _plain(key) in not_here:
                raise SettingsError(f"{file}: there is no option {key!r}: {nearest(key, by_name)}")
            settings.append(f"{key}={_text(value)}")
    return RecipeValues(given, (*settings, *given.pop("set_", ())))


def add_recipe_settings(context: typer.Context) -> None:
    """Put the settings of the call's recipe before those of its `--set`, which so override them."""
    if settings := context.meta.get(RECIPE):
        context.params["set_"] = [*settings, *context.params["set_"]]


def write_recipe(context: typer.Context) -> None:
    """Where the call has `--write-recipe FILE`: write what it gives, and end. Raises SettingsError for a file that is
    there, so that nobody's recipe is lost. A value that holds a password is left out, and named.
    """
    file = context.params.get(WRITE_RECIPE)
    if not file:
        return
    given, left_out = _parted(dict(_given(context)))
    document = yaml.safe_dump(given, sort_keys=False, allow_unicode=True)
    try:
        with Path(file).open("x", encoding="utf-8") as written:
            written.write(document)
    except FileExistsError as error:
        raise SettingsError(f"--write-recipe {file}: it is there: give another name, or delete it") from error
    print_result(f"{file}: give it with {context.command_path} --recipe {shlex.quote(file)}")
    if left_out:
        print_result(f"a recipe keeps no password; give beside it what was left out: {', '.join(left_out)}")
    raise typer.Exit()


def _parted(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What holds no secret, settings one by one, and how options are called that hold one."""
    kept, left_out = dict[str, Any](), list[str]()
    for key, value in given.items():
        if isinstance(value, Mapping):
            inner, secret = _parted(value)
            kept |= {key: inner} if inner else {}
            left_out += [f"--{key} {name.removeprefix('--')}" for name in secret]
        elif any(without_secrets(word) != word for word in map(_text, value if isinstance(value, list) else [value])):
            left_out.append(f"--{key.replace('_', '-')}")
        else:
            kept[key] = value
    return kept, left_out


def _given(context: typer.Context) -> Iterator[tuple[str, Any]]:
    """What the call, or its recipe, gives, in the order of the help."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name)
        value = context.params.get(parameter.name)
        if parameter.name in NO_PART or (not value and parameter.name == "set_"):
            continue
        if parameter.name == "set_":
            yield "set", dict(item.partition("=")[::2] for item in value or ())
        elif source is not None and source.name != "DEFAULT" and value is not None:
            yield _key(parameter), list(value) if isinstance(value, tuple) else value


def _key(parameter: Any) -> str:
    """By which a recipe names a parameter: as the option, with "_" for "-"."""
    longest = max((name for name in parameter.opts if name.startswith("--")), key=len, default=parameter.name)
    return _plain(longest.removeprefix("--"))


def _plain(key: str) -> str:
    return key.replace("-", "_").replace(".", "_").rstrip("_")


def _as_words(value: Any, parameter: Any) -> Any:
    """The value as the command line would have it: flags as they are, else text, and a list where it takes many."""
    if getattr(parameter, "multiple", False) or parameter.nargs < 0:
        return [_text(item) for item in (value if isinstance(value, list) else [value])]
    return value if isinstance(value, bool) and getattr(parameter, "is_flag", False) else _text(value)


def _text(value: Any) -> str:
    """As it is typed: "a,b" for a list, "none" for nothing."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return "none" if value is None else str(value)
