"""What the filters `min_drawing` and `max_unsafe` ask of a picture, as the plain callable that the scan takes.

The network is nsfwjs (model.extractors.labels.content), 0.2 s a picture on one core. The scan runs in tasks of one CPU
each, so it runs there too, in float32; a process loads it once.
"""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dataprep.errors import DataError
from dataprep.plan.scan import Content
from pipelines.recipes.build_recipe import BuildRecipe
from pipelines.weights.store import load_network, recorded_hashes

if TYPE_CHECKING:
    from torch import nn

CONTENT = "nsfwjs"  # of model.weights.catalogue
VERSION = 1  # raise when the same weights give another result
DIGITS = 4  # machines agree on so many


def content_names(recipe: BuildRecipe) -> tuple[str, ...]:
    """The weights in model.weights.catalogue that the recipe's filters take."""
    return (CONTENT,) if recipe.filters.ask_for_content else ()


def content_mark(recipe: BuildRecipe) -> str | None:
    """What the scan's fingerprint has to cover: weights and convention; None where no filter asks for them."""
    if not recipe.filters.ask_for_content:
        return None
    from model.extractors.labels.content import NSFWJS

    return json.dumps([CONTENT, VERSION, _sha256(recipe), asdict(NSFWJS())])


def content_measure(recipe: BuildRecipe) -> Content | None:
    """The scan's callable with its network loaded; None where no filter asks. Raises PipelineError as load_network."""
    if not recipe.filters.ask_for_content:
        return None
    return _Measure(load_network(CONTENT, _sha256(recipe), recipe.networks.weights))


def _sha256(recipe: BuildRecipe) -> str:
    hashes, _ = recorded_hashes(recipe.weights_sha256)
    if CONTENT not in hashes:
        raise DataError(f"the weights {CONTENT} were not looked up: with_weights(recipe) does")
    return hashes[CONTENT]


@dataclass(frozen=True)
class _Measure:
    network: "nn.Module"

    def __call__(self, rgb: npt.NDArray[np.uint8]) -> dict[str, float]:
        import torch

        from model.extractors.labels.content import NSFWJS, verdict

        convention = NSFWJS()
        with torch.inference_mode():
            output = convention.infer(self.network, torch.from_numpy(convention.prepare(rgb))[None])
        classes = convention.finish(output[0].numpy(), rgb.shape[:2])
        return {name: round(value, DIGITS) for name, value in verdict(classes).items()}
