"""What decides a coloured picture besides its inputs, and how it is read from the words of a call or from a file.

Nothing heavy is imported here, so that a wrong call is answered at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import sqrt
from secrets import randbelow
from typing import Any, Literal

from dataprep.operators.styles import EXTRACTED, REWORKED
from model.diffusion.sampling_settings import (
    RELEASED_SAMPLERS,
    RELEASED_SCHEDULES,
    SEPARATION,
    InjectionSettings,
    SamplingSettings,
    layer_scales,
)
from model.precision import Precision
from model.setting import setting
from pipelines.common.overrides import SettingsError, convert, nearest, override

AUTOFIT, ORIGINAL = "autofit", "original"
LEAST_SIDE, MOST_SIDE = 8, 8192  # px
MOST_SEED = 2**63 - 1  # what every generator of torch takes
RANDOM, DRAWN_SEEDS = "random", 2**32  # a drawn seed is below, so that it can be read and typed
# The panels under which an interface shows settings of a call, beside those of sampling.
INPUT, OUTPUT, LINE_ART, MACHINE = "Input", "Output", "Line art", "Machine"
# Settings that only networks have a use for that keep figure and ground apart, beside those of sampling.
PARTED_SETTINGS = ("sketch_mask_by", "reference_mask_by", "remove_foreground", "remove_background")
# What holds for a picture that was made before a setting was there, where that is not today's default.
BEFORE_THEY_WERE = {"keep_lines": False, "enlargement": "smooth", "color_managed": False}
EXTRACTED_STYLES = ("xdog", "xdog_common", *EXTRACTED, *REWORKED)  # how lines of a colour picture are drawn


@dataclass(frozen=True)
class PictureSettings:
    """All that decides a picture besides sketch, reference, seed and weights.

    By default the result has the sketch's size, and the sketch's own lines over the colour (`dataprep.lines.layers`).
    polarity and levels are those of `dataprep.lines.line_art`, extract is a style of
    `pipelines.extraction.line_extractor`. Raises ValueError for a size or a style that is none, and for a way to read
    line art where lines are extracted.
    """

    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    size: str = setting(
        AUTOFIT,
        help="Of the network's picture: autofit (the area of training, in the sketch's shape), original (the sketch's "
        "size), or WxH (fits inside)",
        panel=OUTPUT,
        metavar="SIZE",
    )
    polarity: Literal["auto", "dark", "light"] = setting(
        "auto", help="Lines are dark or light against the paper; auto finds out", panel=LINE_ART
    )
    levels: bool = setting(True, help="Paper becomes white and ink black; off: as it is drawn", panel=LINE_ART)
    extract: str = setting(
        "",
        help="First draw the line art of a colour picture: xdog, or by a network keras, anime2sketch, manga_line, ...",
        panel=LINE_ART,
        metavar="STYLE",
    )
    keep_lines: bool = setting(
        True,
        help="The sketch's own size, its own lines over the colour; off: the network's picture as it is",
        panel=OUTPUT,
    )
    line_color: Literal["own", "black", "white"] = setting(
        "own", help="Of the lines that are laid over: the sketch's own, or black or white", panel=OUTPUT
    )
    enlargement: Literal["lines", "smooth"] = setting(
        "lines", help="Of the colour to the sketch's size: up to the lines, or smoothly across them", panel=OUTPUT
    )
    color_managed: bool = setting(
        True, help="Read colours by the pictures' colour profiles, and keep the sketch's", panel=OUTPUT
    )
    sketch_mask_by: Literal["lines", "alpha", "empty", "isnet_sketch", "isnetis", "isnet_general"] = setting(
        "lines", help="What finds a sketch's figure: its lines, its transparency, a network", panel=SEPARATION
    )
    reference_mask_by: Literal["alpha", "empty", "isnetis", "isnet_general"] = setting(
        "alpha",
        help="What finds a reference's figure: its transparency, a network; empty: it has none",
        panel=SEPARATION,
    )
    remove_foreground: bool = setting(False, help="Paint the figure of --background white first", panel=SEPARATION)
    remove_background: bool = setting(False, help="Paint what is no figure of the result white", panel=SEPARATION)
    ema: bool = setting(False, help="With the moving average of the checkpoint's weights", panel=INPUT)
    precision: Precision = setting("fp32", help="Of the networks", panel=MACHINE)
    vae_precision: Precision | None = setting(None, help="Of the image codec alone", panel=MACHINE, unset="the same")
    low_memory: bool = setting(
        False, help="Networks take turns on the device, large pictures are decoded in tiles", panel=MACHINE
    )

    def __post_init__(self) -> None:
        if self.size not in (AUTOFIT, ORIGINAL):
            _box(self.size)
        if self.extract and self.extract not in EXTRACTED_STYLES:
            raise ValueError(f"there is no style {self.extract!r}: {nearest(self.extract, EXTRACTED_STYLES)}")
        if self.extract and (self.polarity != "auto" or not self.levels):
            raise ValueError("extracted lines are black on white: polarity and levels have no say")
        if self.line_color != "own" and not self.keep_lines:
            raise ValueError(f"line_color={self.line_color} is of lines that are laid over: keep_lines is off")

    def document(self) -> dict[str, Any]:
        """As JSON takes it; `picture_settings` reads it."""
        return asdict(self)


def target_size(size: str, sketch: tuple[int, int], trained: tuple[int, int]) -> tuple[int, int]:
    """(width, height) at which a sketch of (width, height) is coloured; its aspect ratio is kept."""
    if size == ORIGINAL:
        return sketch
    if size == AUTOFIT:
        scale = sqrt(trained[0] * trained[1] / (sketch[0] * sketch[1]))
    else:
        box = _box(size)
        scale = min(box[0] / sketch[0], box[1] / sketch[1])
    return max(1, round(sketch[0] * scale)), max(1, round(sketch[1] * scale))


def seeds_of(word: str, variations: int = 1) -> range:
    """As many seeds from the number that `word` is, or from a drawn one where it is "random". Raises SettingsError."""
    if word == RANDOM:
        first = randbelow(DRAWN_SEEDS)
    elif word.isascii() and word.isdigit() and len(word) <= len(str(MOST_SEED)) and int(word) <= MOST_SEED:
        first = int(word)
    else:
        raise SettingsError(f"--seed {word} is neither {RANDOM} nor a whole number within 0..{MOST_SEED}")
    if first + variations - 1 > MOST_SEED:
        raise SettingsError(f"--seed {word} with --variations {variations}: the last seed is more than {MOST_SEED}")
    return range(first, first + variations)


def sampling_settings(values: Mapping[str, Any], base: SamplingSettings | None = None) -> SamplingSettings:
    """`base` (default: the defaults) with `values` under the names of SamplingSettings, such as "injection.fidelity".

    "injection" (true or false) or a part of it switches the injection on; "schedule", a schedule of the released
    interface, stands for spacing and sigma_schedule; a spacing of `base`, and noise levels that it has from a released
    sampler's name, leave with its sampler. Raises SettingsError.
    """
    settings, values = base or SamplingSettings(), _without_schedule(values)
    if "sampler" in values:
        released = (settings.sampler, settings.sigma_schedule) in RELEASED_SAMPLERS.values()
        settings = replace(settings, spacing=None, sigma_schedule=None if released else settings.sigma_schedule)
    if "injection" in values:
        injects = convert("injection", values["injection"], bool)
        settings = replace(settings, injection=(settings.injection or InjectionSettings()) if injects else None)
    if settings.injection is None and any(name.startswith("injection.") for name in values):
        settings = replace(settings, injection=InjectionSettings())
    return override(settings, {name: value for name, value in values.items() if name != "injection"})


def _without_schedule(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values, with spacing and sigma_schedule where they name a released schedule."""
    if "schedule" not in values:
        return values
    others, parts = dict(values), ("spacing", "sigma_schedule")
    name = others.pop("schedule")
    if name not in RELEASED_SCHEDULES:
        raise SettingsError(f"there is no schedule {name!r}: {nearest(str(name), RELEASED_SCHEDULES)}")
    if twice := [part for part in parts if part in others]:
        raise SettingsError(f"schedule {name!r} means a spacing and noise levels: leave out {' and '.join(twice)}")
    return others | dict(zip(parts, RELEASED_SCHEDULES[name], strict=True))


def attention_scales(words: Iterable[str]) -> tuple[float, ...]:
    """One factor for each attention layer from words like "semantics=0.5", in order. Raises SettingsError."""
    scales = {}
    for word in words:
        name, _, scale = word.partition("=")
        try:
            scales[name.strip()] = float(scale)
        except ValueError as error:
            raise SettingsError(f"--attention-scale {word!r} is not of the form NAME=NUMBER") from error
    try:
        return layer_scales(scales)
    except ValueError as error:
        raise SettingsError(f"--attention-scale: {error}") from error


def picture_settings(document: Mapping[str, Any]) -> PictureSettings:
    """The settings of `PictureSettings.document`, of any version. Raises SettingsError for what is none."""
    values = dict(BEFORE_THEY_WERE) | dict(document)
    sampling = values.pop("sampling", {})
    if not isinstance(sampling, Mapping):
        raise SettingsError("sampling must be a mapping of settings")
    injection = sampling.get("injection") or {}
    if not isinstance(injection, Mapping):
        raise SettingsError("sampling.injection must be a mapping of settings")
    flat = {name: value for name, value in sampling.items() if name != "injection"}
    flat |= {f"injection.{name}": value for name, value in injection.items()}
    return override(PictureSettings(sampling_settings(flat)), values)


def _box(size: str) -> tuple[int, int]:
    width, separator, height = size.lower().partition("x")
    sides = [int(side) for side in (width, height) if side.isascii() and side.isdigit() and len(side) <= 5]
    if not separator or len(sides) != 2 or not all(LEAST_SIDE <= side <= MOST_SIDE for side in sides):
        raise ValueError(
            f"size {size} is neither {AUTOFIT} nor {ORIGINAL} nor of the form WxH, such as 512x768 "
            f"(sides of {LEAST_SIDE} to {MOST_SIDE})"
        )
    return sides[0], sides[1]
