"""What the starter is shown on was held out, and the pictures of it show every drawing."""

from pathlib import Path

import numpy as np

from benchmarks.starter import arms
from benchmarks.starter.__main__ import CAPTION, CELL, GAP, HEADS, example, hero, sheet, table
from benchmarks.starter.drawings import assembled_drawings, illustrators, sources, sprites, storybook_pages, trained_ids
from benchmarks.starter.speed import speed
from dataprep.pictures.assembled import shipped_templates
from dataprep.pictures.decode import decode
from dataprep.pictures.identity import content_id
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.common.shipped_pictures import DRAWINGS
from pipelines.demo.gallery import REAL
from tests.pipelines.training.untrained import write_checkpoint

QUICK = SamplingSettings(steps=2, guidance_scale=1.0)


def test_drawings_are_of_templates_that_training_did_not_see() -> None:
    trained = {name for source in sources() for name in source["files"]}
    assert len(trained & shipped_templates().keys()) > 100
    drawings = assembled_drawings(8)
    assert len(drawings) == 8
    assert len({drawing.sketch.tobytes() for drawing in drawings}) == 8
    for drawing in drawings:
        assert drawing.answer is not None
        assert not np.array_equal(drawing.answer, drawing.reference)


def test_pictures_that_were_trained_on_are_never_shown() -> None:
    assert len(trained_ids()) > 5000
    assert len(sprites(4)) == 4
    drawn = illustrators()
    assert len(drawn) == 4
    assert all(drawing.sketch.ndim == 2 and drawing.reference.ndim == 3 for drawing in drawn)
    assert not {content_id((DRAWINGS / name).read_bytes()) for name, _ in REAL} & trained_ids()
    assert len(storybook_pages(3)) in (0, 3)  # none where the storybook is not beside the checkout


def test_the_readmes_picture_and_the_sheet_hold_all_that_they_are_given(tmp_path: Path) -> None:
    checkpoint, drawings = write_checkpoint(tmp_path / "model"), assembled_drawings(2)
    page = hero(drawings, checkpoint, QUICK, [4, 7])
    assert page.size == (len(HEADS) * (CELL + GAP) - GAP, CAPTION + 2 * (CELL + GAP) - GAP)
    small = sheet([*drawings, *sprites(1)], checkpoint, QUICK, columns=2)
    assert small.size == (2 * (CELL + CELL // 2 + 2 * GAP), 2 * (CELL + CAPTION + GAP))
    corner = np.asarray(small)[:CELL, :CELL]
    assert corner.std() > 10


def test_a_table_gives_value_bounds_and_pairs() -> None:
    lines = table({"share": {"value": 0.5, "bounds": [0.25, 0.75], "pairs": 8}}).splitlines()
    assert lines[-1] == "| share | 0.500 | 0.250 to 0.750 | 8 |"


def test_speed_is_told_of_whole_calls_and_of_the_loop(tmp_path: Path) -> None:
    own = {"steps": 2, "guidance_scale": 1.0}
    few, many = write_checkpoint(tmp_path / "few", sampling=own), write_checkpoint(tmp_path / "many")
    told = speed([(few, {}), (many, {}), (few, {"steps": "1"})], rounds=1)
    assert f"| {few} | 64x64 | 2 | 1 |" in told
    assert f"| {many} | 64x64 | 20 | 4 |" in told
    assert f"| {few} | 64x64 | 1 | 1 |" in told
    assert f"{few} against {many}: whole call" in told


def test_every_arm_differs_from_the_first_in_what_it_names_alone() -> None:
    base = arms.arm_recipe(arms.BASE, 4800).flat()
    for name, changes in arms.ARMS.items():
        other = arms.arm_recipe(name, 4800).flat()
        assert {key for key in base | other if other.get(key) != base.get(key)} == set(changes), name


def test_the_table_of_arms_compares_each_with_the_first_on_the_same_pairs() -> None:
    def scored(psnr: list[float]) -> dict[str, list[float]]:
        return {"psnr": psnr, "told_psnr": psnr, "nearer": [1.0, 0.0]}

    first = {"moving average": scored([10.0, 20.0]), "weights": scored([9.0, 19.0])}
    second = {"moving average": scored([11.0, 21.0]), "weights": scored([8.0, 18.0])}
    lines = arms.table({"base": first, "other": second}).splitlines()
    assert lines[2] == "| base | 15.00 |  |  | 0.50 | 14.00 |"
    assert lines[3] == "| other | 16.00 | +1.00 | +1.00 to +1.00 | 0.50 | 13.00 |"


def test_an_example_is_two_files_of_a_held_out_drawing(tmp_path: Path) -> None:
    (drawing,) = assembled_drawings(1)
    example(drawing, tmp_path)
    assert np.array_equal(decode((tmp_path / "line.png").read_bytes()).rgb[..., 0], drawing.sketch)
    assert np.array_equal(decode((tmp_path / "colours.png").read_bytes()).rgb, drawing.reference)
