"""Addresses: what is taken for a path, what for S3, and what is refused before a folder of that name is made."""

import os
from pathlib import Path

import pytest

from dataprep.errors import DataError
from dataprep.storage import store
from dataprep.storage.addresses import check_form, plain

FOREIGN = {
    "gs://b/o.png": "no store gs:",
    "az://b/o": "no store az:",
    "https://h/o": "no store https:",
    "hf://o/r": "no store hf:",
    "s3:/x": "write s3://x",
    "S3://x/y": "write s3://x/y",
    "s3a://x/y": "write s3://x/y",
    "s3://": "needs a bucket",
    "s3:///key": "needs a bucket",
    "C:\\pictures": "path of Windows",
    "c:/pictures": "path of Windows",
    "": "is empty",
    "  ": "is empty",
    "s3:bucket/x": "write s3://bucket/x",
    "s3://key:word@bucket/k": "credentials go into AWS_ACCESS_KEY_ID",
    "s3://localhost:8333/bucket": "a server into AWS_ENDPOINT_URL",
}


@pytest.mark.parametrize(("address", "said"), FOREIGN.items())
def test_an_address_of_no_store_is_refused(address: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        check_form(address)
    with pytest.raises(DataError, match=said):
        plain(address)


@pytest.mark.parametrize("address", ["a", "./gs:/b", "a:b", "12:30", "a b/c", "s3://b", "s3://b/k", "/c:/x"])
def test_names_that_only_look_odd_are_taken_as_they_are(address: str) -> None:
    check_form(address)
    assert plain(address) == address


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("file:///a/b", "/a/b"),
        ("file:///a%20b/%E5%BD%A9", "/a b/彩"),
        ("file:///a%FF", "/a\udcff"),  # bytes that are no UTF-8, as the file system gives them
        ("file://localhost/a", "/a"),
        ("file:/a", "/a"),
        ("FILE:///a/", "/a/"),
        ("~/a", os.path.expanduser("~/a")),
    ],
)
def test_file_addresses_and_the_home_folder_are_paths(address: str, path: str) -> None:
    assert plain(address) == path


@pytest.mark.parametrize("address", ["file://host/a", "file:a", "file://"])
def test_a_file_address_of_another_machine_or_without_a_root_is_refused(address: str) -> None:
    with pytest.raises(DataError, match="file:///path"):
        plain(address)


@pytest.mark.parametrize("address", ["gs://b/o", "s3:/b", ""])
def test_no_verb_of_the_store_takes_such_an_address_for_a_folder(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verbs = (
        lambda: store.write_whole(address, b"x"),
        lambda: store.create_exclusive(address, b"x"),
        lambda: store.upload_directory(tmp_path / "nothing", address),
        lambda: store.read_bytes(address),
        lambda: store.read_range(address, 0, 1),
        lambda: store.exists(address),
        lambda: store.file_entry(address),
        lambda: store.list_files(address),
        lambda: store.list_folder(address),
        lambda: store.remove(address),
        lambda: store.arrow_filesystem(address),
        lambda: store.download_directory(address, tmp_path / "here"),
        lambda: store.check_reachable(address),
    )
    for verb in verbs:
        with pytest.raises(DataError):
            verb()
    assert not list(tmp_path.iterdir())


def test_a_place_below_the_empty_address_is_not_below_the_root() -> None:
    with pytest.raises(DataError, match="is empty"):
        store.join("", "a")
