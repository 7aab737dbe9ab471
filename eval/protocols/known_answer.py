"""Known answers: assembled drawings, whose right colours after any other assembled drawing can be drawn exactly.

The protocol is ours. Each sketch meets two references in turn, with one noise: a result is right when it is nearer to
the answer for its own reference than to that for the other.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from eval.errors import EvalError
from eval.protocols.pairing import Pair, draw, group_of, noise_seed, of_other_group
from eval.protocols.protocol import REFERENCE, CorpusRows, EvaluationProtocol, PairPictures, PreparedPair, Regions

PAIRS = 200  # without a limit
UNSCORED = 255
BACKGROUND = frozenset({"background"})


def known_answer(groups: Mapping[str, str | None], seed: int, count: int) -> list[Pair]:
    """`count` pairs of unrelated pictures, in couples: sketch A with B (other: C), then A with C (other: B).

    A, B and C are of three groups (groups: id -> group). Both of a couple share one noise seed: a model that ignores
    its reference then draws the same picture twice and is right exactly once, a share of exactly one half. Every sketch
    is used once before any is used again. Raises ValueError for an odd count, EvalError for fewer than three groups.
    """
    if count < 2 or count % 2:
        raise ValueError(f"known-answer pairs come in couples: count must be even and positive, not {count}")
    ids = sorted(groups)
    if len({group_of(row_id, groups) for row_id in ids}) < 3:
        raise EvalError("known-answer needs pictures of at least three groups; add assembled pictures to the corpus")
    sketches = sorted(ids, key=lambda row_id: draw("order", seed, row_id))
    pairs: list[Pair] = []
    for couple in range(count // 2):
        turn, index = divmod(couple, len(sketches))
        a = sketches[index]
        b = of_other_group(ids, groups, [a], "first", seed, a, turn)
        c = of_other_group(ids, groups, [a, b or a], "second", seed, a, turn)
        assert b is not None, "there are three groups or more"
        assert c is not None, "there are three groups or more"
        noise = noise_seed(seed, f"{a}:{turn}")
        pairs += [Pair(a, b, noise, c), Pair(a, c, noise, b)]
    return pairs


def assembly_groups(rows: CorpusRows) -> dict[str, str | None]:
    """id -> group of the rows that are assembled, whose right answer is known."""
    return {row["id"]: row["group"] for row in rows.facts() if row["assembly"]}


def _pairs(rows: CorpusRows, seed: int, limit: int | None) -> list[Pair]:
    count, groups = limit if limit is not None else PAIRS, assembly_groups(rows)
    if not groups:
        raise EvalError(
            "known-answer applies to corpora with assembled drawings, whose right colours can be drawn, as `irodori "
            "demo` builds one; this corpus holds none out. Take --protocol deformed-reference, or random-reference"
        )
    return known_answer(groups, seed, max(2, count - count % 2))


def _prepare(pair: Pair, pictures: PairPictures) -> PreparedPair:
    """Both right answers, and where they are determined.

    A region that a reference does not show (the hair of a bald head) has no right colour: only the PSNR of the whole
    picture, which is the papers', counts it.
    """
    assert pair.other_reference_id is not None, "known-answer pairs name the other reference"
    sketch, own, other = pair.sketch_id, pair.reference_id, pair.other_reference_id
    drawing = pictures.regions(sketch)
    shown, told = pictures.shown_regions(sketch), pictures.shown_regions(own)
    scored = shown & told
    compared = scored & pictures.shown_regions(other)
    classes = np.where(drawing.within(scored), drawing.classes, UNSCORED).astype(np.uint8)
    return PreparedPair(
        {REFERENCE: pictures.whole(own)},
        {
            "truth": pictures.recolored(sketch, own),
            "other_truth": pictures.recolored(sketch, other),
            "regions": Regions(classes, drawing.names),
            "told": ~drawing.within(shown - told),
            "determined": drawing.within(compared),
            "paper": drawing.within(BACKGROUND),
            "own_figure": ~pictures.regions(own).within(BACKGROUND),  # its lines included
            "other_figure": ~pictures.regions(other).within(BACKGROUND),
        },
        {REFERENCE: partial(pictures.mask, own)},
    )


KNOWN_ANSWER = EvaluationProtocol(
    name="known-answer",
    pairs=_pairs,
    prepare=_prepare,
    gives=("truth", "other_truth", "regions", "told", "determined", "paper", "own_figure", "other_figure"),
    metrics=("known_answer", "psnr", "told_psnr", "region_psnr", "layout_leak", "ms_ssim"),
    truth_note="the right answer, drawn exactly: this drawing in the reference's colours",
    source="ours",
    square=True,
)
