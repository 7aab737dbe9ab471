"""The S3 server of the environment: its clients, how long it is waited for, and what an address means to it.

Settings come from the environment alone (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN for temporary
ones, AWS_ENDPOINT_URL, AWS_REGION): any S3 server will do. Timeouts are short and retries few: an endpoint that does
not answer is an error within seconds. An endpoint that did answer before is waited for: a server that is restarted
while work goes on costs the work a pause (OUTAGE_S), not its end.
"""

import os
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import boto3
from botocore import exceptions as aws
from botocore.config import Config
from pyarrow import fs

from dataprep.errors import DataError
from dataprep.secrets import without_secrets

CONNECT_TIMEOUT_S = 3
READ_TIMEOUT_S = 30
ATTEMPTS = 3
OUTAGE_S = 120  # so long a store that answered before may be away
_LONGEST_PAUSE_S = 8.0
_ARROW_ATTEMPTS = 13  # pyarrow pauses 25 ms, 50 ms, ... up to 20 s between them: some 90 s

_answered: set[str] = set()  # the S3 servers that are waited for


def client() -> Any:
    return _boto_client(*_environment())


def arrow_filesystem() -> fs.FileSystem:
    """The server as pyarrow wants it."""
    return _arrow_s3(*_environment(), _ARROW_ATTEMPTS if is_waited_for() else ATTEMPTS)


def wait_out_outages() -> None:
    """In this process a request to the S3 server of the environment is repeated for OUTAGE_S before it fails.

    For work that began when the server answered, also in processes that join it later.
    """
    _answered.add(endpoint_name())


def is_waited_for() -> bool:
    """Whether the server answered before."""
    return endpoint_name() in _answered


def endpoint_name() -> str:
    """The server as a person may read it: without a password in its address."""
    endpoint = _environment()[0]
    return without_secrets(endpoint) if endpoint else "AWS"


def proxy() -> str | None:
    """The variable that sends requests to the server through a proxy, or None."""
    endpoint = _environment()[0] or "https://s3.amazonaws.com"
    parts = urlsplit(endpoint)
    if parts.hostname is None or proxy_bypass(parts.netloc):
        return None
    names = (f"{parts.scheme}_proxy", "all_proxy")
    return next((name.upper() for name in names if os.environ.get(name) or os.environ.get(name.upper())), None)


def bucket_and_key(uri: str) -> dict[str, str]:
    """The bucket and key of an address of the right form (`addresses.check_form`)."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


def bucket_and_prefix(uri: str) -> tuple[dict[str, str], str]:
    """The bucket as a keyword, and the prefix of all that lies below `uri`."""
    where = bucket_and_key(uri)
    return {"Bucket": where["Bucket"]}, where["Key"].rstrip("/") + "/" if where["Key"] else ""


def code(error: aws.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _environment() -> tuple[str | None, str | None, str | None, str | None, str]:
    """(endpoint, access key, secret, session token, region): the key of the client cache, so that a changed environment
    is seen."""
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    endpoint, key, secret, token = (os.environ.get(name) or None for name in names)
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        server = endpoint.rpartition("@")[2].rpartition("//")[2]
        raise DataError(
            f"AWS_ENDPOINT_URL={server} has no scheme: write http://{server}, or https:// where it has TLS."
        )
    return endpoint, key, secret, token, os.environ.get("AWS_REGION") or "us-east-1"


@lru_cache(maxsize=4)
def _boto_client(endpoint: str | None, key: str | None, secret: str | None, token: str | None, region: str) -> Any:
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        s3={"addressing_style": "path" if endpoint else "auto"},
        # The newer default checksums are framed in a way that several S3 servers store as content.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        region_name=region,
        config=config,
    )
    client.meta.events.register("needs-retry.s3", _pause)
    return client


def _pause(attempts: int, response: Any, caught_exception: Exception | None, **_: Any) -> float | None:
    """Seconds to wait before a failed request is repeated, None to give up; botocore asks after its own attempts."""
    away = isinstance(caught_exception, aws.ConnectionError | aws.HTTPClientError)
    if not away and (response is None or response[0].status_code < 500):
        return None
    pauses = [min(0.5 * 2**n, _LONGEST_PAUSE_S) for n in range(attempts)]
    return pauses[-1] if is_waited_for() and sum(pauses) <= OUTAGE_S else None


@lru_cache(maxsize=4)
def _arrow_s3(
    endpoint: str | None, key: str | None, secret: str | None, token: str | None, region: str, attempts: int
) -> fs.S3FileSystem:
    address = urlsplit(endpoint or "https://")
    return fs.S3FileSystem(
        access_key=key,
        secret_key=secret,
        session_token=token,
        region=region,
        scheme=address.scheme,
        endpoint_override=address.netloc or None,
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=READ_TIMEOUT_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
    )
