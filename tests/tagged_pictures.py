"""A small corpus whose pictures have tags, from the source and from an operator that stands where a tagger would."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dataprep.corpus_tools.tags import RATINGS
from dataprep.operators.operator import Operator
from dataprep.operators.row_input import RowInput
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from pipelines.recipes.build_recipe import BuildRecipe
from tests.corpus_pictures import SMALL, write_pictures

ROWS = 23
SHADES = ("dark", "middle", "bright")


def tags_of(number: int) -> list[str]:
    """Of picture `number`: a long tail, kinds, a tag that is there twice, and every seventh picture without any."""
    if number % 7 == 6:
        return []
    tags = ["all", "all", f"third-{number % 3}", ":d", f"character:c{number % 4}", "meta:scan"]
    return [*tags, f"rare-{number}"] if number % 5 == 0 else tags


def said_of(row: RowInput) -> dict[str, dict[str, float]] | None:
    """Probabilities that follow from the picture's first pixel; one of three has a name."""
    level = int(row.picture.rgb[0, 0, 0])
    shade = SHADES[level % 3]
    general = {"picture": 0.99, shade: 0.6, "maybe": round(level / 512, 4)}
    return {
        "rating": dict.fromkeys(RATINGS, 0.25),
        "general": general,
        "character": {"sun": 0.9} if shade == "bright" else {},
    }


def predicted(recipe: BuildRecipe, built: Mapping[str, Operator]) -> Operator:
    def compute(row: RowInput) -> Any:
        if row.picture.rgb[0, 0, 0] % 4 == 0:
            raise ValueError("not tagged")
        return said_of(row)

    return Operator("predicted_tags", "shades", 1, compute, gives="json")


def tagged_corpus(folder: Path) -> str:
    """A corpus of ROWS pictures in several shards of both splits."""
    pictures = write_pictures(folder / "pictures", ROWS)
    lines = [{"path": path.name, "tags": tags_of(number)} for number, path in enumerate(sorted(pictures.glob("*.png")))]
    (pictures / "index.jsonl").write_text("\n".join(map(json.dumps, lines)))
    recipe = replace(SMALL, extra_operators=("tests.tagged_pictures:predicted",))
    run_build([str(pictures)], str(folder / "corpus"), recipe, engine=in_process)
    return str(folder / "corpus")
