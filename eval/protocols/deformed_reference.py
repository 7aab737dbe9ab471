"""Deformed references: each sketch with its own picture, warped by the pair's seed, so that the truth is known.

Thesis 5.7 measures PSNR, MS-SSIM and CLIP similarity so: references are the ground truth under a thin plate spline.
"""

from collections.abc import Collection
from functools import partial

from eval.protocols.pairing import Pair
from eval.protocols.protocol import REFERENCE, CorpusRows, EvaluationProtocol, PairPictures, PreparedPair
from eval.protocols.self_reference import self_reference


def deformed_reference(ids: Collection[str], seed: int) -> list[Pair]:
    """Every sketch with its own picture, to be warped with the pair's seed, as the reference; sorted by id."""
    return self_reference(ids, seed)


def _pairs(rows: CorpusRows, seed: int, limit: int | None) -> list[Pair]:
    return deformed_reference(rows.ids, seed)[:limit]


def _prepare(pair: Pair, pictures: PairPictures) -> PreparedPair:
    reference = pictures.deformed(pair.reference_id, pair.seed)
    mask = partial(pictures.deformed_mask, pair.reference_id, pair.seed)
    return PreparedPair({REFERENCE: reference}, {"truth": pictures.original}, {REFERENCE: mask})


DEFORMED_REFERENCE = EvaluationProtocol(
    name="deformed-reference",
    pairs=_pairs,
    prepare=_prepare,
    gives=("truth",),
    metrics=("psnr", "ssim", "ms_ssim"),
    truth_note="the original picture; its own warped copy was the reference",
    source="thesis 5.7",
)
