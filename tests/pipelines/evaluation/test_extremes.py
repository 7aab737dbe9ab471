"""The best and the worst of all are found whichever parts they were in."""

from pathlib import Path

import numpy as np

from eval.metrics.metric import Metric
from eval.metrics.table import METRICS
from eval.protocols.pairing import Pair
from pipelines.evaluation import parts
from pipelines.evaluation.extremes import (
    EACH,
    columns_of,
    ends,
    read_extremes,
    with_thumbnails_of_extremes,
    write_extremes,
)
from pipelines.evaluation.scoring.pair_scorer import PairResult

PSNR, LPIPS = METRICS["psnr"], METRICS["lpips_alex"]


def test_ends_leave_out_what_has_no_value_and_keep_equal_ones_in_their_order() -> None:
    lowest, highest = ends([2.0, float("nan"), 1.0, 3.0, 1.0, 3.0])
    assert lowest == [2, 4, 0]
    assert highest == [3, 5, 0]
    assert ends([float("nan")]) == ([], [])
    assert ends([float("inf"), 1.0])[1] == [0, 1]


def test_pictures_of_a_metric_are_no_second_number_of_it() -> None:
    names = ["psnr", "leakage", "leakage_map_png", "structure_f", "structure_chamfer", "structure_chamfer_map_png"]
    metrics = [METRICS[name] for name in ("psnr", "leakage", "structure_chamfer", "structure_f")]
    assert columns_of(names, metrics).keys() == {"psnr", "leakage", "structure_chamfer", "structure_f"}


def result(place: int, psnr: float, lpips: float) -> PairResult:
    picture = {"result_jpg": f"picture {place}".encode()}
    return PairResult({"psnr": {"psnr": psnr}, "lpips_alex": {"lpips_alex": lpips}}, thumbnails=picture)


def test_the_best_and_the_worst_keep_their_pictures_across_parts(tmp_path: Path) -> None:
    out, count = str(tmp_path), 70
    values = np.random.default_rng(0).normal(size=(count, 2))
    values[5, 0] = np.nan
    metrics: list[Metric] = [PSNR, LPIPS, METRICS["fid"]]
    sizes, tables = parts.split(count), []
    for number, pairs in enumerate(sizes):
        results = with_thumbnails_of_extremes([result(place, *values[place]) for place in pairs], metrics)
        kept = sum(own.thumbnails["result_jpg"] is not None for own in results)
        assert EACH <= kept <= 4 * EACH
        uri = parts.part_uri(out, number)
        parts.write_part(uri, [Pair(f"s{place}", "r", place) for place in pairs], results)
        tables.append(parts.without_vectors(parts.read_part(uri)))
    assert not any(name.endswith("_jpg") for name in tables[0].column_names)

    import pyarrow as pa

    write_extremes(out, pa.concat_tables(tables), metrics, sizes)
    rows = read_extremes(out)
    assert len(rows) == 2 * 2 * EACH
    assert all(row["result_jpg"] == f"picture {row['number']}".encode() for row in rows)
    best = [row["number"] for row in rows if (row["metric"], row["end"]) == ("psnr", "best")]
    assert best == np.argsort(-np.nan_to_num(values[:, 0], nan=-99))[:EACH].tolist()
    best = [row["number"] for row in rows if (row["metric"], row["end"]) == ("lpips_alex", "best")]
    assert best == np.argsort(values[:, 1])[:EACH].tolist(), "lower is better"
    assert [row["rank"] for row in rows[:EACH]] == [1, 2, 3]


def test_metrics_of_sets_alone_have_none(tmp_path: Path) -> None:
    results = with_thumbnails_of_extremes([result(0, 1.0, 1.0)], [METRICS["fid"]])
    assert results[0].thumbnails == {}
    assert read_extremes(str(tmp_path)) == []
