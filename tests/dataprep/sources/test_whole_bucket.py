"""A bucket without a prefix: nothing lies at its own address, everything below it."""

import itertools
import os
from pathlib import Path

import pytest

from dataprep.corpus_tools.diff import parse_at
from dataprep.sources.listing import list_items
from dataprep.storage import s3, store
from tests.corpus_pictures import write_pictures

_numbers = itertools.count()


@pytest.fixture
def bucket(s3_bucket: str) -> str:
    """An empty bucket that no other test uses."""
    name = f"whole-{os.getpid()}-{next(_numbers)}"
    s3.client().create_bucket(Bucket=name)
    return f"s3://{name}"


def test_a_whole_bucket_is_a_source(bucket: str, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 3)
    for file in sorted(pictures.iterdir()):
        store.write_whole(store.join(bucket, "deep", file.name), file.read_bytes())
    for address in (bucket, f"{bucket}/"):
        assert len(list(list_items(address))) == 3
        assert store.file_entry(address) is None
        assert not store.exists(address)


def test_a_prefix_whose_own_name_ends_in_a_number_is_meant_whole(bucket: str) -> None:
    assert parse_at(f"{bucket}/c@12") == (f"{bucket}/c", 12)
    store.write_whole(f"{bucket}/c@12/snapshots/1.json", b"{}")
    assert parse_at(f"{bucket}/c@12") == (f"{bucket}/c@12", None)
