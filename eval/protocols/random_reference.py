"""Random references: each sketch with the picture of an unrelated row, as the published FIDs are measured.

Thesis 4.2.4 scores 7,000 such triplets, 5.7 the whole validation set: no one answer is right, so only distances between
sets of pictures apply.
"""

from collections.abc import Collection, Mapping

from eval.errors import EvalError
from eval.protocols.pairing import Pair, noise_seed, of_other_group
from eval.protocols.protocol import CorpusRows, EvaluationProtocol, whole_reference


def random_reference(
    sketch_ids: Collection[str],
    reference_ids: Collection[str],
    seed: int,
    groups: Mapping[str, str | None] | None = None,
) -> list[Pair]:
    """Every sketch with one seeded random reference, never itself nor a row of its own group (id -> group).

    Sorted by sketch. Raises EvalError when a sketch has no reference that it may take.
    """
    groups = groups or {}
    references = sorted(set(reference_ids))
    pairs = []
    for sketch_id in sorted(set(sketch_ids)):
        reference_id = of_other_group(references, groups, [sketch_id], "random", seed, sketch_id)
        if reference_id is None:
            raise EvalError(
                f"sketch {sketch_id[:12]} has no reference outside its own group; add pictures to the corpus"
            )
        pairs.append(Pair(sketch_id, reference_id, noise_seed(seed, sketch_id)))
    return pairs


def _pairs(rows: CorpusRows, seed: int, limit: int | None) -> list[Pair]:
    groups = {row["id"]: row["group"] for row in rows.facts()}
    return random_reference(rows.ids, rows.ids, seed, groups)[:limit]


RANDOM_REFERENCE = EvaluationProtocol(
    name="random-reference",
    pairs=_pairs,
    prepare=whole_reference,
    gives=(),
    metrics=("fid_efficientnet_lite0_320",),
    truth_note="the original picture; no one answer is right here",
    source="thesis 3.3.2, 4.2.4 and 5.7",
)
