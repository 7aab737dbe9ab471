"""The command `irodori plan`: what a corpus or a training stage will take, before anyone submits it."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.addresses import local_place
from jobs.options import Json, Set
from jobs.output import as_json, print_result
from jobs.recipe_files import recipe_by_name
from pipelines.common.overrides import SettingsError, nearest, override, parse_assignments

if TYPE_CHECKING:
    from pipelines.forecast.measured import PictureMix
    from pipelines.recipes.build_recipe import BuildRecipe


def command(
    recipe: Annotated[
        str,
        typer.Argument(help="A corpus recipe (plain, a YAML file ...) or a stage (v1.noisy ...)."),
    ],
    rows: Annotated[
        int | None, typer.Option(min=1, help="Pictures, or training rows; default: what the recipe's paper counts.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(parser=local_place, help="A Ray cluster file; without it, this machine.")
    ] = None,
    megapixels: Annotated[
        str, typer.Option(help="Mean size of the pictures, or a named distribution: danbooru, danbooru-512.")
    ] = "danbooru",
    jpeg: Annotated[
        float | None, typer.Option(metavar="SHARE", min=0, max=1, help="Share of the sources that are JPEG, not PNG.")
    ] = None,
    store: Annotated[str, typer.Option(help="Where the corpus lies: s3 or disk.")] = "s3",
    rebuild: Annotated[
        list[str], typer.Option(metavar="COLUMN", help="Only this column and what is made from it; may be repeated.")
    ] = [],  # noqa: B006
    share: Annotated[
        list[str],
        typer.Option(
            metavar="COLUMN=SHARE",
            help="Share of the rows whose source brings this column, mask or sketch_drawn; default 0.",
        ),
    ] = [],  # noqa: B006
    price: Annotated[
        list[str],
        typer.Option(
            metavar="GROUP=AMOUNT", help="What a machine of this worker group costs for an hour; may be repeated."
        ),
    ] = [],  # noqa: B006
    costs: Annotated[
        str | None,
        typer.Option(parser=local_place, help="Other measured costs: a file that python -m benchmarks.costs wrote."),
    ] = None,
    model_size: Annotated[str, typer.Option(help="Of the network of a stage: tiny or base.")] = "base",
    images_per_second: Annotated[
        float | None, typer.Option(help="How many one device trains on, where it is known.")
    ] = None,
    peak_tflops: Annotated[float | None, typer.Option(help="Peak of one device, dense bf16.")] = None,
    utilisation: Annotated[
        float | None, typer.Option(metavar="SHARE", min=0.01, max=1, help="Share of the peak that is reached.")
    ] = None,
    json_: Json = False,
    set_: Set = [],  # noqa: B006 (typer reads the default, nothing changes it)
) -> None:
    """Hours, machine cost, bytes and requests of a recipe, from measured milliseconds, before anyone submits it."""
    from pipelines.recipes.stage_recipe import configured
    from pipelines.recipes.stages import stage_names, stage_recipe

    # The call: the recipe with its changes, and what is assumed of pictures, shares and prices.
    rows = rows or _published_rows(recipe)
    prices, shares, changes = _numbers("--price", price), _numbers("--share", share), parse_assignments(set_)
    if store not in ("s3", "disk"):
        raise SettingsError(f"--store is s3 or disk, not {store!r}")
    resolved: Any = (
        configured(stage_recipe(recipe, model_size), changes)
        if recipe in stage_names()
        else _corpus_recipe(recipe, changes)
    )
    mix = _mix(megapixels, jpeg)
    from pipelines.execution.cluster_file import group_for, read_cluster, this_machine
    from pipelines.forecast.corpus import SHARES, Request, forecast_corpus, takes_gpus
    from pipelines.forecast.measured import SHIPPED, load_costs
    from pipelines.forecast.rates import RateGiven
    from pipelines.forecast.text import document, text
    from pipelines.forecast.training import forecast_stage

    # The machines and what they take for a picture, then the forecast.
    groups = read_cluster(cluster, prices) if cluster else this_machine(prices)
    table = load_costs(costs or SHIPPED)
    given = RateGiven(images_per_second, peak_tflops, utilisation)
    if recipe in stage_names():
        group = group_for(groups, gpus=bool(cluster))
        forecast = forecast_stage(resolved, rows, table, group, mix, given, SHARES | shares)
    else:
        asked = Request(recipe, resolved, rows, mix, store, tuple(rebuild), SHARES | shares, given)
        gpus = group_for(groups, gpus=True) if takes_gpus(resolved, groups) else None
        forecast = forecast_corpus(asked, table, group_for(groups, gpus=False), gpus)
    print_result(as_json(document(forecast)) if json_ else text(forecast))


def _published_rows(recipe: str) -> int:
    """The pictures that a recipe of a paper is for. SettingsError where the recipe has no such number."""
    from pipelines.recipes.corpora import PUBLISHED_ROWS

    if recipe not in PUBLISHED_ROWS:
        raise SettingsError(f"--rows N is needed: how many pictures {recipe} is for, no paper says")
    return sum(PUBLISHED_ROWS[recipe])


def _corpus_recipe(name: str, changes: Mapping[str, str]) -> "BuildRecipe":
    """A corpus recipe by name or file; an unknown name is answered with the nearest of corpora and stages."""
    from pipelines.recipes.corpora import CORPUS_RECIPES
    from pipelines.recipes.stages import stage_names

    known = {**CORPUS_RECIPES, **dict.fromkeys(stage_names())}
    recipe: BuildRecipe = override(recipe_by_name(name, known), changes)
    return recipe


def _mix(megapixels: str, jpeg: float | None) -> "PictureMix":
    """A named distribution, or pictures of a mean that the user gives; `jpeg`, where given, replaces its share."""
    from dataclasses import replace

    from pipelines.forecast.measured import MIXES, PictureMix

    try:
        mix = MIXES.get(megapixels) or PictureMix("given", float(megapixels), 0.7, "given; JPEG share assumed")
    except ValueError as error:
        raise SettingsError(
            f"--megapixels {megapixels} is no positive number and no distribution: {nearest(megapixels, MIXES)}"
        ) from error
    origin = f"{mix.origin.partition(';')[0]}; JPEG share given"
    return mix if jpeg is None else replace(mix, jpeg_share=jpeg, origin=origin)


def _numbers(option: str, assignments: Iterable[str]) -> dict[str, float]:
    """GROUP=NUMBER items as a mapping."""
    numbers = {}
    for name, value in parse_assignments(assignments).items():
        try:
            numbers[name] = float(value)
        except ValueError as error:
            raise SettingsError(f"{option} {name}={value}: {value!r} is no number") from error
        if not 0 <= numbers[name] < float("inf"):
            raise SettingsError(f"{option} {name}={value}: must be at least 0")
    return numbers
