"""The named recipes of corpora. docs/recipes.md says where each number comes from and what the papers leave open."""

from dataprep.lines.region_map import RegionSettings
from dataprep.lines.strokes import StrokeSettings
from dataprep.operators.learned_columns import LearnedSettings
from dataprep.operators.styles import StyleSettings
from dataprep.pictures.canvas import CanvasSettings
from dataprep.plan.filters import FilterSettings
from dataprep.sources.selection import Selection
from pipelines.recipes.build_recipe import BuildRecipe, NetworkSettings

# Paper 000 IV.A and 002: "jointly"; thesis 3.2: three extractors, strokes treated, 30 % through the second network.
# The papers treat no strokes, and the thesis names no method: those of its own recipes are treated by ours.
JOINTLY = StyleSettings(xdog=0.0, keras=1.0, anime2sketch=1.0, simplified=0.3)
ENSEMBLE = StyleSettings(xdog=0.0, keras=1.0, manga_line=1.0, anime2sketch=1.0, simplified=0.3)
THREE_STROKES = StrokeSettings(styles=("keras", "manga_line", "anime2sketch"))
FIGURE = Selection(all_tags=("solo", "simple_background"))  # thesis 3.1: single characters, plain backgrounds
NO_REGIONS = RegionSettings(lines=())
ON_GPUS = NetworkSettings(device="cuda")  # millions of pictures through networks of seconds each on a CPU

# What the papers count: rows in training and in validation.
PUBLISHED_ROWS = {
    "danbooru-6m": (5_948_000, 52_000),  # paper 000: over six million
    "danbooru-4.8m": (4_800_000, 52_000),  # paper 002
    "ensemble": (4_800_000, 52_000),  # thesis 3.2: of 4.9 million
    "figures": (766_454, 89_422),  # thesis 4.2.1
    "rasc-40k": (40_000, 1_969),  # RASC IV.A, test set A
}


def validation_share(name: str) -> float:
    """The share of rows that the papers' counts make the validation split."""
    training, validation = PUBLISHED_ROWS[name]
    return validation / (training + validation)


#                   what it is for                         what it changes
CORPUS_RECIPES = {
    "plain": BuildRecipe(),  # pictures of any kind
    # few pictures: more of them to score, finer progress, small batches
    "demo": BuildRecipe(validation_share=0.15, shard_rows=64, batch_rows=16),
    # every operator's weights can be had by anyone: `irodori weights get hed`, `... isnet_general`
    "open": BuildRecipe(styles=StyleSettings(hed=1.0), learned=LearnedSettings(mask="isnet_general")),
    # v2: sketch, colour and mask of over six million pictures
    "danbooru-6m": BuildRecipe(
        filters=FilterSettings(min_side=512),
        styles=JOINTLY,
        learned=LearnedSettings(mask="isnetis"),
        regions=NO_REGIONS,
        validation_share=validation_share("danbooru-6m"),
        networks=ON_GPUS,
    ),
    # v1: sketch and colour of nearly all of Danbooru2021
    "danbooru-4.8m": BuildRecipe(
        filters=FilterSettings(min_side=256),
        styles=JOINTLY,
        regions=NO_REGIONS,
        validation_share=validation_share("danbooru-4.8m"),
        networks=ON_GPUS,
    ),
    # the thesis' three extractors on the same pictures
    "ensemble": BuildRecipe(
        filters=FilterSettings(min_side=256),
        styles=ENSEMBLE,
        strokes=THREE_STROKES,
        regions=NO_REGIONS,
        validation_share=validation_share("ensemble"),
        networks=ON_GPUS,
    ),
    # rbca and its tagger: one character on a plain ground, tags of the source
    "figures": BuildRecipe(
        select=FIGURE,
        filters=FilterSettings(min_side=512),
        styles=ENSEMBLE,
        strokes=THREE_STROKES,
        regions=NO_REGIONS,
        validation_share=validation_share("figures"),
        networks=ON_GPUS,
    ),
    # rasc: 256 x 256, simplified XDoG lines and their regions
    "rasc-40k": BuildRecipe(
        canvas=CanvasSettings(size=256),
        styles=StyleSettings(xdog=0.0, xdog_simplified=1.0),
        regions=RegionSettings(lines=("xdog_simplified",)),
        validation_share=validation_share("rasc-40k"),
    ),
}
