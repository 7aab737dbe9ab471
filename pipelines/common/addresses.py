"""Addresses as every worker understands them: a worker has a working directory of its own."""

import os

from dataprep.storage.addresses import is_s3, plain
from dataprep.storage.store import check_reachable


def absolute(uri: str) -> str:
    """The address with a local path made absolute; s3:// addresses stay. Raises DataError for one that cannot be meant:
    empty, or of an unknown store."""
    uri = plain(uri)
    return uri.rstrip("/") if is_s3(uri) else os.path.abspath(uri)


def check_buckets(*uris: str | None) -> None:
    """Ask each bucket among the addresses whether it answers. Raises DataError; takes no time for local paths."""
    for uri in dict.fromkeys(uri for uri in uris if uri and is_s3(uri)):
        check_reachable(uri)
