"""The command `irodori evaluate`: a checkpoint scored by a protocol."""

from enum import StrEnum
from typing import Annotated

import typer

from eval.protocols.table import PROTOCOLS
from jobs.addresses import place
from jobs.options import Address, Device, Json, Tracking
from jobs.output import as_json, as_lines, engine_console, log_folder
from jobs.recipe_files import recipe_option, write_recipe_option
from jobs.settings_options import GivenSettings, settings_options
from jobs.sizes import parse_size
from model.diffusion.sampling_settings import SAMPLING, SamplingSettings
from pipelines.colorization.picture_settings import PictureSettings, sampling_settings
from pipelines.common.overrides import SettingsError, parse_assignments
from pipelines.evaluation.sampling import DEFAULT_SAMPLING, evaluation_sampling

PUBLISHED = [name for name, protocol in PROTOCOLS.items() if protocol.settings]
OURS = [name for name in PROTOCOLS if name not in PUBLISHED]

KEPT = "finished parts are kept"  # by a call that is stopped


class Resize(StrEnum):
    """How a picture of another shape comes to the size that is scored."""

    COVER = "cover"
    SQUASH = "squash"


@settings_options(
    DEFAULT_SAMPLING, PictureSettings(), only=("steps", "guidance_scale", "ema"), panel=SAMPLING, panels=(SAMPLING,)
)
def command(
    corpus: Annotated[str, typer.Option(parser=place, help="The corpus whose validation rows are used.")],
    protocol: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(OURS)}; as published: {', '.join(PUBLISHED)}; or module:NAME. known-answer: of corpora "
            "with assembled drawings."
        ),
    ],
    out: Annotated[str, typer.Option(parser=place, help="Where scores, pairs and pictures go.")],
    given: GivenSettings,
    checkpoint: Annotated[
        str, typer.Option(parser=place, help="The model to score; starter: that which ships.")
    ] = "starter",
    metric: Annotated[
        list[str],
        typer.Option(
            "--metric",
            metavar="NAME",
            help="What is reported, or module:NAME; may be repeated. Default: what the protocol reports.",
        ),
    ] = [],  # noqa: B006 (typer reads the default, nothing changes it)
    limit: Annotated[int | None, typer.Option(min=1, help="At most N pairs.")] = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            parser=place,
            metavar="FILE",
            help="Of user-pairs: CSV with the columns sketch and reference (ids of held-out rows) and perhaps seed.",
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Of the results. Default: the protocol's, or as trained.")
    ] = None,
    resize: Annotated[
        Resize | None,
        typer.Option(help="How pictures of another shape come to it. Default: the protocol's, or cover."),
    ] = None,
    style: Annotated[str | None, typer.Option(help="Of the sketches. Default: of each row the first it has.")] = None,
    without_reference: Annotated[
        bool, typer.Option("--without-reference", help="Show the model no reference: what it colours by itself.")
    ] = False,
    keep_features: Annotated[
        bool, typer.Option("--keep-features", help="Keep what distances between sets are made of, for --reuse.")
    ] = False,
    reuse: Annotated[
        str | None,
        typer.Option(
            parser=place, metavar="OUT", help="Score features that another evaluation kept; nothing is coloured."
        ),
    ] = None,
    pictures: Annotated[
        str | None,
        typer.Option(
            parser=place,
            metavar="DIR",
            help="Score another system's results instead of a checkpoint: NAME.png for each pair of --write-pairs.",
        ),
    ] = None,
    write_pairs: Annotated[
        str | None,
        typer.Option(
            "--write-pairs",
            parser=place,
            metavar="DIR",
            help="Write sketch and reference of every pair for another system, and do nothing else.",
        ),
    ] = None,
    small_sets: Annotated[
        bool, typer.Option("--small-sets", help="Score fewer pairs than a metric asks for, under another name.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Decides pairs and noise.")] = 0,
    device: Device = "auto",
    address: Address = None,
    tracking_uri: Tracking = None,
    json_: Json = False,
    set_: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            rich_help_panel=SAMPLING,
            help="Any other setting of sampling, such as sampler=ddim; may be repeated.",
        ),
    ] = [],  # noqa: B006 (typer reads the default, nothing changes it)
    recipe: Annotated[str, recipe_option()] = "",
    write_recipe: Annotated[str | None, write_recipe_option()] = None,
) -> None:
    """Score a checkpoint by a protocol: the scores, then all that decided them, in OUT/scores.json too."""
    from pipelines.common.addresses import check_buckets
    from pipelines.evaluation.lookup import find_protocol
    from pipelines.execution.capacity import checked_device

    find_protocol(protocol)
    wanted = checked_device(device)
    words = dict(given[SamplingSettings]) | parse_assignments(set_)
    sampling_settings(words, DEFAULT_SAMPLING)  # wrong ones are refused at once
    wanted_size = parse_size(size)
    if reuse is not None and keep_features:
        raise SettingsError("--keep-features: --reuse colours nothing, and what it scores is kept already")
    if pictures is not None and checkpoint != "starter":
        raise SettingsError("--pictures takes the place of --checkpoint: give one of them")
    check_buckets(checkpoint, corpus, out, *(address for address in (pairs, reuse, pictures, write_pairs) if address))
    from pipelines.evaluation.evaluate import evaluate, finished
    from pipelines.evaluation.plan import plan_evaluation
    from pipelines.evaluation.summary import scores_text, settings_of

    plan = plan_evaluation(
        checkpoint,
        corpus,
        protocol,
        out,
        sampling=evaluation_sampling(checkpoint, protocol, words),
        metrics=metric or None,
        limit=limit,
        size=wanted_size,
        resize=resize.value if resize else None,
        style=style or "",
        given_pairs=pairs or "",
        seed=seed,
        ema=given[PictureSettings].get("ema", False),
        without_reference=without_reference,
        keep_features=keep_features,
        small_sets=small_sets,
        reuse=reuse or "",
        pictures=pictures or "",
        device=wanted,
    )
    if write_pairs is not None:
        from pipelines.evaluation.scoring.write_pairs import write_pairs as write

        with engine_console(None, "evaluate") as (console, _):
            write(plan, write_pairs, console.progress)
            console.result(f"{write_pairs}: {len(plan.pairs):,} pairs; score results called NAME.png by --pictures DIR")
        return
    complete = finished(plan) is not None
    with engine_console(log_folder(out), "evaluate") as (console, log_file):
        document = evaluate(
            plan, log_file=log_file, progress=console.progress, tracking_uri=tracking_uri, address=address
        )
        said = f"{scores_text(document)}\n\n{as_lines(settings_of(document))}"
        if complete:
            said = f"{out} was complete already, and nothing was done; to score again, choose another --out\n\n{said}"
        console.result(as_json(document) if json_ else said)
