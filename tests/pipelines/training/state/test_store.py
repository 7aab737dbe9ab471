"""States are written whole, two are kept, and what was damaged afterwards is found before anything is made of it."""

import json
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dataprep.storage.store import delete_files, is_s3, join, list_files, read_bytes, write_whole
from pipelines.common.errors import PipelineError
from pipelines.training.state.store import DOCUMENT, Kept, StateStore, all_damaged
from tests.faults import Survived

FILES = {"trained.safetensors": b"weights" * 100, "optimizer.safetensors": b"moments" * 200, "history.jsonl": b"{}\n"}


def fill(folder: Path) -> None:
    """What a worker writes, with the exported checkpoint as a folder of its own."""
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")


def newest_whole(store: StateStore) -> int | None:
    """The images seen of the state that a run would go on from."""
    for state in store.kept():
        try:
            with store.fetched(state) as folder:
                assert (folder / "trained.safetensors").read_bytes() == FILES["trained.safetensors"]
                return state.images_seen
        except PipelineError:
            continue
    return None


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StateStore:
    return StateStore(request.getfixturevalue("s3_prefix") if request.param == "s3" else str(tmp_path / "out"))


def names(store: StateStore) -> list[str]:
    """Every file below the output."""
    return [entry.uri.removeprefix(f"{store.out}/") for entry in list_files(store.out)]


def test_a_state_is_described_by_its_bytes_and_two_are_kept(store: StateStore) -> None:
    assert (store.kept(), store.images_seen()) == ([], 0)
    for images in (16, 32, 48):
        assert store.write(images, fill) == join(store.folder, f"{images:012d}")
    assert [(state.images_seen, state.problem) for state in store.kept()] == [(48, ""), (32, "")]
    assert (store.images_seen(), newest_whole(store)) == (48, 48)
    assert len(names(store)) == 2 * 5
    document = json.loads(read_bytes(join(store.kept()[0].uri, DOCUMENT)))
    assert document["images_seen"] == 48
    assert document["files"].keys() == {*FILES, "model/config.json"}
    assert document["files"]["history.jsonl"]["bytes"] == 3


def test_the_same_state_again_replaces_the_first(store: StateStore) -> None:
    for _ in range(2):
        store.write(16, fill)
    assert [state.images_seen for state in store.kept()] == [16]
    assert newest_whole(store) == 16


def flipped(uri: str, name: str) -> None:
    data = bytearray(read_bytes(join(uri, name)))
    data[len(data) // 2] ^= 1
    write_whole(join(uri, name), bytes(data))


def cut(uri: str, name: str) -> None:
    write_whole(join(uri, name), read_bytes(join(uri, name))[:-1])


def deleted(uri: str, name: str) -> None:
    delete_files([join(uri, name)])


EVERY = [*FILES, "model/config.json", DOCUMENT]
HARMS: list[Callable[[str, str], None]] = [flipped, cut, deleted]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("harm", HARMS)
def test_whatever_happens_to_a_file_of_the_newest_the_one_before_is_taken(
    store: StateStore, harm: Callable[[str, str], None], name: str
) -> None:
    for images in (16, 32):
        store.write(images, fill)
    harm(join(store.folder, f"{32:012d}"), name)
    assert newest_whole(store) == 16
    # The one that was good is kept until there are two good ones again.
    store.damaged |= {join(store.folder, f"{32:012d}")}
    store.write(24, fill)
    assert [state.images_seen for state in store.kept()] == [24, 16]


def test_an_empty_or_deleted_folder_is_passed_over(tmp_path: Path) -> None:
    store = StateStore(str(tmp_path))
    for images in (16, 32):
        store.write(images, fill)
    newest = Path(store.kept()[0].uri)
    shutil.rmtree(newest)
    assert newest_whole(store) == 16
    newest.mkdir()
    assert store.kept()[0].problem == "state.json is missing"
    assert (newest_whole(store), store.images_seen()) == (16, 16)


def test_a_state_under_another_name_is_none(tmp_path: Path) -> None:
    store = StateStore(str(tmp_path))
    store.write(16, fill)
    shutil.copytree(store.kept()[0].uri, tmp_path / "states" / f"{64:012d}")
    assert "it describes another state" in store.kept()[0].problem


def test_a_full_disk_names_the_place_and_a_larger_one_lets_it_go_on(small_disk: Path, survived: Survived) -> None:
    store = StateStore(str(small_disk))
    store.write(16, fill)

    def large(folder: Path) -> None:
        fill(folder)
        save_file({"moments": torch.zeros(100_000)}, folder / "optimizer.safetensors")

    with pytest.raises(PipelineError, match=r"000032: the state at 32 images .*No space left.*Make room there, then"):
        store.write(32, large)
    assert [path.name for path in (small_disk / "states").iterdir()] == [f"{16:012d}"]
    assert newest_whole(store) == 16
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    store.write(32, large)
    states = [state.images_seen for state in store.kept()]
    survived("disk full at a state", work="training", lost=16 * (2 - len(states)), doubled=0)
    assert states == [32, 16]


def test_a_write_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    store = StateStore(str(tmp_path))
    store.write(16, fill)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(PipelineError, match="File too large"):
            store.write(32, fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (tmp_path / "states").iterdir()] == [f"{16:012d}"]


def test_what_a_killed_write_left_is_swept(tmp_path: Path) -> None:
    store = StateStore(str(tmp_path))
    store.write(16, fill)
    partial = tmp_path / "states" / f".{32:012d}.0f.partial"
    partial.mkdir()
    fill(partial)
    assert [state.images_seen for state in store.kept()] == [16]
    store.sweep()
    assert [path.name for path in (tmp_path / "states").iterdir()] == [f"{16:012d}"]


def test_states_of_version_0_1_are_found_behind_those_of_today(tmp_path: Path) -> None:
    for name, images in (("checkpoint_2026-01-01_10-00-00.1", 8), ("checkpoint_2026-01-01_10-00-01.1", 16)):
        folder = tmp_path / "ray" / name
        folder.mkdir(parents=True)
        fill(folder)
        (folder / "history.jsonl").write_text(f'{{"images_seen": {images}}}\n')
    (tmp_path / "ray" / "checkpoint_manager_snapshot.json").write_text("cut sh")  # Ray's own books are not read
    store = StateStore(str(tmp_path))
    assert (store.images_seen(), newest_whole(store)) == (16, None)  # no name says it, the history does
    (folder / "optimizer.safetensors").unlink()
    assert [state.problem for state in store.kept()] == ["optimizer.safetensors is missing", ""]
    assert store.images_seen() == 8
    store.write(24, fill)
    assert [state.images_seen for state in store.kept()] == [24, None, None]
    assert not is_s3(store.out)


def test_where_all_are_damaged_each_is_named() -> None:
    states = [Kept("out/states/2", 2, "a is missing"), Kept("out/states/1", 1, "b is missing")]
    said = str(all_damaged("out", {state.uri: state.problem for state in states}))
    assert "states/2: a is missing; states/1: b is missing" in said
    assert "delete out/states to begin again" in said
