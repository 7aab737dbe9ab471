"""The same verbs, and the same errors in one line, on disk and on a real S3 server."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dataprep.errors import DataError
from dataprep.storage import s3
from dataprep.storage import store as storage


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.s3)])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "disk" else request.getfixturevalue("s3_prefix")


def test_what_is_written_is_read(base: str) -> None:
    uri = storage.join(base, "a", "b.bin")
    storage.write_whole(uri, b"first")
    storage.write_whole(uri, b"second")
    assert storage.read_bytes(uri) == b"second"
    filesystem, path = storage.arrow_filesystem(uri)
    assert filesystem.open_input_file(path).read() == b"second"


def test_a_missing_file_is_named(base: str) -> None:
    uri = storage.join(base, "nothing")
    assert not storage.exists(uri)
    with pytest.raises(DataError, match=r"nothing: there is no such file"):
        storage.read_bytes(uri)


def test_a_listing_is_recursive_sorted_and_tells_when_content_changes(base: str) -> None:
    assert storage.list_files(base) == []
    for name in ("b/2", "a/1", "c"):
        storage.write_whole(storage.join(base, name), name.encode())
    before = storage.list_files(base)
    assert [entry.uri for entry in before] == [storage.join(base, name) for name in ("a/1", "b/2", "c")]
    assert [entry.size for entry in before] == [3, 3, 1]
    storage.write_whole(storage.join(base, "c"), b"d")
    after = storage.list_files(base)
    assert after[:2] == before[:2]
    assert after[2].version != before[2].version


def test_a_listing_of_one_folder_leaves_out_its_namesakes(base: str) -> None:
    storage.write_whole(storage.join(base, "part/1"), b"")
    storage.write_whole(storage.join(base, "part-2/1"), b"")
    assert [entry.uri for entry in storage.list_files(storage.join(base, "part"))] == [storage.join(base, "part/1")]


def test_of_many_exclusive_writers_exactly_one_wins(base: str) -> None:
    uri = storage.join(base, "prize")
    won: list[int] = []

    def write(writer: int) -> None:
        if storage.create_exclusive(uri, str(writer).encode()):
            won.append(writer)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert storage.read_bytes(uri) == str(won[0]).encode()


def test_a_directory_goes_there_and_back(base: str, tmp_path: Path) -> None:
    local = tmp_path / "local"
    (local / "deep").mkdir(parents=True)
    (local / "deep" / "file").write_bytes(b"x" * 1000)
    (local / "top").write_bytes(b"y")
    storage.upload_directory(local, base)
    back = storage.download_directory(base, tmp_path / "back")
    assert (back / "deep" / "file").read_bytes() == b"x" * 1000
    assert (back / "top").read_bytes() == b"y"


def test_nothing_unfinished_is_left_or_listed(tmp_path: Path) -> None:
    storage.write_whole(str(tmp_path / "a"), b"a")
    storage.create_exclusive(str(tmp_path / "a"), b"b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    (tmp_path / ".b.0123.partial").write_bytes(b"half")
    assert [Path(entry.uri).name for entry in storage.list_files(str(tmp_path))] == ["a"]


def test_a_write_that_cannot_be_done_leaves_nothing_behind_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="folder: Is a directory"):
        storage.write_whole(str(tmp_path / "folder"), b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such directory"):
        storage.download_directory(str(tmp_path / "nowhere"), tmp_path)


def test_an_s3_address_needs_a_bucket() -> None:
    with pytest.raises(DataError, match="needs a bucket"):
        storage.check_reachable("s3:///prefix")


def _wrong_key(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AWS_ACCESS_KEY_ID", "somebody-else")


def _wrong_secret(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")


def _closed_port(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")


@pytest.mark.s3
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_wrong_key, "refuses these credentials"),
        (_wrong_secret, "refuses these cred"),
        (_closed_port, "does not answer"),
    ],
)
@pytest.mark.parametrize("use", [storage.check_reachable, storage.list_files, storage.read_bytes])
def test_a_store_out_of_reach_is_explained_in_one_line(
    s3_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[pytest.MonkeyPatch], None],
    message: str,
    use: Callable[[str], object],
) -> None:
    spoil(monkeypatch)
    with pytest.raises(DataError, match=message) as caught:
        use(s3_prefix)
    assert "\n" not in str(caught.value)
    assert "irodori-secret" not in str(caught.value)


@pytest.mark.s3
def test_a_missing_bucket_is_named(s3_bucket: str) -> None:
    with pytest.raises(DataError, match="there is no such bucket"):
        storage.check_reachable(f"{s3_bucket}-of-nobody/prefix")


@pytest.mark.s3
def test_missing_credentials_are_asked_for(s3_prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(DataError, match="Set AWS_ACCESS_KEY_ID"):
        storage.check_reachable(s3_prefix)


def test_files_are_deleted_together_and_those_that_are_gone_are_no_error(base: str) -> None:
    uris = [storage.join(base, f"{number:04d}") for number in range(12)]
    for uri in uris[:-1]:
        storage.write_whole(uri, b"x")
    storage.delete_files(uris[2:])
    assert [entry.uri for entry in storage.list_files(base)] == uris[:2]


def test_a_file_is_copied_whole_within_a_store_and_between_stores(base: str, tmp_path: Path) -> None:
    storage.write_whole(storage.join(base, "a"), b"content" * 1000)
    for target in (storage.join(base, "deep", "b"), str(tmp_path / "elsewhere" / "c")):
        storage.copy_file(storage.join(base, "a"), target)
        assert storage.read_bytes(target) == b"content" * 1000
    with pytest.raises(DataError, match="no such file"):
        storage.copy_file(storage.join(base, "nothing"), storage.join(base, "d"))
    assert not storage.exists(storage.join(base, "d"))


def test_a_listing_tells_when_each_file_was_written(base: str) -> None:
    before = time.time()
    storage.write_whole(storage.join(base, "a"), b"x")
    (entry,) = storage.list_files(base)
    assert before - 2 <= entry.modified_s <= time.time() + 2


def test_what_a_killed_writer_left_is_listed_apart(tmp_path: Path) -> None:
    (tmp_path / ".b.0123.partial").write_bytes(b"half")
    storage.write_whole(str(tmp_path / "a"), b"a")
    assert [Path(entry.uri).name for entry in storage.list_unfinished(str(tmp_path))] == [".b.0123.partial"]


def test_a_range_is_read_alone_and_ends_with_the_file(base: str) -> None:
    uri = storage.join(base, "a b ü.bin")
    storage.write_whole(uri, bytes(range(100)))
    assert storage.read_range(uri, 10, 5) == bytes(range(10, 15))
    assert storage.read_range(uri, 95, 50) == bytes(range(95, 100))
    assert storage.read_range(uri, 100, 5) == storage.read_range(uri, 10**9, 5) == storage.read_range(uri, 3, 0) == b""
    with pytest.raises(ValueError, match="negative"):
        storage.read_range(uri, -1, 5)
    with pytest.raises(DataError, match=r"gone: there is no such file"):
        storage.read_range(storage.join(base, "gone"), 0, 5)


def test_a_file_larger_than_asked_for_is_not_read(base: str) -> None:
    uri = storage.join(base, "large")
    storage.write_whole(uri, bytes(1001))
    assert len(storage.read_bytes(uri, 1001)) == 1001
    with pytest.raises(DataError, match=r"large: the file has 1,001 bytes, more than the 1,000"):
        storage.read_bytes(uri, 1000)


def test_a_folder_is_listed_without_what_lies_deeper(base: str) -> None:
    for name in ("z.txt", "b/1", "b/deep/2", "a/1", "ü/1"):
        storage.write_whole(storage.join(base, name), name.encode())
    folders, files = storage.list_folder(base)
    assert folders == ["a", "b", "ü"]
    assert files == [entry for entry in storage.list_files(base) if entry.uri.endswith("z.txt")]
    assert storage.list_folder(storage.join(base, "none")) == ([], [])


def test_one_file_has_the_entry_that_its_listing_gives(base: str) -> None:
    uri = storage.join(base, "a", "x")
    storage.write_whole(uri, b"12345")
    assert [storage.file_entry(uri)] == storage.list_files(base)
    assert storage.file_entry(storage.join(base, "a")) is None
    assert storage.file_entry(storage.join(base, "none")) is None


def test_a_folder_that_cannot_be_read_is_an_error_and_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write_whole(f"{tmp_path}/a.png", b"a")
    monkeypatch.chdir(tmp_path)
    for _ in range(20):  # deeper than a path may be long: the only unreadable folder there is for root too
        os.mkdir("d" * 250)
        os.chdir("d" * 250)
    with pytest.raises(DataError, match=r"d: File name too long"):
        storage.list_files(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(DataError, match=r"locked: Permission denied"):
        storage.list_files(str(tmp_path))


def test_linked_folders_are_listed_once_where_asked_for_and_loops_end(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for path in (tmp_path / "else/where/a.png", root / "sub/b.png"):
        storage.write_whole(str(path), b"x")
    (root / "sub/up").symlink_to(tmp_path)
    (root / "sub/round").symlink_to(root)
    (root / "twin").symlink_to(root / "sub")
    (root / "link").symlink_to(tmp_path / "else")
    (root / "same").symlink_to(tmp_path / "else/where")
    (tmp_path / "else/back").symlink_to(root)
    followed = [os.path.relpath(entry.uri, root) for entry in storage.list_files(str(root), linked=True)]
    assert followed == ["link/where/a.png", "sub/b.png"]
    assert [entry.uri for entry in storage.list_files(str(root))] == [f"{root}/sub/b.png"]
    storage.delete_folder(str(root))
    assert (tmp_path / "else/where/a.png").exists()


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    pipe, endless = str(tmp_path / "pipe.png"), str(tmp_path / "zero.png")
    os.mkfifo(pipe)
    os.symlink("/dev/zero", endless)
    for uri in (pipe, endless):
        for read in (storage.read_bytes, storage.arrow_filesystem, lambda uri: storage.read_range(uri, 0, 1)):
            with pytest.raises(DataError, match=r"png: this is no regular file"):
                read(uri)


def test_no_more_is_read_than_asked_for_whatever_the_size_says() -> None:
    assert os.stat("/proc/self/status").st_size == 0
    with pytest.raises(DataError, match=r"more than the 10 that are read"):
        storage.read_bytes("/proc/self/status", 10)


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc/out", "a/.."])
def test_an_object_is_never_downloaded_out_of_its_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"leads out of the directory"):
        storage._target(tmp_path, f"s3://bucket/models/{name}", "s3://bucket/models/")
    assert storage._target(tmp_path, "s3://bucket/models/a/..b", "s3://bucket/models") == tmp_path / "a/..b"


def test_temporary_credentials_are_used_with_their_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "key")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    lasting = storage.arrow_filesystem("s3://bucket/a")[0]
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-an-hour")
    url = s3.client().generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "a"})
    assert "of-an-hour" in url
    assert storage.arrow_filesystem("s3://bucket/a")[0] != lasting
