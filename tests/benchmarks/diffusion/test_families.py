"""What figure and ground apart cost is counted as the networks compute it."""

import pytest

from benchmarks.diffusion.families import ARMS, STAGES, Place, counted, sampled_section, sizes_of, trained_section
from benchmarks.diffusion.sizes import SIZES

HALF = Place(precision="bf16")  # as on a GPU; fp32 is what is left when nothing is cast


@pytest.mark.seconds
def test_v2_costs_what_it_computes_beside_v1_at_published_size() -> None:
    found = {share: counted(sizes_of("base"), 512, 256, share) for share in (1.0, 0.5)}
    for share, least, most in ((1.0, 1.15, 1.2), (0.5, 1.07, 1.12)):
        steps = {arm: step / found[share]["v1"][0] for arm, (step, _) in found[share].items()}
        assert steps["v15 full"] == pytest.approx(1, abs=0.02)
        assert steps["v2 style"] == pytest.approx(1, abs=1e-3), "a scale and a shift"
        assert least < steps["v2 full"] < most, share
        assert steps["v2 full"] == pytest.approx(steps["v2 background"], abs=1e-3)
    once = {arm: count for arm, (_, count) in found[1.0].items()}
    assert once["v2 full"] < found[1.0]["v1"][0], "both encoders together are less than a step"


@pytest.mark.seconds
def test_time_is_measured_beside_what_is_counted() -> None:
    sizes = sizes_of("small", SIZES["tiny"].v1)
    section = sampled_section(sizes, 64, steps=1, rounds=1, tokens=16, grounds={"half": 0.5}, place=HALF)
    assert [row["network"] for row in section.rows] == list(ARMS)
    assert all(row["over counted"] > 0 for row in section.rows)
    assert {row["time over v1"] for row in section.rows if row["network"] == "v1"} == {1.0}


@pytest.mark.seconds
def test_frozen_parts_hold_neither_gradients_nor_optimizer_state() -> None:
    rows = {row["stage"]: row for row in trained_section("tiny", 32, batch=2, rounds=1, place=HALF).rows}
    assert rows.keys() == STAGES.keys()
    for row in rows.values():
        assert row["gradients"] == row["trained"]
        assert row["optimizer's numbers"] == 2 * row["trained"]
    assert rows["v1.noisy"]["trained"] == rows["v1.noisy"]["parameters"]
    for stage in ("v15.split", "v2.backbone", "v2.background", "v2.style"):
        assert rows[stage]["trained"] < rows[stage]["parameters"] / 2
