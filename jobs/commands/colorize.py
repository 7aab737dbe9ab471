"""The command `irodori colorize`: every control of sampling as an option, in groups; `--replay` makes one again."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.console import Console
from jobs.options import DryRun, Json, engines, log_folder, tell
from model.diffusion.sampling_settings import (
    DUAL_RULES,
    LAYER_GROUPS,
    MOST_STEPS,
    NEAREST,
    RELEASED_SCHEDULES,
    SAMPLERS,
    InjectionSettings,
    SamplingSettings,
)
from pipelines.colorization.picture_settings import RANDOM, seeds_of
from pipelines.common.overrides import SettingsError, override, parse_assignments

if TYPE_CHECKING:
    from pipelines.colorization.colorize import Failed, Made
    from pipelines.colorization.jobs import ColorizeJob, RunSettings
    from pipelines.colorization.picture_settings import PictureSettings
    from pipelines.colorization.replay import Replayed

INPUT, OUTPUT, LINES, SAMPLING, GUIDANCE, ATTENTION, MACHINE = (
    "Input", "Output", "Line art", "Sampling", "Guidance", "Attention", "Machine",
)  # fmt: skip


def _option(panel: str, help_: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, help=help_, **more)


Sketch = Annotated[list[str], _option(INPUT, "Line art: files or directories; may be repeated.")]
Reference = Annotated[
    list[str], _option(INPUT, "Pictures whose colours to take; every sketch meets each. None: colours freely.")
]
Pair = Annotated[bool, _option(INPUT, "The nth sketch meets the nth reference, and no other.", "--pair")]
Checkpoint = Annotated[str, _option(INPUT, "A trained or converted model; default: the one of `irodori demo`.")]
Ema = Annotated[bool, _option(INPUT, "With the moving average of the checkpoint's weights.", "--ema")]
Replay = Annotated[str, _option(INPUT, "Make this picture again and compare; inputs that moved may be named.")]

Out = Annotated[str, _option(OUTPUT, "A .png file for one picture, else a directory.")]
Size = Annotated[
    str,
    _option(
        OUTPUT,
        "Colour inside this size, or at the trained area, or at the sketch's own size.",
        metavar="WxH|autofit|original",
    ),
]
Layers = Annotated[bool, _option(OUTPUT, "Also write colour, lines and mask as files of their own.", "--layers")]
Overwrite = Annotated[bool, _option(OUTPUT, "Also replace PNGs that do not say that irodori made them.", "--overwrite")]
Again = Annotated[bool, _option(OUTPUT, "Make all anew, also what is there and would not differ.", "--again")]
Told = Annotated[bool, _option(OUTPUT, "Tell in each PNG how it was made.", "--provenance/--no-provenance")]

Polarity = Annotated[str, _option(LINES, "Lines are dark or light against the paper; auto finds out.")]
Levels = Annotated[
    bool, _option(LINES, "Paper becomes white and ink black; off: as it is drawn.", "--levels/--no-levels")
]
Extract = Annotated[
    str,
    _option(
        LINES,
        "First draw the line art of a colour picture: xdog, or by a network keras, anime2sketch, manga_line, hed, ...",
        metavar="STYLE",
    ),
]
KeepLines = Annotated[
    bool, _option(LINES, "Lay the artist's own lines over the colour, at their own size.", "--keep-lines")
]

Seed = Annotated[str, _option(SAMPLING, "Decides the initial noise; random: drawn, and told.", metavar="N|random")]
Variations = Annotated[int, _option(SAMPLING, "Pictures of each pair: seeds SEED, SEED+1, ...", min=1, max=10_000)]
Steps = Annotated[int | None, _option(SAMPLING, "Sampling steps; default 20.", min=1, max=MOST_STEPS)]
Sampler = Annotated[
    str | None, _option(SAMPLING, f"The scheduler, also by its released name; default {next(iter(SAMPLERS))}.")
]
Spacing = Annotated[str | None, _option(SAMPLING, "leading, trailing or linspace timesteps; default: the sampler's.")]
SigmaSchedule = Annotated[
    str | None, _option(SAMPLING, "karras, exponential, beta or uniform; default: the sampler's.")
]
Schedule = Annotated[
    str | None, _option(SAMPLING, f"Spacing and levels by the released name: {', '.join(RELEASED_SCHEDULES)}.")
]
Eta = Annotated[float | None, _option(SAMPLING, "Noise that DDIM adds, 0 to 1; default 0.")]
Set = Annotated[
    list[str],
    _option(SAMPLING, "Any of these settings by name, such as injection.start=0.2.", "--set", metavar="K=V"),
]

GuidanceScale = Annotated[float | None, _option(GUIDANCE, "How strongly to follow the reference; default 4.")]
SketchGuidance = Annotated[float | None, _option(GUIDANCE, "How strongly to follow the sketch; default 1, off.")]
DualRule = Annotated[str | None, _option(GUIDANCE, f"How both meet: {' or '.join(DUAL_RULES)}; default mean.")]
Window = Annotated[
    str | None, _option(GUIDANCE, "The reference counts only from A to B (0 noise, 1 clean).", metavar="A,B")
]
NoWindow = Annotated[str | None, _option(GUIDANCE, "The reference does not count from A to B.", metavar="A,B")]
ReferencePadding = Annotated[
    float | None, _option(GUIDANCE, "White beside the reference: its width times 1 to 2, against its layout.")
]

ReferenceStrength = Annotated[float | None, _option(ATTENTION, "Factor of all attention to the reference.")]
SketchStrength = Annotated[float | None, _option(ATTENTION, "Factor of the sketch's hints.")]
AttentionScale = Annotated[
    list[str],
    _option(ATTENTION, f"Factor of a layer or of {', '.join(LAYER_GROUPS)}; may be repeated.", metavar="NAME=X"),
]
Inject = Annotated[bool, _option(ATTENTION, "Self-attention also reads the reference (twice the time).", "--inject")]
InjectionFidelity = Annotated[
    float | None, _option(ATTENTION, "Keeps the injection out of the branch without reference, 0 to 1.")
]
InjectionStart = Annotated[float | None, _option(ATTENTION, "Share of the denoising before the injection begins.")]
InjectionSketch = Annotated[float | None, _option(ATTENTION, "Factor of the reference's own hints, 0 to 2.")]

Device = Annotated[str, _option(MACHINE, "auto (a GPU where there is one), cpu, cuda, cuda:1, ...")]
Precision = Annotated[str, _option(MACHINE, "fp32, fp16 or bf16.")]
VaePrecision = Annotated[str | None, _option(MACHINE, "Of the image codec alone; default: the same.")]
BatchSize = Annotated[int, _option(MACHINE, "Pictures of one size that are coloured together.", min=1)]
LowMemory = Annotated[
    bool, _option(MACHINE, "Networks take turns on the device, large pictures are decoded in tiles.", "--low-memory")
]
Compile = Annotated[bool, _option(MACHINE, "Compile the network first: for many pictures of few sizes.", "--compile")]

# Options that are settings of the same name.
SAMPLING_OPTIONS = (
    "sampler", "steps", "spacing", "sigma_schedule", "schedule", "eta", "guidance_scale", "sketch_guidance_scale",
    "dual_rule", "guidance_window", "no_guidance_window", "reference_padding", "reference_strength", "sketch_strength",
)  # fmt: skip
PICTURE_OPTIONS = (
    "size", "polarity", "levels", "extract", "keep_lines", "ema", "precision", "vae_precision", "low_memory",
)  # fmt: skip
RUN_OPTIONS = ("device", "batch_size", "layers", "told", "overwrite", "again")
# What else a replay may be told: the rest is in the picture.
WITH_REPLAY = {
    "replay", "out", "sketch", "reference", "checkpoint", "device", "compile_", "layers", "overwrite",
    "json_", "dry_run",
}  # fmt: skip


def colorize(
    context: typer.Context,
    sketch: Sketch = [],  # noqa: B006 (typer reads the defaults, nothing changes them)
    reference: Reference = [],  # noqa: B006
    pair: Pair = False,
    checkpoint: Checkpoint = "",
    ema: Ema = False,
    replay: Replay = "",
    out: Out = "",
    size: Size = "autofit",
    layers: Layers = False,
    told: Told = True,
    overwrite: Overwrite = False,
    again: Again = False,
    dry_run: DryRun = False,
    json_: Json = False,
    polarity: Polarity = "auto",
    levels: Levels = True,
    extract: Extract = "",
    keep_lines: KeepLines = False,
    seed: Seed = "0",
    variations: Variations = 1,
    sampler: Sampler = None,
    steps: Steps = None,
    spacing: Spacing = None,
    sigma_schedule: SigmaSchedule = None,
    schedule: Schedule = None,
    eta: Eta = None,
    guidance_scale: GuidanceScale = None,
    sketch_guidance_scale: SketchGuidance = None,
    dual_rule: DualRule = None,
    guidance_window: Window = None,
    no_guidance_window: NoWindow = None,
    reference_padding: ReferencePadding = None,
    reference_strength: ReferenceStrength = None,
    sketch_strength: SketchStrength = None,
    attention_scale: AttentionScale = [],  # noqa: B006
    inject: Inject = False,
    injection_fidelity: InjectionFidelity = None,
    injection_start: InjectionStart = None,
    injection_sketch_strength: InjectionSketch = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    vae_precision: VaePrecision = None,
    batch_size: BatchSize = 4,
    low_memory: LowMemory = False,
    compile_: Compile = False,
    set_: Set = [],  # noqa: B006
) -> None:
    """Colour sketches after reference pictures, or after none. The same call again makes only what is missing."""
    given = _given(context)
    if replay:
        _replay(replay, given)
        return
    if missing := [name for name in ("sketch", "out") if name not in given]:
        raise SettingsError(f"--{missing[0]} is missing: give line art and where the pictures go, or --replay FILE")
    if pair and not reference:
        raise SettingsError("--pair needs --reference")
    seeds, drawn = seeds_of(seed, variations), seed == RANDOM
    settings, say = _picture_settings(given), Console(sys.stdout, sys.stderr).say
    if (named := parse_assignments(given.get("set_", [])).get("sampler", sampler)) in NEAREST:
        say(f"sampler {named!r}: no equal in diffusers; the nearest, {settings.sampling.sampler}, is taken")
    from pipelines.colorization.jobs import check_targets, find_pictures, plan_jobs
    from pipelines.common.addresses import check_buckets

    check_buckets(*sketch, *reference, checkpoint, out)
    jobs = plan_jobs(find_pictures(sketch, say), find_pictures(reference, say), out, seeds, pair, drawn)
    from pipelines.weights.checkpoints import checkpoint_uri, demo_checkpoint

    address, run = checkpoint_uri(checkpoint or demo_checkpoint()), _run_settings(given)
    check_targets(jobs, run, drawn)
    if drawn:
        say(f"--seed {seeds[0]} was drawn")
    if extract:
        from pipelines.extraction.line_extractor import extractor_sha256

        extractor_sha256(extract)  # weights that are missing are told before anything is made
    _make(jobs, address, settings, run, given)


def _given(context: typer.Context) -> dict[str, Any]:
    """What the call says, by parameter; what it leaves to defaults is absent."""
    told = {name: value for name, value in context.params.items() if value is not None and value != []}
    return {name: value for name, value in told.items() if _source(context, name) != "DEFAULT"}


def _source(context: typer.Context, name: str) -> str:
    source = context.get_parameter_source(name)
    return "DEFAULT" if source is None else source.name


def _picture_settings(given: dict[str, Any]) -> "PictureSettings":
    from pipelines.colorization.picture_settings import PictureSettings, attention_scales, sampling_settings

    values = {name: given[name] for name in SAMPLING_OPTIONS if name in given}
    parts = ("fidelity", "start", "sketch_strength")
    values |= {f"injection.{part}": given[f"injection_{part}"] for part in parts if f"injection_{part}" in given}
    if "attention_scale" in given:
        values["attention_scales"] = attention_scales(given["attention_scale"])
    base = SamplingSettings(injection=InjectionSettings() if given.get("inject") else None)
    sampling = sampling_settings(values | parse_assignments(given.get("set_", [])), base)
    return override(PictureSettings(sampling), {name: given[name] for name in PICTURE_OPTIONS if name in given})


def _run_settings(given: dict[str, Any]) -> "RunSettings":
    from pipelines.colorization.jobs import RunSettings

    values = {name: given[name] for name in RUN_OPTIONS if name in given}
    return RunSettings(**values, compile=given.get("compile_", False))


def _make(
    jobs: Sequence["ColorizeJob"],
    checkpoint: str,
    settings: "PictureSettings",
    run: "RunSettings",
    given: dict[str, Any],
) -> None:
    """Colour, tell each picture as it is there, and fail at the end where one could not be made."""
    if given.get("dry_run"):
        tell(json.dumps(_plan(jobs, checkpoint, settings, run), indent=2))
        return
    from pipelines.colorization.colorize import Failed
    from pipelines.colorization.colorize import colorize as make
    from pipelines.colorization.jobs import folder_of
    from pipelines.common.errors import PipelineError

    outcomes, as_json = [], given.get("json_", False)
    with engines(log_folder(folder_of(jobs[0].out)), "colorize") as (console, _):
        for outcome in make(jobs, checkpoint, settings, run, console.progress):
            outcomes.append(outcome)
            if not as_json:
                _say(console, outcome)
        if as_json:
            console.result(json.dumps(_document(outcomes), indent=2))
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    if failed and as_json:
        raise typer.Exit(1)
    if failed:
        raise PipelineError(f"{len(failed)} of {len(jobs)} pictures could not be made, the first: {failed[0].reason}")


def _say(console: Console, outcome: "Made | Failed") -> None:
    from pipelines.colorization.colorize import Failed

    if isinstance(outcome, Failed):
        console.say(f"not made: {outcome.job.out}: {outcome.reason}")
        return
    for address in (outcome.job.out, *outcome.layers):
        console.result(address)


def _plan(
    jobs: Sequence["ColorizeJob"], checkpoint: str, settings: "PictureSettings", run: "RunSettings"
) -> dict[str, Any]:
    """What would be made, and how; a checkpoint or device that cannot be used is told already."""
    from pipelines.colorization.colorize import Colorist

    metadata = Colorist(checkpoint, settings, run).metadata
    return {
        "checkpoint": {"address": checkpoint, "stage": metadata.stage, "trained_at": [metadata.width, metadata.height]},
        "settings": settings.document(),
        "run": asdict(run),
        "pictures": [asdict(job) for job in jobs],
    }


def _document(outcomes: Sequence["Made | Failed"]) -> dict[str, Any]:
    from pipelines.colorization.colorize import Made

    made = [outcome for outcome in outcomes if isinstance(outcome, Made)]
    failed = [outcome for outcome in outcomes if not isinstance(outcome, Made)]
    return {
        "made": [asdict(item.job) | {k: v for k, v in asdict(item).items() if k != "job"} for item in made],
        "failed": [asdict(item.job) | {"reason": item.reason} for item in failed],
    }


def _replay(file: str, given: dict[str, Any]) -> None:
    """Make the picture in `file` again, and say whether it is the same."""
    if refused := sorted(_flag(name) for name in given.keys() - WITH_REPLAY):
        raise SettingsError(f"--replay takes its settings from the picture: leave out {', '.join(refused)}")
    inputs = {}
    for name in ("sketch", "reference"):
        named = given.get(name, [])
        if len(named) > 1:
            raise SettingsError(f"--replay takes one --{name}: where it lies now")
        inputs[name] = named[0] if named else None
    from pipelines.colorization.jobs import folder_of, is_png, replay_out
    from pipelines.common.addresses import check_buckets

    out = given.get("out") or replay_out(file)
    if not is_png(out):
        raise SettingsError(f"--out {out}: a replay is one .png file")
    check_buckets(file, out, *inputs.values(), given.get("checkpoint"))
    from pipelines.colorization.replay import Moved, plan_replay, replay

    run = _run_settings(given)
    job, told = plan_replay(file, out, Moved(**inputs, checkpoint=given.get("checkpoint")), run)
    if given.get("dry_run"):
        tell(json.dumps(_plan([job], told.checkpoint.address, told.settings, run), indent=2))
        return
    with engines(log_folder(folder_of(out)), "colorize") as (console, _):
        replayed = replay(file, job, told, run, console.progress)
        if given.get("json_"):
            document = _document([replayed.made])["made"][0] | {"equal": replayed.equal, "largest": replayed.largest}
            console.result(json.dumps(document | {"share": replayed.share, "notes": replayed.notes}, indent=2))
            return
        for address in (replayed.made.job.out, *replayed.made.layers):
            console.result(address)
        console.result(_verdict(file, replayed))


def _verdict(file: str, replayed: "Replayed") -> str:
    notes = "".join(f"; {note}" for note in replayed.notes)
    if replayed.equal:
        return f"pixels equal to {file}{notes}"
    return f"pixels differ from {file}: {replayed.share:.2%} of them, by {replayed.largest} of 255 at most{notes}"


def _flag(name: str) -> str:
    known = {"told": "--no-provenance", "set_": "--set", "levels": "--no-levels"}
    return known.get(name, "--" + name.rstrip("_").replace("_", "-"))
