"""References drawn as the papers draw them: uniformly from all held-out rows, whatever group they are of.

`random-reference` leaves a sketch's own group out, so that no answer is nearly right; published scores do not.
"""

from collections.abc import Collection

from eval.errors import EvalError
from eval.protocols.pairing import Pair, draw, noise_seed
from eval.protocols.protocol import CorpusRows, EvaluationProtocol, whole_reference


def uniform_reference(ids: Collection[str], seed: int) -> list[Pair]:
    """Every row with one seeded random other row, each equally likely; sorted by sketch.

    Raises EvalError for fewer than two rows.
    """
    rows = sorted(set(ids))
    if len(rows) < 2:
        raise EvalError("uniform-reference needs two held-out rows; add pictures to the corpus")
    pairs = []
    for place, sketch_id in enumerate(rows):
        step = 1 + draw("uniform", seed, sketch_id) % (len(rows) - 1)
        pairs.append(Pair(sketch_id, rows[(place + step) % len(rows)], noise_seed(seed, sketch_id)))
    return pairs


def _pairs(rows: CorpusRows, seed: int, limit: int | None) -> list[Pair]:
    return uniform_reference(rows.ids, seed)[:limit]


UNIFORM_REFERENCE = EvaluationProtocol(
    name="uniform-reference",
    pairs=_pairs,
    prepare=whole_reference,
    gives=(),
    metrics=("fid_efficientnet_lite0_320",),
    truth_note="the original picture; no one answer is right here",
    source="ColorizeDiffusion 4.1, thesis 4.2.4 and 5.7.2",
)
