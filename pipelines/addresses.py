"""Addresses as every worker understands them: a worker has a working directory of its own."""

import os

from dataprep.storage import is_s3


def absolute(uri: str) -> str:
    """The address with a local path made absolute; s3:// addresses stay."""
    return uri.rstrip("/") if is_s3(uri) else os.path.abspath(uri)
