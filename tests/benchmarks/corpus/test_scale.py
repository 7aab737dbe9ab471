"""The benchmark of scale runs, and what it makes up is what planning a real corpus meets."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.corpus import scale as corpus_scale
from benchmarks.corpus.made_up_rows import judged, made_up_records
from dataprep.plan.filters import FilterSettings
from dataprep.plan.row_plan import make_plan
from pipelines.recipes.build_recipe import BuildRecipe


def test_made_up_pictures_are_dropped_for_every_reason_that_a_plan_knows() -> None:
    records = pa.concat_tables([judged(block, FilterSettings()) for block in made_up_records(20_000)])
    plan = make_plan(records, BuildRecipe())
    reasons = Counter(plan.rejects["reason"].to_pylist())
    assert {"duplicate-file", "duplicate-pixels", "near-duplicate", "watermark", "too-elongated"} <= reasons.keys()
    assert 0.9 < len(plan.rows) / 20_000 < 0.97
    assert len(plan.bucket_counts()["train"]) == 7


def test_the_same_seed_makes_up_the_same_and_many_hashes_share_most_bits() -> None:
    one, again, other = (pa.concat_tables(made_up_records(5000, seed)) for seed in (0, 0, 1))
    assert one == again
    assert one["id"] != other["id"]
    hashes = one["phash"].to_numpy()
    near = np.bitwise_count(hashes[:, None] ^ hashes[None, :400]) <= 16  # of random ones hardly 100 pairs
    assert near.sum() - 400 > 1000


def test_every_phase_is_timed_and_its_peak_is_known(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.corpus.scale", "--rows", "20000", "--out", str(tmp_path / "s.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kept = json.loads((tmp_path / "s.json").read_text())
    phases = " ".join(row["phase"] for row in kept["phases"])
    for word in ("split", "near duplicates", "plan", "commit", "diff", "reader start"):
        assert word in phases
    peaks = [row["peak GiB"] for row in kept["phases"]]
    assert peaks == sorted(peaks)
    assert 0 < peaks[-1] < corpus_scale.MOST_GIB
    assert "Without pixels: 20,000 pictures (bar met)" in done.stdout
