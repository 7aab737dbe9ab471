"""The command `irodori evaluate`: a checkpoint scored by a protocol."""

import re
from enum import StrEnum
from typing import Annotated

import typer

from eval.protocols.table import PROTOCOLS
from jobs.addresses import place
from jobs.options import Address, Device, Json, Tracking
from jobs.output import as_json, as_lines, engine_console, log_folder
from jobs.recipe_files import recipe_option, write_recipe_option
from jobs.settings_options import GivenSettings, settings_options
from model.diffusion.sampling_settings import SAMPLING, SamplingSettings
from pipelines.colorization.picture_settings import PictureSettings, sampling_settings
from pipelines.common.overrides import parse_assignments

DEFAULTS = SamplingSettings(guidance_scale=2.0)
PUBLISHED = [name for name, protocol in PROTOCOLS.items() if protocol.settings]
OURS = [name for name in PROTOCOLS if name not in PUBLISHED]

KEPT = "finished parts are kept"  # by a call that is stopped


class Resize(StrEnum):
    """How a picture of another shape comes to the size that is scored."""

    COVER = "cover"
    SQUASH = "squash"


def parse_size(text: str | None) -> tuple[int, int] | None:
    """(width, height) of "WxH"; None of None. Raises SettingsError for another text, or sides that no model makes."""
    from pipelines.common.overrides import SettingsError

    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)
    if found is None:
        raise SettingsError(f"--size is WxH, such as 512x512, not {text!r}")
    width, height = int(found[1]), int(found[2])
    if width % 8 or height % 8 or not width or not height:
        raise SettingsError(f"--size: both sides are multiples of 8, not {text}")
    return width, height


@settings_options(
    DEFAULTS, PictureSettings(), only=("steps", "guidance_scale", "ema"), panel=SAMPLING, panels=(SAMPLING,)
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
    keep_features: Annotated[
        bool, typer.Option("--keep-features", help="Keep what distances between sets are made of, for --reuse.")
    ] = False,
    reuse: Annotated[
        str | None,
        typer.Option(
            parser=place, metavar="OUT", help="Score features that another evaluation kept; nothing is coloured."
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
    from pipelines.common.overrides import SettingsError
    from pipelines.evaluation.lookup import find_protocol
    from pipelines.execution.capacity import checked_device

    find_protocol(protocol)
    wanted = checked_device(device)
    words = dict(given[SamplingSettings]) | parse_assignments(set_)
    sampling_settings(words, DEFAULTS)  # wrong ones are refused at once
    wanted_size = parse_size(size)
    if reuse is not None and keep_features:
        raise SettingsError("--keep-features: --reuse colours nothing, and what it scores is kept already")
    check_buckets(checkpoint, corpus, out, *(address for address in (pairs, reuse) if address))
    from pipelines.evaluation.evaluate import evaluate, finished
    from pipelines.evaluation.plan import evaluation_sampling, plan_evaluation
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
        keep_features=keep_features,
        small_sets=small_sets,
        reuse=reuse or "",
        device=wanted,
    )
    complete = finished(plan) is not None
    with engine_console(log_folder(out), "evaluate") as (console, log_file):
        document = evaluate(
            plan, log_file=log_file, progress=console.progress, tracking_uri=tracking_uri, address=address
        )
        said = f"{scores_text(document)}\n\n{as_lines(settings_of(document))}"
        if complete:
            said = f"{out} was complete already, and nothing was done; to score again, choose another --out\n\n{said}"
        console.result(as_json(document) if json_ else said)
