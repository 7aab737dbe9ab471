"""What a worker measures of a pair: against truths drawn here by hand, and the same whoever has the pair."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dataprep.corpus.reader import CorpusReader
from dataprep.errors import DataError
from dataprep.pictures import assembled
from dataprep.pictures.decode import decode, decode_png
from eval.metrics.psnr import psnr
from eval.metrics.sets.frechet import FRECHET_DISTANCE
from eval.protocols.known_answer import assembly_groups
from eval.protocols.pairing import Pair
from eval.protocols.protocol import Regions
from model.checkpoint import load_checkpoint
from model.diffusion.injection import InjectionConditions, injection_conditions
from model.diffusion.sampling_settings import InjectionSettings, SamplingSettings
from model.families.v1.network import V1
from model.feature_networks import efficientnet
from model.frozen.codec import ImageCodec
from pipelines.colorization.colorize import colorize
from pipelines.colorization.jobs import ColorizeJob
from pipelines.colorization.picture_settings import PictureSettings
from pipelines.common.errors import PipelineError
from pipelines.evaluation.plan import plan_evaluation
from pipelines.evaluation.scoring.corpus_pairs import ReaderRows
from pipelines.evaluation.scoring.pair_scorer import Cost, PairScorer, ReadyPair, unit
from tests.pipelines.training.untrained import write_checkpoint, write_parted_checkpoint

QUICK = SamplingSettings(steps=2, guidance_scale=1.5)
VANILLA = replace(QUICK, mode="vanilla")
SIDE = 64


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_parted_checkpoint(tmp_path_factory.mktemp("parted") / "checkpoint")


@pytest.fixture(scope="module")
def reader(corpus: str) -> CorpusReader:
    return CorpusReader(corpus, "validation", ("color", "sketch_drawn"))


def scorer(corpus: str, checkpoint: str, protocol: str, **changes: Any) -> PairScorer:
    plan = plan_evaluation(checkpoint, corpus, protocol, "nowhere", sampling=QUICK, limit=2)
    return PairScorer(replace(plan, **changes))


def rows(score: PairScorer, pairs: Sequence[Pair], shown: bool = False) -> list[dict[str, Any]]:
    """One row for each pair, with pictures where they are `shown`."""
    return [result.row for result in score(pairs, [shown] * len(pairs))]


def ids(reader: CorpusReader) -> list[str]:
    assert len(reader) >= 4, "the corpus is too small for these tests"
    return reader.ids


def own_pairs(reader: CorpusReader, count: int = 3) -> list[Pair]:
    return [Pair(row_id, row_id, seed) for seed, row_id in enumerate(ids(reader)[:count])]


@pytest.mark.parametrize("protocol", ["self", "deformed-reference"])
def test_a_pair_scores_the_same_alone_and_in_a_batch(
    corpus: str, checkpoint: str, reader: CorpusReader, protocol: str
) -> None:
    score, pairs = scorer(corpus, checkpoint, protocol), own_pairs(reader)
    for pair, row in zip(pairs, rows(score, pairs), strict=True):
        alone = rows(score, [pair])[0]
        assert alone["style"] == row["style"] == "drawn"
        one, other = ({name: value for name, value in own.items() if isinstance(value, float)} for own in (alone, row))
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)  # a level may round otherwise


def test_psnr_is_that_of_the_pictures_that_are_shown(corpus: str, checkpoint: str, reader: CorpusReader) -> None:
    results = [result.row for result in scorer(corpus, checkpoint, "self")(own_pairs(reader), [True, True, False])]
    assert ["result_png" in row for row in results] == [True, True, False]
    for row in results[:2]:
        result, truth = (decode_png(row[name]).astype(float) / 255 for name in ("result_png", "truth_png"))
        assert row["psnr"] == pytest.approx(-10 * np.log10(np.mean((result - truth) ** 2)), abs=1e-4)


def test_the_truth_is_the_middle_of_the_rows_own_picture(corpus: str, checkpoint: str, reader: CorpusReader) -> None:
    (pair,) = own_pairs(reader, 1)
    (row,) = rows(scorer(corpus, checkpoint, "self"), [pair], shown=True)
    color = decode(reader.row(0)["color"]).rgb
    truth = decode_png(row["truth_png"])
    assert truth.shape == (SIDE, SIDE, 3)
    by_hand = color.reshape(96, 96, 3)[16:80, 16:80].mean((0, 1))
    assert np.abs(truth[11:53, 11:53].mean((0, 1)) - by_hand).max() < 3


@pytest.mark.parametrize("more", [{}, {"injection": InjectionSettings(fidelity=0.2)}, {"reference_padding": 1.5}])
def test_the_same_picture_is_made_again_from_what_is_shown(
    corpus: str,
    checkpoint: str,
    reader: CorpusReader,
    tmp_path: Path,
    more: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And attention injection reads the very same pixels."""
    injected: list[torch.Tensor] = []

    def watched(model: V1, codec: ImageCodec, references: torch.Tensor, *others: Any) -> InjectionConditions:
        injected.append(references)
        return injection_conditions(model, codec, references, *others)

    monkeypatch.setattr("model.diffusion.pipeline.injection_conditions", watched)
    (pair,) = own_pairs(reader, 1)
    sampling = replace(QUICK, **more)
    (row,) = rows(scorer(corpus, checkpoint, "deformed-reference", sampling=sampling), [pair], shown=True)
    sketch, reference, out = (str(tmp_path / f"{name}.png") for name in ("sketch", "reference", "out"))
    Path(sketch).write_bytes(row["sketch_png"])
    Path(reference).write_bytes(row["reference_png"])
    as_drawn = PictureSettings(sampling, polarity="dark", levels=False, keep_lines=False)
    list(
        colorize(
            [ColorizeJob(sketch=sketch, references={"reference": reference}, out=out, seed=pair.seed)],
            checkpoint,
            as_drawn,
        )
    )
    again = decode(Path(out).read_bytes()).rgb.astype(int)
    assert np.abs(again - decode_png(row["result_png"])).max() <= 1
    assert len(injected) == (2 if "injection" in more else 0)
    assert all(torch.equal(reference, injected[0]) for reference in injected)


def test_a_deformed_reference_is_another_picture_of_the_same_colours(
    corpus: str, checkpoint: str, reader: CorpusReader
) -> None:
    (pair,) = own_pairs(reader, 1)
    deformed, again, plain = (
        decode_png(rows(scorer(corpus, checkpoint, protocol), [pair], shown=True)[0]["reference_png"]).astype(float)
        for protocol in ("deformed-reference", "deformed-reference", "self")
    )
    np.testing.assert_array_equal(deformed, again)
    assert np.abs(deformed - plain).mean() > 3


def test_the_sketch_is_shown_black_on_white(corpus: str, checkpoint: str, reader: CorpusReader) -> None:
    (row,) = rows(scorer(corpus, checkpoint, "self"), own_pairs(reader, 1), shown=True)
    assert np.median(decode_png(row["sketch_png"])) == 255


def known_pair(reader: CorpusReader) -> Pair:
    a, b, c = ids(reader)[:3]
    return Pair(a, b, 5, c)


def test_the_known_answer_is_the_sketchs_drawing_in_the_references_colours(
    corpus: str, checkpoint: str, reader: CorpusReader
) -> None:
    pair = known_pair(reader)
    (row,) = rows(scorer(corpus, checkpoint, "known-answer"), [pair], shown=True)
    drawing, colors_of = (assembled.from_json(reader.row(i)["assembly"]) for i in (0, 1))
    answer = assembled.render(assembled.recolored(drawing, colors_of), SIDE).astype(float)
    truth = decode_png(row["truth_png"]).astype(float)
    assert np.abs(answer - truth).mean() < 6  # drawn small, or drawn large and reduced
    assert dict(assembled.recolored(drawing, colors_of).colors)["background"] == dict(colors_of.colors)["background"]


def given(prepared: ReadyPair, name: str) -> np.ndarray:
    value = prepared.given[name]
    assert isinstance(value, np.ndarray)
    return value


def test_a_result_that_is_the_answer_is_nearer_to_it_in_every_region(
    corpus: str, checkpoint: str, reader: CorpusReader
) -> None:
    score, pair = scorer(corpus, checkpoint, "known-answer"), known_pair(reader)
    prepared = score.reader.prepare(pair)
    (right,), (wrong,) = (
        score.measure(score.given([prepared], [given(prepared, name)], Cost(torch.device("cpu"))), 1)
        for name in ("truth", "other_truth")
    )
    assert (right["known_answer"], wrong["known_answer"]) == ({"nearer": 1.0}, {"nearer": 0.0})
    assert right["psnr"] == {"psnr": float("inf")}
    scored = [name for name in assembled.REGIONS if right["region_psnr"][f"psnr_{name}"] == float("inf")]
    assert "background" in scored
    background = wrong["region_psnr"]["psnr_background"]
    assert isinstance(background, float)
    assert background < 60


def test_regions_that_a_reference_does_not_show_are_not_scored(
    corpus: str, checkpoint: str, reader: CorpusReader
) -> None:
    """`adventurer` wears no clothes, so it cannot tell in what colour those of `open-peeps` should be."""
    score = scorer(corpus, checkpoint, "known-answer")
    styles: dict[str, list[str]] = {}
    for i, row_id in enumerate(reader.ids):
        styles.setdefault(assembled.from_json(reader.row(i)["assembly"]).style, []).append(row_id)
    dressed, bare = styles["open-peeps"], styles["adventurer"]
    asked = {}
    for reference, other in ((dressed[1], bare[0]), (bare[0], dressed[1])):
        prepared = score.reader.prepare(Pair(dressed[0], reference, 0, other))
        regions = prepared.given["regions"]
        assert isinstance(regions, Regions)
        asked[reference] = {regions.names[i] for i in np.unique(regions.classes) if i != assembled.NOT_SCORED}
        clothes = assembled.region_classes(
            assembled.from_json(reader.row(reader.ids.index(dressed[0]))["assembly"]), SIDE
        ) == assembled.REGIONS.index("clothes")
        assert clothes.any()
        assert not given(prepared, "determined")[clothes].any()
        assert given(prepared, "told")[clothes].all() == (reference == dressed[1])
        assert given(prepared, "told")[~clothes].all()
    assert asked[dressed[1]] - asked[bare[0]] == {"clothes"}


def test_without_a_reference_it_has_no_influence(corpus: str, checkpoint: str, reader: CorpusReader) -> None:
    a, b, c = ids(reader)[:3]
    score = scorer(corpus, checkpoint, "self", without_reference=True)
    with_b, with_c = (rows(score, [Pair(a, other, 1)], shown=True)[0]["result_png"] for other in (b, c))
    assert with_b == with_c
    informed = scorer(corpus, checkpoint, "self")
    with_b, with_c = (rows(informed, [Pair(a, other, 1)], shown=True)[0]["result_png"] for other in (b, c))
    assert with_b != with_c


def test_random_references_give_features_of_result_and_original(
    corpus: str, checkpoint: str, reader: CorpusReader
) -> None:
    a, b = ids(reader)[:2]
    score = scorer(corpus, checkpoint, "random-reference")
    (row,) = rows(score, [Pair(a, b, 1)], shown=True)
    network, _ = efficientnet.load()
    for view, shown in zip(FRECHET_DISTANCE.vectors, ("result_png", "truth_png"), strict=True):
        truth = efficientnet.features(network, unit([decode_png(row[shown])]))[0]
        assert row[view].dtype == np.float32
        np.testing.assert_allclose(row[view], truth, rtol=1e-4, atol=1e-5)


def test_the_moving_average_is_what_is_scored_where_it_is_asked_for(
    corpus: str, reader: CorpusReader, tmp_path: Path
) -> None:
    def result(checkpoint: str, ema: bool = False) -> np.ndarray:
        (row,) = rows(scorer(corpus, checkpoint, "self", ema=ema), own_pairs(reader, 1), shown=True)
        return decode_png(row["result_png"]).astype(int)

    now, average = (write_checkpoint(tmp_path / str(seed), SIDE, SIDE, seed) for seed in (0, 1))
    both = write_checkpoint(tmp_path / "both", SIDE, SIDE, 0, ema=load_checkpoint(Path(average))[0].state_dict())
    assert np.abs(result(both) - result(now)).max() <= 1
    assert np.abs(result(both, ema=True) - result(average)).max() <= 1
    assert np.abs(result(average) - result(now)).max() > 1


def test_pictures_become_tensors_of_the_unit_range() -> None:
    picture = np.array([[[0, 128, 255]]], np.uint8)
    tensor = unit([picture, picture])
    assert tensor.shape == (2, 3, 1, 1)
    assert tensor.dtype == torch.float32
    assert tensor[1, :, 0, 0].tolist() == pytest.approx([0, 128 / 255, 1])
    assert float(psnr(tensor, tensor)[0]) == float("inf")


def test_only_assembled_rows_have_a_known_answer(reader: CorpusReader) -> None:
    groups = assembly_groups(ReaderRows(reader))
    assert set(groups) == set(reader.ids)
    assert all(groups.values())


def test_a_row_without_a_sketch_is_named(checkpoint: str, unassembled: str) -> None:
    score = scorer(unassembled, checkpoint, "self", columns=("color", "sketch_drawn"))
    row_id = score.reader.corpus.reader.ids[0]
    with pytest.raises(DataError, match=row_id):
        score([Pair(row_id, row_id, 0)], [False])


@pytest.mark.parametrize("protocol", ["known-answer", "deformed-reference", "self", "random-reference"])
def test_a_network_that_keeps_figure_and_ground_apart_is_shown_the_corpuss_masks(
    corpus: str, parted: str, protocol: str
) -> None:
    score, plain = scorer(corpus, parted, protocol), scorer(corpus, parted, protocol, sampling=VANILLA)
    assert score.plan.masks
    ready = [score.reader.prepare(pair) for pair in score.plan.pairs]
    row = score.reader.corpus.row(score.plan.pairs[0].reference_id)
    assert ready[0].masks is not None
    sketch, reference = ready[0].masks
    assert sketch.shape == (1, SIDE, SIDE)
    assert 0 < sketch.mean() < 1
    if protocol != "deformed-reference":
        np.testing.assert_array_equal(reference, decode_png(row["mask"]))
    else:
        assert abs(reference.mean() - decode_png(row["mask"]).mean()) < 40
    seeds = [pair.seed for pair in score.plan.pairs]
    parts, whole = score.color(ready, seeds), plain.color(ready, seeds)
    assert all((one != other).any() for one, other in zip(parts, whole, strict=True))


def test_a_corpus_without_masks_or_a_network_without_their_use_is_refused(
    corpus: str, checkpoint: str, parted: str, opaque_corpus: str
) -> None:
    with pytest.raises(PipelineError, match="a v1 network takes no mode; these do: v15"):
        plan_evaluation(checkpoint, corpus, "self", "nowhere", sampling=VANILLA)
    with pytest.raises(PipelineError, match=r"held-out rows of .* have no mask, by which a v15 network"):
        plan_evaluation(parted, opaque_corpus, "self", "nowhere", sampling=QUICK)
    assert not plan_evaluation(parted, opaque_corpus, "self", "nowhere", sampling=VANILLA).masks
