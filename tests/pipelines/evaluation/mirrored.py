"""A protocol and a metric of the test suite: one file, found by module path; nothing else names them."""

import torch

from eval.metrics.metric import Metric, means
from eval.protocols.pairing import Pair
from eval.protocols.protocol import REFERENCE, CorpusRows, EvaluationProtocol, PairPictures, PreparedPair
from eval.protocols.self_reference import self_reference


def _pairs(rows: CorpusRows, seed: int, limit: int | None) -> list[Pair]:
    return self_reference(rows.ids, seed)[:limit]


def _prepare(pair: Pair, pictures: PairPictures) -> PreparedPair:
    reference = pictures.whole(pair.reference_id)[:, ::-1].copy()
    return PreparedPair({REFERENCE: reference}, {"truth": pictures.original, "mirror": pictures.original[:, ::-1]})


def _measure(result: torch.Tensor, mirror: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"mirror_error": (result - mirror).abs().mean(dim=(1, 2, 3))}


MIRROR_ERROR = Metric(
    name="mirror_error",
    needs=("mirror",),
    measure=_measure,
    summarize=means(),
    scores="mirror_error",
    better="lower",
    meaning="mean error against the mirrored picture",
    source="the test suite",
)

MIRRORED = EvaluationProtocol(
    name="mirrored",
    pairs=_pairs,
    prepare=_prepare,
    gives=("truth", "mirror"),
    metrics=("psnr", "tests.pipelines.evaluation.mirrored:MIRROR_ERROR", "known_answer"),
    truth_note="the original picture; its mirror image was the reference",
    source="the test suite",
)
