"""Options of a command from the fields of the settings that they set, so that a setting is written once.

A field that was declared by `model.setting.setting` becomes an option: `guidance_scale` is `--guidance-scale`, the
field `fidelity` of the settings in a field `injection` is `--injection-fidelity`. Type, default, help, panel and range
are the field's; a value is read as `--set` reads it. A field that holds settings or None becomes a flag, which switches
them on.

    @settings_options(SamplingSettings(), panels=("Sampling", "Guidance"))
    def command(out: str, given: GivenSettings) -> None: ...

The command receives under `given` what the call sets; what it leaves to the defaults is absent.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import wraps
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from model.setting import Setting, documented
from pipelines.common.overrides import convert

GivenSettings = Mapping[type, Mapping[str, Any]]  # by settings class: dotted names of its settings, and their values
WIDEST_CHOICE = 16  # characters of choices that a column of the help has room for at 80 columns


@dataclass(frozen=True)
class SettingOption:
    """An option that sets the setting `key` of `owner`, such as "injection.fidelity" of SamplingSettings."""

    owner: type
    key: str
    default: Any
    kind: Any
    setting: Setting

    @property
    def name(self) -> str:
        """The parameter of the command: `injection_fidelity`."""
        return self.key.replace(".", "_")

    @property
    def is_flag(self) -> bool:
        return self.kind is bool

    def declaration(self) -> str:
        """The option on the command line; a flag that is on by default has an opposite."""
        option = self.setting.option or "--" + self.name.replace("_", "-")
        return f"{option}/--no-{option[2:]}" if self.is_flag and self.default else option

    def help(self) -> str:
        """A sentence, with the choices where there is no room for them beside the option."""
        choices = "" if self.metavar() == _choices(self.kind) else _choices(self.kind).replace("|", ", ")
        return self.setting.help + (f": {choices}." if choices else "" if self.setting.help.endswith("...") else ".")

    def metavar(self) -> str:
        """What the value looks like: as the setting gives it, its range or choices; "": as its type does."""
        least, most, choices = self.setting.least, self.setting.most, _choices(self.kind)
        if self.setting.metavar or self.is_flag:
            return self.setting.metavar
        if least is not None and most is not None:
            return f"{least:g}..{most:g}"
        if least is not None:
            return f"{'N' if self.kind is int else 'X'}>={least:g}"
        if choices and len(choices) <= WIDEST_CHOICE:
            return choices
        return "NAME" if choices else ""

    def shown_default(self) -> str | bool:
        """The default as a person types it; False: none is shown."""
        if self.is_flag:
            return "on" if self.default else False
        if self.default is None or self.default == "":
            return self.setting.unset or False
        if self.setting.before_default:
            return f"{self.setting.before_default}, or {self.default}"
        return ",".join(f"{part:g}" for part in self.default) if isinstance(self.default, tuple) else True

    def read(self, text: Any) -> Any:
        """The value that a word of the call stands for. Raises BadParameter."""
        if text is None or text == self.default:
            return text
        try:
            value = convert(self.key, text, self.kind)
            if value is not None:
                self.setting.check(self.key, value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        return value

    def parameter(self, panel: str) -> inspect.Parameter:
        """As Typer takes it, under a panel of the help."""
        option = typer.Option(
            self.declaration(),
            help=self.help(),
            rich_help_panel=panel or self.setting.panel,
            metavar=self.metavar() or None,
            show_default=self.shown_default(),
            parser=None if self.is_flag else self.read,
        )
        annotation = Annotated[bool, option] if self.is_flag else Annotated[str | None, option]
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=self.default, annotation=annotation)


def settings_options(
    *defaults: Any, only: Sequence[str] = (), panel: str = "", panels: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a command with the options of settings objects, whose values are the defaults of this command.

    only: the names of those to take; all by default. panel: of all options, instead of their own. panels: the order in
    which the help shows panels. Within a panel the options stand where the command has its parameter `given`.
    """
    options = [option for default in defaults for option in setting_options(default)]
    options = [option for option in options if not only or option.name in only]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command).parameters
        takes_context, place = "context" in own, list(own).index("given")

        @wraps(command)
        def run(context: typer.Context, **values: Any) -> None:
            given: dict[type, dict[str, Any]] = {option.owner: {} for option in options}
            for option in options:
                value = values.pop(option.name)
                if is_given(context, option.name):
                    given[option.owner][option.key] = value
            command(**({"context": context} if takes_context else {}), **values, given=given)

        parameters = list(own.values())
        parameters[place : place + 1] = [option.parameter(panel) for option in options]
        _set_parameters(run, [parameter for parameter in parameters if parameter.name != "context"], panels)
        return run

    return decorate


def setting_options(settings: Any, prefix: str = "", owner: type | None = None) -> Iterator[SettingOption]:
    """The options of a settings object, in the order of its fields; its values are their defaults."""
    kinds = get_type_hints(type(settings))
    for name, setting in documented(settings).items():
        key, kind, value, owner = prefix + name, kinds[name], getattr(settings, name), owner or type(settings)
        inner: Any = next((part for part in (kind, *get_args(kind)) if is_dataclass(part)), None)
        if inner is None:
            yield SettingOption(owner, key, value, kind, setting)
            continue
        if inner is not kind:
            yield SettingOption(owner, key, value is not None, bool, setting)
        yield from setting_options(inner() if value is None else value, f"{key}.", owner)


def is_given(context: typer.Context, name: str) -> bool:
    """Whether the call itself has the parameter, so that its value is no default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _set_parameters(run: Any, parameters: Sequence[inspect.Parameter], panels: Sequence[str]) -> None:
    """Give a command the parameters that Typer makes options of, in the order of their panels."""
    names = [parameter.name for parameter in parameters]
    if twice := {name for name in names if names.count(name) > 1}:
        raise TypeError(f"these options are defined twice: {', '.join(sorted(twice))}")
    in_order = sorted(parameters, key=lambda parameter: _place(_panel(parameter), panels))
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    every = [context, *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in in_order)]
    run.__signature__ = inspect.Signature(every)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in every}


def _place(panel: str | None, panels: Sequence[str]) -> int:
    return list(panels).index(panel) if panel is not None and panel in panels else -1


def _panel(parameter: inspect.Parameter) -> str | None:
    return next((part.rich_help_panel for part in get_args(parameter.annotation)[1:]), None)


def _choices(kind: Any) -> str:
    """`a|b` where the kind is a choice, or one or None."""
    literal = next((part for part in (kind, *get_args(kind)) if get_origin(part) is Literal), None)
    return "" if literal is None else "|".join(get_args(literal))
