"""Options made of settings: each setting once, with its help, default and range; a wrong value is a wrong call."""

from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Literal

import pytest
import typer

from jobs.cli import app, run
from jobs.settings_options import GivenSettings, SettingOption, setting_options, settings_options
from model.checkpoint import OWN_SAMPLING
from model.diffusion.sampling_settings import InjectionSettings, SamplingSettings
from model.setting import documented, setting
from pipelines.colorization.picture_settings import PictureSettings
from pipelines.colorization.run_settings import RunSettings
from tests.jobs.command import one_line

COLORIZE = (SamplingSettings(), PictureSettings(), RunSettings())
# What is needed for a call that is complete but for the option in question.
CALLS = {
    "colorize": ["colorize", "--sketch", "s.png", "--out", "o.png"],
    "evaluate": ["evaluate", "--checkpoint", "m", "--corpus", "c", "--out", "o", "--protocol", "self"],
}


# ---- a command of the tests ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bell:
    pitch: float = setting(440.0, help="How high", panel="Sound", least=20, most=20_000)


@dataclass(frozen=True)
class Dials:
    loud: float = setting(0.5, help="How loud", panel="Sound", least=0, most=1)
    times: int = setting(2, help="How often", panel="Sound", least=1)
    way: Literal["up", "down"] | None = setting(None, help="Where to", panel="Way", unset="both")
    window: tuple[float, float] = setting((0.0, 1.0), help="From A to B", panel="Way", metavar="A,B")
    echo: bool = setting(True, help="Also later", panel="Sound")
    speed: int = setting(7, help="How fast", panel="Sound", before_default="the bell's")
    mute: bool = setting(False, help="Not at all", panel="Sound")
    bell: Bell | None = setting(None, help="Also ring", panel="Sound", option="--ring")
    unnamed: int = 0


@pytest.fixture
def dials() -> tuple[typer.Typer, dict[str, Any]]:
    """A command with the options of Dials, and what it receives."""
    received: dict[str, Any] = {}
    command = typer.Typer(add_completion=False)

    @command.command()
    @settings_options(Dials(loud=0.25), panels=("Way", "Sound"))
    def play(given: GivenSettings, name: Annotated[str, typer.Option(rich_help_panel="Way")] = "") -> None:
        received.update(given[Dials], name=name)

    return command, received


def call(command: typer.Typer, *words: str) -> None:
    command(list(words), standalone_mode=False)


def test_a_command_receives_what_the_call_sets_and_nothing_else(dials: tuple[typer.Typer, dict[str, Any]]) -> None:
    command, received = dials
    call(command)
    assert received == {"name": ""}
    call(command, "--loud", "0.25", "--times", "1e1", "--way", "up", "--window", "0.1, 0.5", "--no-echo", "--mute")
    assert received == {
        "name": "", "loud": 0.25, "times": 10, "way": "up", "window": (0.1, 0.5), "echo": False, "mute": True,
    }  # fmt: skip


def test_settings_in_settings_are_options_behind_their_field_and_a_flag_switches_them_on(
    dials: tuple[typer.Typer, dict[str, Any]],
) -> None:
    command, received = dials
    call(command, "--ring", "--bell-pitch", "30")
    assert received == {"name": "", "bell": True, "bell.pitch": 30.0}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--loud", "1.5"), "Invalid value for '--loud': loud=1.5 is not within 0..1"),
        (("--loud", "nan"), "loud=nan is not a number"),
        (("--times", "0"), "times=0 is not a finite number of at least 1"),
        (("--times", "2.5"), "times=2.5 is not a whole number"),
        (("--way", "dwn"), "way=dwn: did you mean down?"),
        (("--window", "1"), "window=1 needs 2 values separated by commas"),
        (("--bell-pitch", "5"), "'--bell-pitch': bell.pitch=5 is not within 20..20000"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(
    dials: tuple[typer.Typer, dict[str, Any]], words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        call(dials[0], *words)
    assert message in refused.value.format_message()


def test_the_help_shows_range_choices_and_default(
    dials: tuple[typer.Typer, dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    call(dials[0], "--help")
    shown = capsys.readouterr().out
    lines = {line.split()[1]: " ".join(line.strip("│ ").split()) for line in shown.splitlines() if "--" in line}
    assert lines["--loud"] == "--loud 0..1 How loud. [default: 0.25]"
    assert lines["--times"].startswith("--times N>=1 How often. [default: 2]")
    assert lines["--speed"].endswith("How fast. [default: (the bell's, or 7)]")
    assert lines["--way"] == "--way up|down Where to. [default: (both)]"
    assert lines["--window"] == "--window A,B From A to B. [default: (0,1)]"
    assert "[default: (on)]" in lines["--echo"]
    assert "default" not in lines["--mute"]
    assert shown.index("─ Way ─") < shown.index("─ Sound ─")
    assert "unnamed" not in shown


def test_an_option_that_is_defined_twice_is_no_command() -> None:
    def play(given: GivenSettings, loud: int = 3) -> None: ...

    with pytest.raises(TypeError, match="defined twice: loud"):
        settings_options(Dials())(play)


# ---- the commands of irodori -----------------------------------------------------------------------------------------


def parameters(command: str) -> dict[str, Any]:
    return {parameter.name: parameter for parameter in typer.main.get_command(app).commands[command].params}  # type: ignore[attr-defined]


def options(*settings: Any) -> list[SettingOption]:
    return [option for part in settings for option in setting_options(part)]


@pytest.mark.parametrize("option", options(*COLORIZE), ids=lambda option: option.name)
def test_every_setting_of_colorize_is_one_option_with_its_help_panel_and_default(option: SettingOption) -> None:
    parameter = parameters("colorize")[option.name]
    assert parameter.help.startswith(option.setting.help)
    assert parameter.rich_help_panel == option.setting.panel
    assert parameter.default == option.default
    assert parameter.opts == [option.declaration().split("/")[0]]


def test_the_help_says_of_what_a_checkpoint_may_set_that_it_may() -> None:
    offered = {option.name: option.shown_default() for option in setting_options(SamplingSettings())}
    assert all(str(offered[name]).startswith("the checkpoint's, or ") for name in OWN_SAMPLING)


@pytest.mark.parametrize("owner", [SamplingSettings, InjectionSettings, PictureSettings, RunSettings])
def test_every_option_has_the_default_of_its_field(owner: type) -> None:
    """All that is documented has a default, and the defaults of a command are those of the class."""
    defaults = {item.name: item.default for item in fields(owner) if item.name in documented(owner)}
    assert MISSING not in defaults.values()
    offered = {option.name: option.default for option in setting_options(owner())}
    same = {name for name in defaults if name != "injection"}
    assert {name: offered[name] for name in same} == {name: defaults[name] for name in same}
    assert offered.get("injection", False) is False


def test_what_a_command_changes_of_the_defaults_is_its_default() -> None:
    offered = parameters("evaluate")
    assert (offered["guidance_scale"].default, offered["steps"].default, offered["ema"].default) == (2.0, 20, False)


@pytest.mark.parametrize("command", ["colorize", "evaluate"])
def test_every_option_has_help_and_is_defined_once(command: str) -> None:
    offered = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    names = [name for parameter in offered for name in (*parameter.opts, *parameter.secondary_opts)]
    assert len(names) == len(set(names))
    assert [parameter.name for parameter in offered if not parameter.help] == []


RANGED = [
    option for option in options(*COLORIZE) if option.setting.least is not None or option.setting.most is not None
]


@pytest.mark.parametrize("option", RANGED, ids=lambda option: option.name)
def test_a_range_is_a_wrong_call_beyond_both_ends(
    option: SettingOption, capsys: pytest.CaptureFixture[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ends = (option.setting.least, option.setting.most)
    beyond = [end + step for end, step in zip(ends, (-1, 1), strict=True) if end is not None]
    assert beyond
    for value in beyond:
        assert run([*CALLS["colorize"], option.declaration(), f"{value:g}"]) == 2
        line = one_line(capsys)
        assert f"'{option.declaration()}': {option.key}={value:g} is not " in line
        assert "irodori colorize --help" in line


@pytest.mark.parametrize("words", [["--steps", "501"], ["--guidance-scale", "-1"], ["--set", "eta=2"]], ids=str)
def test_the_ranges_hold_for_evaluate_too(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert run([*CALLS["evaluate"], *words]) == 2
    assert "is not" in one_line(capsys)
