"""Own references: each sketch with the picture that it was drawn from, an upper bound for what a reference can give."""

from collections.abc import Collection
from functools import partial

from eval.protocols.pairing import Pair, noise_seed
from eval.protocols.protocol import REFERENCE, CorpusRows, EvaluationProtocol, PairPictures, PreparedPair


def self_reference(ids: Collection[str], seed: int) -> list[Pair]:
    """Every sketch with its own picture as the reference, sorted by id."""
    return [Pair(row_id, row_id, noise_seed(seed, row_id)) for row_id in sorted(set(ids))]


def _pairs(rows: CorpusRows, seed: int, limit: int | None) -> list[Pair]:
    return self_reference(rows.ids, seed)[:limit]


def _prepare(pair: Pair, pictures: PairPictures) -> PreparedPair:
    reference, mask = pictures.whole(pair.reference_id), partial(pictures.mask, pair.reference_id)
    return PreparedPair({REFERENCE: reference}, {"truth": pictures.original}, {REFERENCE: mask})


SELF_REFERENCE = EvaluationProtocol(
    name="self",
    pairs=_pairs,
    prepare=_prepare,
    gives=("truth",),
    metrics=("psnr", "ssim", "ms_ssim"),
    truth_note="the original picture; it was the reference too",
    source="thesis 3.1, training with the ground truth as reference",
)
