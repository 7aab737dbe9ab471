"""The command `irodori colorize`: every control of sampling as an option, in panels; `--replay` makes one again.

Options that set a field of SamplingSettings, PictureSettings or RunSettings are made from these fields; below stand
only those that name inputs and outputs, or stand for several settings.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataprep.visible import one_line
from jobs.addresses import place
from jobs.console import Console
from jobs.options import DryRun, Json
from jobs.output import as_json, engine_console, log_folder, print_json
from jobs.recipe_files import recipe_option, write_recipe_option
from jobs.settings_options import GivenSettings, is_given, settings_options
from model.diffusion.sampling_settings import (
    ATTENTION,
    GUIDANCE,
    LAYER_GROUPS,
    NEAREST,
    RELEASED_SCHEDULES,
    SAMPLING,
    SEPARATION,
    SamplingSettings,
)
from pipelines.colorization.picture_settings import (
    INPUT,
    LINE_ART,
    MACHINE,
    OUTPUT,
    RANDOM,
    PictureSettings,
    attention_scales,
    sampling_settings,
    seeds_of,
)
from pipelines.colorization.run_settings import RunSettings
from pipelines.common.overrides import SettingsError, override, parse_assignments

if TYPE_CHECKING:
    from model.checkpoint import CheckpointMetadata
    from pipelines.colorization.colorize import Failed, Made
    from pipelines.colorization.jobs import ColorizeJob
    from pipelines.colorization.replay import Replayed

PANELS = (INPUT, OUTPUT, LINE_ART, SAMPLING, GUIDANCE, ATTENTION, SEPARATION, MACHINE)
# What may be given beside --replay: the other settings are in the picture.
WITH_REPLAY = {
    "replay", "follow", "sketch", "reference", "background", "sketch_mask", "reference_mask", "checkpoint", "out",
    "layers", "masks", "overwrite", "dry_run", "json_", "device", "compile",
}  # fmt: skip


def _option(panel: str, help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, help=help, **more)


KEPT = "finished pictures are kept"  # by a call that is stopped


@settings_options(SamplingSettings(), PictureSettings(), RunSettings(), panels=PANELS)
def command(
    context: typer.Context,
    *,
    sketch: Annotated[
        list[str], _option(INPUT, "Line art: files or directories; may be repeated.", metavar="ADDRESS", parser=place)
    ] = [],  # noqa: B006 (typer reads the defaults, nothing changes them)
    reference: Annotated[
        list[str],
        _option(
            INPUT,
            "Pictures whose colours to take, as --sketch; every sketch meets each. None: colours freely.",
            metavar="ADDRESS",
            parser=place,
        ),
    ] = [],  # noqa: B006
    background: Annotated[
        list[str],
        _option(SEPARATION, "A picture whose colours the ground takes.", metavar="ADDRESS", parser=place),
    ] = [],  # noqa: B006
    sketch_mask: Annotated[
        list[str],
        _option(
            SEPARATION, "Where a sketch's figure is, white: files or directories.", metavar="ADDRESS", parser=place
        ),
    ] = [],  # noqa: B006
    reference_mask: Annotated[
        list[str],
        _option(SEPARATION, "Where a reference's figure is, as --sketch-mask.", metavar="ADDRESS", parser=place),
    ] = [],  # noqa: B006
    pair: Annotated[bool, _option(INPUT, "The nth sketch meets the nth reference, and no other.", "--pair")] = False,
    checkpoint: Annotated[
        str | None,
        _option(
            INPUT,
            "A trained or converted model.",
            metavar="ADDRESS",
            parser=place,
            show_default="starter, the weights that ship",
        ),
    ] = None,
    replay: Annotated[
        str | None,
        _option(
            INPUT,
            "Make this picture again and compare; inputs that moved may be named.",
            metavar="FILE",
            parser=place,
            show_default=False,
        ),
    ] = None,
    follow: Annotated[
        bool,
        _option(
            INPUT,
            "With --replay: read sketch, references and checkpoint at the addresses in the picture, also on S3; else "
            "a terminal is asked, and anything else refused.",
            "--follow",
        ),
    ] = False,
    out: Annotated[
        str | None,
        _option(
            OUTPUT,
            "A .png file for one picture, else a directory.",
            metavar="ADDRESS",
            parser=place,
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    json_: Json = False,
    recipe: Annotated[str, recipe_option()] = "",
    write_recipe: Annotated[str | None, write_recipe_option()] = None,
    seed: Annotated[
        str,
        _option(SAMPLING, "Decides the initial noise; random: drawn, and reported.", metavar="N|random"),
    ] = "0",
    variations: Annotated[
        int, _option(SAMPLING, "Pictures of each pair: seeds SEED, SEED+1, ...", metavar="N", min=1, max=10_000)
    ] = 1,
    schedule: Annotated[
        str | None,
        _option(
            SAMPLING,
            f"Spacing and noise levels by the released name: {', '.join(RELEASED_SCHEDULES)}.",
            metavar="NAME",
        ),
    ] = None,
    given: GivenSettings,
    attention_scale: Annotated[
        list[str],
        _option(ATTENTION, f"Factor of a layer or of {', '.join(LAYER_GROUPS)}; may be repeated.", metavar="NAME=X"),
    ] = [],  # noqa: B006
    set_: Annotated[
        list[str],
        _option(
            SAMPLING,
            "Any setting of sampling, guidance or attention, such as injection.start=0.2; may be repeated.",
            "--set",
            metavar="KEY=VALUE",
        ),
    ] = [],  # noqa: B006
) -> None:
    """Colour sketches after reference pictures, or after none. The same call again makes only what is missing."""
    run = RunSettings(**given[RunSettings])
    if replay:
        addresses = {"sketch": sketch, "reference": reference, "background": background}
        addresses |= {"sketch_mask": sketch_mask, "reference_mask": reference_mask}
        _check_replay(context, addresses)
        addresses["checkpoint"] = [checkpoint] if checkpoint else []
        moved = {name: values[0] for name, values in addresses.items() if values}
        _replay(replay, out, moved, run, follow=follow, dry_run=dry_run, json_=json_)
        return
    if follow:
        raise SettingsError("--follow needs --replay")
    if not sketch or out is None:
        raise SettingsError(
            f"--{'out' if sketch else 'sketch'} is missing: give line art and where the pictures go, or --replay FILE"
        )
    needing = {"pair": pair, "background": background, "reference-mask": reference_mask, "sketch-mask": sketch_mask}
    for option, is_there in needing.items():
        if is_there and not reference:
            raise SettingsError(f"--{option} needs --reference")
    # What decides the pictures besides their inputs.
    report = Console(sys.stdout, sys.stderr).message
    seeds, drawn = seeds_of(seed, variations), seed == RANDOM
    words = _aliases(schedule, attention_scale) | parse_assignments(set_)
    _report_nearest(given, words, report, _picture_settings(given, words))  # wrong ones are refused at once
    # The pictures and where they go.
    from pipelines.colorization.jobs import check_targets, find_pictures, folder_of, plan_jobs, same_place
    from pipelines.colorization.summary import pairs_shown
    from pipelines.common.addresses import check_buckets

    check_buckets(*sketch, *reference, *background, *sketch_mask, *reference_mask, checkpoint, out)
    sketches = find_pictures(sketch, report, lambda _: True)
    references = find_pictures(reference, report, lambda folder: same_place(folder, folder_of(out)))
    beside = _beside(sketches, references, background, sketch_mask, reference_mask)
    jobs = plan_jobs(sketches, references, out, seeds, pair=pair, drawn=drawn, beside=beside)
    if pair:
        report(pairs_shown(jobs))
    # The networks, and whether the pictures can be written.
    from pipelines.weights.checkpoints import STARTER, absolute_checkpoint, checkpoint_uri, metadata_at

    address = checkpoint_uri(absolute_checkpoint(checkpoint or STARTER))
    settings = _picture_settings(given, words, metadata_at(address))
    check_targets(jobs, run, drawn)
    if drawn:
        report(f"--seed {seeds[0]} was drawn")
    if settings.extract:
        from pipelines.extraction.line_extractor import extractor_sha256

        extractor_sha256(settings.extract)  # weights that are missing are reported before anything is made
    if dry_run:
        print_json(_plan(jobs, address, settings, run))
    else:
        _make(jobs, address, settings, run, json_=json_)


def _picture_settings(
    given: GivenSettings, words: Mapping[str, Any], checkpoint: "CheckpointMetadata | None" = None
) -> PictureSettings:
    """The settings of the options, then of `words`, by name, over those that the checkpoint says of itself."""
    own = checkpoint.own_sampling() if checkpoint else None
    sampling = sampling_settings({**given[SamplingSettings], **words}, own)
    return override(PictureSettings(sampling), given[PictureSettings])


def _report_nearest(
    given: GivenSettings, words: Mapping[str, Any], report: Callable[[str], None], settings: PictureSettings
) -> None:
    """Says where a sampler only comes near what was named."""
    if (named := {**given[SamplingSettings], **words}.get("sampler")) in NEAREST:
        report(f"sampler {named!r}: no equal in diffusers; the nearest, {settings.sampling.sampler}, is taken")


def _aliases(schedule: str | None, scales: Sequence[str]) -> dict[str, Any]:
    """The settings for which options with words of their own stand."""
    values: dict[str, Any] = {} if schedule is None else {"schedule": schedule}
    return values | ({"attention_scales": attention_scales(scales)} if scales else {})


def _make(
    jobs: Sequence["ColorizeJob"], checkpoint: str, settings: PictureSettings, run: RunSettings, *, json_: bool
) -> None:
    """Colour, report each picture as it is there, and fail at the end where one could not be made."""
    from pipelines.colorization.colorize import Failed, colorize
    from pipelines.colorization.jobs import folder_of
    from pipelines.colorization.summary import summary
    from pipelines.common.errors import PipelineError

    outcomes = []
    with engine_console(log_folder(folder_of(jobs[0].out)), "colorize") as (console, _):
        for outcome in colorize(jobs, checkpoint, settings, run, console.progress):
            outcomes.append(outcome)
            if not json_:
                _report(console, outcome)
        if json_:
            console.result(as_json(_document(outcomes)))
        else:
            for line in summary(outcomes, settings):
                console.message(line)
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    if failed and json_:
        raise typer.Exit(1)
    if failed:
        raise PipelineError(f"{len(failed)} of {len(jobs)} pictures could not be made, the first: {failed[0].reason}")


def _report(console: Console, outcome: "Made | Failed") -> None:
    """The files of a picture on stdout; on stderr why there are none."""
    from pipelines.colorization.colorize import Failed

    if isinstance(outcome, Failed):
        console.message(one_line(f"not made: {outcome.job.out}: {outcome.reason}"))
        return
    for address in (outcome.job.out, *outcome.layers):
        console.result(one_line(address))


def _plan(
    jobs: Sequence["ColorizeJob"], checkpoint: str, settings: PictureSettings, run: RunSettings
) -> dict[str, Any]:
    """What would be made, and how; a checkpoint or device that cannot be used is refused already."""
    from pipelines.colorization.colorize import Colorist

    metadata = Colorist(checkpoint, settings, run).metadata
    return {
        "pictures": [job.document() for job in jobs],
        "checkpoint": {"address": checkpoint, "stage": metadata.stage, "trained_at": [metadata.width, metadata.height]},
        "settings": settings.document(),
        "run": run.document(),
    }


def _document(outcomes: Sequence["Made | Failed"]) -> dict[str, Any]:
    from pipelines.colorization.colorize import Made

    return {
        "made": [outcome.document() for outcome in outcomes if isinstance(outcome, Made)],
        "failed": [outcome.document() for outcome in outcomes if not isinstance(outcome, Made)],
    }


def _beside(
    sketches: Sequence[str],
    references: Sequence[str],
    background: Sequence[str],
    sketch_masks: Sequence[str],
    reference_masks: Sequence[str],
) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    """What belongs to each sketch, and to each reference, by role: masks by their names, one background to all."""
    from pipelines.colorization.jobs import find_pictures, matched
    from pipelines.colorization.roles import BACKGROUND, REFERENCE_MASK, SKETCH_MASK

    grounds = find_pictures(background) if background else []
    if len(grounds) > 1:
        raise SettingsError(f"--background is one picture, and here are {len(grounds)}")
    ground = {BACKGROUND: grounds[0]} if grounds else {}
    of_sketches = matched(sketches, find_pictures(sketch_masks) if sketch_masks else [], "--sketch-mask")
    of_references = matched(references, find_pictures(reference_masks) if reference_masks else [], "--reference-mask")
    return (
        {picture: {SKETCH_MASK: mask} for picture, mask in of_sketches.items()},
        {
            picture: ground | ({REFERENCE_MASK: of_references[picture]} if picture in of_references else {})
            for picture in references
        },
    )


def _check_replay(context: typer.Context, addresses: Mapping[str, Sequence[str]]) -> None:
    """SettingsError where the call has what a replay takes from the picture, or an input twice."""
    if refused := sorted(_given_options(context, WITH_REPLAY)):
        raise SettingsError(f"--replay takes its settings from the picture: leave out {', '.join(refused)}")
    for name, given in addresses.items():
        if len(given) > 1:
            raise SettingsError(f"--replay takes one --{name.replace('_', '-')}: where it lies now")


def _given_options(context: typer.Context, but: set[str]) -> Iterator[str]:
    """The options of the call, as it has them, whose parameters are not among `but`."""
    for option in context.command.params:
        if is_given(context, option.name) and option.name not in but:
            negated = context.params[option.name] is False and option.secondary_opts
            yield (option.secondary_opts if negated else option.opts)[0]


def _replay(
    file: str,
    out: str | None,
    moved: Mapping[str, str],
    run: RunSettings,
    *,
    follow: bool,
    dry_run: bool,
    json_: bool,
) -> None:
    """Make the picture in `file` again, and report whether it is the same; `moved`: where inputs lie now."""
    from pipelines.colorization.jobs import folder_of, is_png, replay_out
    from pipelines.common.addresses import check_buckets

    out = out or replay_out(file)
    if not is_png(out):
        raise SettingsError(f"--out {out}: a replay is one .png file")
    check_buckets(file, out, *moved.values())
    from pipelines.colorization.replay import InputAddresses, addresses_to_follow, plan_replay, replay

    references = {role: address for role, address in moved.items() if role not in ("sketch", "checkpoint")}
    inputs = InputAddresses(
        sketch=moved.get("sketch"), references=references, checkpoint=moved.get("checkpoint"), follow=follow
    )
    if not (follow or json_) and sys.stdin.isatty():
        inputs = replace(inputs, follow=_asked(addresses_to_follow(file, inputs)))
    job, recorded = plan_replay(file, out, inputs, run)
    if dry_run:
        print_json(_plan([job], recorded.checkpoint.address, recorded.settings, run))
        return
    with engine_console(log_folder(folder_of(out)), "colorize") as (console, _):
        replayed = replay(file, job, recorded, run, console.progress)
        if json_:
            console.result(as_json(replayed.document()))
            return
        _report(console, replayed.made)
        console.result(_verdict(file, replayed))


def _asked(addresses: Mapping[str, str]) -> bool:
    """Whether the person at the terminal wants these addresses of a picture read."""
    report = Console(sys.stdout, sys.stderr).message
    for role, address in addresses.items():
        report(f"{one_line(role):<10}  {one_line(address)}")
    return not addresses or typer.confirm("The picture names these. Read them?", err=True)


def _verdict(file: str, replayed: "Replayed") -> str:
    notes = "".join(f"; {note}" for note in replayed.notes)
    if replayed.equal:
        return f"pixels equal to {file}{notes}"
    return f"pixels differ from {file}: {replayed.share:.2%} of them, by {replayed.largest} of 255 at most{notes}"
