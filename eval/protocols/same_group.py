"""References of the same group: each sketch with another picture of its artist, character, series or story.

What a studio does: a frame is coloured after another one of the same sequence. No one answer is right, for the two
differ in pose and light, so distances between sets of pictures apply.
"""

from collections.abc import Mapping

from eval.errors import EvalError
from eval.protocols.pairing import Pair, draw, noise_seed
from eval.protocols.protocol import CorpusRows, EvaluationProtocol, whole_reference


def same_group(groups: Mapping[str, str | None], seed: int) -> list[Pair]:
    """Every sketch with one seeded random other row of its group (id -> group), sorted by sketch.

    Rows without a group, or alone in theirs, have no pair. Raises EvalError where none has.
    """
    members: dict[str, list[str]] = {}
    for row_id in sorted(groups):
        if (group := groups[row_id]) is not None:
            members.setdefault(group, []).append(row_id)
    pairs = []
    for own in members.values():
        for place, sketch_id in enumerate(own):
            if len(own) > 1:
                step = 1 + draw("same-group", seed, sketch_id) % (len(own) - 1)
                pairs.append(Pair(sketch_id, own[(place + step) % len(own)], noise_seed(seed, sketch_id)))
    if not pairs:
        raise EvalError(
            "same-group pairs pictures of one group, and no group of this corpus has two held-out pictures; groups are "
            "told by folders or an index (docs/corpus.md). Take --protocol random-reference"
        )
    return sorted(pairs, key=lambda pair: pair.sketch_id)


def _pairs(rows: CorpusRows, seed: int, limit: int | None) -> list[Pair]:
    return same_group({row["id"]: row["group"] for row in rows.facts()}, seed)[:limit]


SAME_GROUP = EvaluationProtocol(
    name="same-group",
    pairs=_pairs,
    prepare=whole_reference,
    gives=(),
    metrics=("fid_efficientnet_lite0_320",),
    truth_note="the original picture; another of its group was the reference",
    source="ours",
)
