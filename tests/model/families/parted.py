"""Pictures and masks on which networks that part figure from ground are tried, and what must hold of each of them."""

import torch

from model.diffusion.sampling_settings import SamplingSettings
from model.diffusion.separation import Separation
from model.families.v15.pipeline import SplitPipeline
from tests.model.golden import off

SKETCH, REFERENCE = torch.full((3, 72, 80), -1.0), torch.linspace(-1, 1, 3 * 30 * 20).reshape(3, 30, 20)
HALF = torch.cat([torch.ones(1, 72, 40), torch.zeros(1, 72, 40)], dim=2)
FIGURE = torch.cat([torch.ones(1, 15, 20), torch.zeros(1, 15, 20)], dim=1)


def assert_alone_as_in_a_batch(pipeline: SplitPipeline, settings: SamplingSettings) -> None:
    """Two sketches after two references, of which one has no figure and a background of its own."""
    sketches, references = [SKETCH, SKETCH.neg()], [REFERENCE, REFERENCE.neg()]
    separation = Separation([HALF, 1 - HALF], [FIGURE, None], [None, REFERENCE])
    batch = list(pipeline.every(sketches, references, [1], settings, separation=separation))
    assert len(batch) == 4
    for found in batch:
        own = Separation(
            [separation.sketch_masks[found.sketch]],
            [separation.mask_of(found.reference or 0)],
            [separation.background_of(found.reference or 0)],
        )
        alone = pipeline(
            sketches[found.sketch][None], [references[found.reference or 0]], [1], settings=settings, separation=own
        )
        assert off(found.picture, alone[0]) < 1e-4
