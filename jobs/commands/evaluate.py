"""The command `irodori evaluate`: a checkpoint scored by a protocol."""

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

KEPT = "finished parts are kept"  # by a call that is stopped


@settings_options(
    DEFAULTS, PictureSettings(), only=("steps", "guidance_scale", "ema"), panel=SAMPLING, panels=(SAMPLING,)
)
def command(
    corpus: Annotated[str, typer.Option(parser=place, help="The corpus whose validation rows are used.")],
    protocol: Annotated[
        str,
        typer.Option(help=f"{', '.join(PROTOCOLS)}, or module:NAME. known-answer: of corpora with assembled drawings."),
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
    sampling_settings(words, DEFAULTS)  # wrong ones are refused at once
    check_buckets(checkpoint, corpus, out)
    from pipelines.evaluation.evaluate import evaluate, finished
    from pipelines.evaluation.plan import plan_evaluation
    from pipelines.evaluation.summary import scores_text, settings_of
    from pipelines.weights.checkpoints import absolute_checkpoint, metadata_at

    own = metadata_at(absolute_checkpoint(checkpoint)).own_sampling(DEFAULTS)
    sampling, ema = sampling_settings(words, own), given[PictureSettings].get("ema", False)
    plan = plan_evaluation(
        checkpoint,
        corpus,
        protocol,
        out,
        sampling=sampling,
        metrics=metric or None,
        limit=limit,
        seed=seed,
        ema=ema,
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
