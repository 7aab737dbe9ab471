"""Scores of single results by networks: how alike two pictures are to a person's eye, to CLIP, and how pleasing one is.

The three CLIP scores are three metrics: the papers compare with the ground truth (thesis 5.7), with the reference and
with a text (ColorizeDiffusion 4.3), and call all of them CLIP score.
"""

from torch import Tensor
from torch.nn.functional import cosine_similarity

from eval.metrics.metric import Metric, means

_ALIKE = "how alike the result and {} are to CLIP, in what they show and in style; 1 is identical"
_CLIP_SOURCE = "thesis 3.3.2, eq. 3.7; OpenCLIP ViT-H-14, which is our choice: no paper names its model"


def _lpips(network: str, title: str) -> Metric:
    def measure(result: Tensor, distance: Tensor) -> dict[str, Tensor]:
        return {network: distance[:, 0]}

    return Metric(
        name=network,
        title=title,
        needs=(f"result+truth@{network}",),
        measure=measure,
        summarize=means(),
        scores=network,
        better="lower",
        meaning="how far the result is from the right answer to a person's eye; 0 is identical",
        smallest_side=64,
        source="Zhang et al. 2018, version 0.1",
    )


def _clip(name: str, title: str, other: str, what: str) -> Metric:
    def measure(result: Tensor, seen: Tensor, compared: Tensor) -> dict[str, Tensor]:
        return {name: cosine_similarity(seen, compared)}

    return Metric(
        name=name,
        title=title,
        needs=("result@clip_vith14", other),
        measure=measure,
        summarize=means("no pair has a text" if "text" in other else "no pair has a value"),
        scores=name,
        better="higher",
        meaning=_ALIKE.format(what),
        source=_CLIP_SOURCE,
    )


def _aesthetic(result: Tensor, score: Tensor) -> dict[str, Tensor]:
    return {"aesthetic": score[:, 0]}


LPIPS_ALEX = _lpips("lpips_alex", "LPIPS (AlexNet)")
LPIPS_VGG = _lpips("lpips_vgg", "LPIPS (VGG16)")
CLIP_GROUND_TRUTH = _clip("clip_ground_truth", "CLIP, ground truth", "truth@clip_vith14", "the right answer")
CLIP_REFERENCE = _clip("clip_reference", "CLIP, reference", "reference@clip_vith14", "the reference")
CLIP_TEXT = _clip("clip_text", "CLIP, tags of the row", "text@clip_vith14_text", "the words that describe the drawing")
AESTHETIC = Metric(
    name="aesthetic",
    title="aesthetic score v2.5",
    needs=("result@aesthetic_v25",),
    measure=_aesthetic,
    summarize=means(),
    scores="aesthetic",
    better="higher",
    meaning="how pleasing the result is to a network that learned it from people, 1 to 10",
    source="thesis 3.3.2; aesthetic-predictor-v2-5",
)
