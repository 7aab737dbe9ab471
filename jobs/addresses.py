"""What each kind of address on the command line may be: read where the call is parsed, so that a wrong one is exit 2
before anything is imported, asked or written.

Every option that takes an address names one of these as its `parser`.
"""

import re
from urllib.parse import urlsplit

import typer

from dataprep.errors import DataError
from dataprep.storage.addresses import is_s3, plain

_HUB = "hf://"
_RAY = re.compile(r"(ray://)?[^/\s]+$")


def place(text: str | None) -> str | None:
    """A path, `file://` or `s3://bucket/prefix`. Raises BadParameter, as all of these do; None stays None."""
    if text is None:
        return None
    try:
        return plain(text)
    except DataError as error:
        raise typer.BadParameter(str(error).rstrip(".")) from error


def local_place(text: str | None) -> str | None:
    """A path or `file://`: what other programs read and write too."""
    address = place(text)
    if address is not None and is_s3(address):
        raise typer.BadParameter(f"{address}: a path on this machine is needed")
    return address


def weights_place(text: str | None) -> str | None:
    """A path, `file://`, `s3://bucket/prefix` or `hf://OWNER/REPOSITORY/FILE`."""
    if text is None or not text.startswith(_HUB):
        try:
            return place(text)
        except typer.BadParameter as error:
            raise typer.BadParameter(f"{error.message}; or hf://OWNER/REPOSITORY/FILE") from error
    if not text[len(_HUB) :].strip("/"):
        raise typer.BadParameter(f"{text}: hf://OWNER/REPOSITORY or hf://OWNER/REPOSITORY/FILE is needed")
    return text


def cluster(text: str | None) -> str | None:
    """A Ray cluster: `auto`, `host:port` or `ray://host:port`."""
    if text is not None and not _RAY.match(text):
        raise typer.BadParameter(f"{text!r} is no Ray cluster: auto, host:port or ray://host:port is needed")
    return text


def tracking_store(text: str | None) -> str | None:
    """The address of an MLflow store, or the path of a folder with one; whether MLflow knows the scheme is asked when
    the work is traced."""
    if text is not None and not text.strip():
        raise typer.BadParameter("the address of an MLflow store is empty: sqlite:///FILE or http://SERVER is needed")
    if text is not None and urlsplit(text).scheme in ("s3", "gs", "az", "hf", "ftp"):
        raise typer.BadParameter(f"{text}: MLflow keeps no runs there: sqlite:///FILE or http://SERVER is needed")
    return text
