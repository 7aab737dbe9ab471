"""What an address may look like: a path, `file://` or `s3://bucket/prefix`, and nothing that only resembles one.

A mistyped or foreign address is refused before anything is read or written: on disk `gs://b/o` and `s3:/b` are names of
folders like any other, and the empty address is the root.
"""

import os
import re
from urllib.parse import unquote, urlsplit

from dataprep.errors import DataError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?=[/\\])")
_S3_SLIP = re.compile(r"s3[an]?:(?![/\\])", re.IGNORECASE)  # s3:bucket/prefix
_TAKEN = "a path, file:// or s3://bucket/prefix is needed"


def is_s3(uri: str) -> bool:
    return uri.startswith("s3://")


def check_form(uri: str) -> None:
    """Raises DataError for an address that is empty, or of a store that is not known here.

    A local folder that is really called `gs:` is `./gs:`.
    """
    if not uri.strip():
        raise DataError(f"the address is empty: {_TAKEN}.")
    if (slip := _S3_SLIP.match(uri)) is not None:
        raise DataError(f"{uri}: write s3://{uri[slip.end() :]}.")
    if is_s3(uri):
        bucket = uri[len("s3://") :].partition("/")[0]
        if "@" in bucket or ":" in bucket:  # and it is not repeated here
            raise DataError(
                "an S3 address has only a bucket before its first '/': credentials go into AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, a server into AWS_ENDPOINT_URL."
            )
        if not bucket:
            raise DataError(f"{uri}: an S3 address needs a bucket: s3://bucket/prefix.")
        return
    if (found := _SCHEME.match(uri)) is None:
        return
    scheme = found[1]
    if scheme.lower() in ("s3", "s3a", "s3n"):
        raise DataError(f"{uri}: write s3://{uri[found.end() :].lstrip('/')}.")
    if len(scheme) == 1:
        raise DataError(f"{uri}: this is a path of Windows; {_TAKEN}, such as /mnt/{scheme.lower()}/...")
    raise DataError(f"{uri}: there is no store {scheme}: here; download or copy it first, {_TAKEN}.")


def plain(text: str) -> str:
    """An address as a person writes it, as the store takes it: `file://` and `~` become paths. Raises DataError for
    one that cannot be meant (`check_form`)."""
    if text.lower().startswith("file:"):
        return _of_file(text)
    check_form(text)
    return text if is_s3(text) else os.path.expanduser(text)


def _of_file(text: str) -> str:
    """The path of `file:///a%20b`, `file://localhost/a` or `file:/a`."""
    parts = urlsplit(text)
    path = unquote(parts.path, errors="surrogateescape")
    if parts.netloc not in ("", "localhost") or not path.startswith("/"):
        raise DataError(f"{text}: a file:// address is file:///path, with the path from the root on.")
    return path
