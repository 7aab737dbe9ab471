"""Files in, pictures out, with v2: what each of its modes needs, takes and refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.checkpoint import CheckpointMetadata
from model.diffusion.sampling_settings import SamplingSettings
from model.families.v2.sizes import V2_SIZES
from pipelines.colorization.colorize import Failed, colorize
from pipelines.colorization.jobs import MASKS
from pipelines.colorization.picture_settings import PictureSettings
from pipelines.colorization.provenance import extract
from pipelines.colorization.replay import InputAddresses, plan_replay, replay
from pipelines.colorization.run_settings import RunSettings
from pipelines.common.errors import PipelineError
from pipelines.weights.controls import check_own_controls
from tests.pipelines.colorization.test_parted import SAMPLING, files, job, made, parted
from tests.pipelines.training.untrained import write_parted_checkpoint

__all__ = ["files"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_parted_checkpoint(tmp_path_factory.mktemp("separate") / "checkpoint", "v2")


def test_every_mode_makes_its_own_picture_and_full_is_the_usual(files: Path, checkpoint: str) -> None:
    pictures = {
        mode: made(job(files, f"{mode}.png"), checkpoint, parted(mode=mode))
        for mode in ("vanilla", "style", "split", "background", "full")
    }
    for mode, picture in pictures.items():
        assert sum(np.array_equal(picture, other) for other in pictures.values()) == 1, mode
    np.testing.assert_array_equal(made(job(files), checkpoint), pictures["full"])


def test_style_and_vanilla_need_no_masks(files: Path, checkpoint: str) -> None:
    opaque = job(files, reference="reference")
    for mode in ("style", "vanilla"):
        made(opaque, checkpoint, parted(mode=mode))
        assert extract(Path(opaque.out).read_bytes(), opaque.out).masks == {}
    (failed,) = colorize([opaque], checkpoint, PictureSettings(SAMPLING), RunSettings(device="cpu"))
    assert isinstance(failed, Failed)
    assert "nothing of it is transparent" in failed.reason


def test_the_background_factor_and_a_background_of_its_own_change_the_picture(files: Path, checkpoint: str) -> None:
    usual = made(job(files), checkpoint)
    assert (made(job(files, "a.png"), checkpoint, parted(background_factor=0.3)) != usual).any()
    own = made(job(files, "b.png", background="sky"), checkpoint)
    assert (own != usual).any()
    assert (made(job(files, "c.png", background="sky"), checkpoint, parted(merging_scale=0.6)) != own).any()
    # Beside it a reference needs no mask, and a style is blended in without any.
    made(job(files, "d.png", reference="reference", background="sky"), checkpoint)
    blended = job(files, "e.png", reference="reference", background="sky")
    made(blended, checkpoint, parted(mode="style", merging_scale=0.6))
    assert extract(Path(blended.out).read_bytes(), blended.out).masks == {}


def test_what_a_mode_has_no_use_for_is_refused_by_name(files: Path, checkpoint: str) -> None:
    with pytest.raises(PipelineError, match="mode=style has no use for background_factor, sketch_threshold"):
        made(job(files), checkpoint, parted(mode="style", background_factor=0.5, sketch_threshold=0.5))
    with pytest.raises(PipelineError, match="mode=split has no use for background_factor"):
        made(job(files), checkpoint, parted(mode="split", background_factor=0.5))
    with pytest.raises(PipelineError, match="mode=style has no use for reference_mask, sketch_mask"):
        made(job(files, sketch_mask="left", reference_mask="alpha"), checkpoint, parted(mode="style"))
    with pytest.raises(PipelineError, match="mode=vanilla has no use for background"):
        made(job(files, background="sky"), checkpoint, parted(mode="vanilla"))
    with pytest.raises(PipelineError, match="mode=style has no use for reference_mask_by"):
        made(job(files), checkpoint, parted(mode="style", reference_mask_by="empty"))
    with pytest.raises(PipelineError, match="that is 0, give --merging-scale"):
        made(job(files, background="sky"), checkpoint, parted(mode="style"))
    with pytest.raises(PipelineError, match="there is none, give --background"):
        made(job(files), checkpoint, parted(mode="style", merging_scale=0.5))
    with pytest.raises(PipelineError, match=r"a v2 network has no mode=foreground \(v15 has it\)"):
        made(job(files), checkpoint, parted(mode="foreground"))


def test_the_background_of_a_styled_result_is_removed_by_the_sketchs_mask(files: Path, checkpoint: str) -> None:
    asked = job(files, sketch_mask="left")
    picture = made(asked, checkpoint, parted(mode="style", remove_background=True, sketch_threshold=0.5))
    assert (picture[:, 80:] == 255).all(), "beyond the last line of the sketch"
    assert set(extract(Path(asked.out).read_bytes(), asked.out).masks) == {"sketch_mask"}


def test_masks_are_written_and_a_replay_is_equal(files: Path, checkpoint: str) -> None:
    asked = job(files, sketch_mask="left", background="sky")
    made(asked, checkpoint, parted(background_factor=1.5, merging_scale=0.3), masks=True)
    assert [name for name in MASKS if Path(asked.layer(name)).exists()] == ["sketch-mask", "background"]
    out = str(files / "again.png")
    planned = plan_replay(asked.out, out, InputAddresses(follow=True), RunSettings(device="cpu"))
    assert replay(asked.out, *planned, RunSettings(device="cpu")).equal


def test_a_mode_that_the_network_was_not_trained_for_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    metadata = CheckpointMetadata(
        family="v2", stage="v2.background", size="tiny", network=replace(V2_SIZES["tiny"], style=False)
    )
    check_own_controls("x", metadata, SamplingSettings())
    with pytest.raises(PipelineError, match=r"mode=full needs a style encoder, .* v2.style makes one"):
        check_own_controls("x", metadata, SamplingSettings(mode="full"))
    with pytest.raises(PipelineError, match="mode=split has no use for background_factor"):
        check_own_controls("x", metadata, SamplingSettings(mode="split", background_factor=0.5))


def test_v15_takes_no_background_factor_and_v1_none_of_it(files: Path, tmp_path: Path) -> None:
    split = write_parted_checkpoint(tmp_path / "split")
    with pytest.raises(PipelineError, match="a v15 network takes no background_factor; these do: v2"):
        made(job(files), split, parted(background_factor=0.5))
    with pytest.raises(PipelineError, match=r"a v15 network has no mode=style \(v2 has it\)"):
        made(job(files), split, parted(mode="style"))
    with pytest.raises(PipelineError, match="mode=foreground has no use for background"):
        made(job(files, background="sky"), split, parted(mode="foreground"))
