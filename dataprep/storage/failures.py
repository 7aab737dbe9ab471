"""What went wrong at an address, in one clear line: failures of disk, botocore and pyarrow become DataError."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import boto3
import pyarrow as pa
from botocore import exceptions as aws

from dataprep.errors import DataError
from dataprep.storage import s3
from dataprep.storage.addresses import check_form

Result = TypeVar("Result")

MISSING = {"404", "NoSuchKey"}
_REFUSED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"}
_AWAY = ("NETWORK_CONNECTION", "curlCode", "INTERNAL_FAILURE", "SERVICE_UNAVAILABLE")  # pyarrow's words


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn every failure of disk, botocore or pyarrow about `uri` into one clear line.

    Raises DataError at once for an address that is none (`addresses.check_form`).
    """
    check_form(uri)
    try:
        yield
    except aws.ClientError as error:
        raise DataError(f"{uri}: {_client_message(error)}") from error
    except aws.NoCredentialsError as error:
        raise DataError(f"{uri}: no S3 credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.") from error
    except (aws.ConnectionError, aws.HTTPClientError) as error:
        raise DataError(f"{uri}: {_silent()}") from error
    except (aws.BotoCoreError, boto3.exceptions.Boto3Error, pa.ArrowException) as error:
        raise DataError(f"{uri}: {_first_line(error)}") from error
    except FileNotFoundError as error:
        raise DataError(f"{uri}: there is no such file.") from error
    except OSError as error:
        raise DataError(f"{uri}: {error.strerror or _arrow_message(error)}") from error


def is_wrong_address(error: DataError) -> bool:
    """Whether an error is one address's own (no such bucket, no right to it, no name of one) and not the store's."""
    cause = error.__cause__
    if isinstance(cause, aws.ClientError):
        return s3.code(cause) in {*MISSING, *_REFUSED, "NoSuchBucket", "InvalidBucketName", "PermanentRedirect"}
    return isinstance(cause, aws.ParamValidationError)


def patiently(uri: str, read: Callable[[], Result]) -> Result:
    """`read()`, which reads `uri` through pyarrow, `explained`; repeated where the server breaks off in its answer."""
    give_up = time.monotonic() + s3.OUTAGE_S
    while True:
        try:
            with explained(uri):
                return read()
        except DataError as error:
            broken_off = isinstance(error.__cause__, OSError) and any(word in str(error.__cause__) for word in _AWAY)
            if not broken_off or not s3.is_waited_for() or time.monotonic() > give_up:
                raise
            time.sleep(1.0)


def _client_message(error: aws.ClientError) -> str:
    code = s3.code(error)
    if code in MISSING:
        return "there is no such file."
    if code == "NoSuchBucket":
        return "there is no such bucket. Create it, or check the name."
    if code in _REFUSED:
        return _refusing()
    return f"the S3 server at {s3.endpoint_name()} answered {code or 'an error'}: {_first_line(error)}"


def _arrow_message(error: OSError) -> str:
    """pyarrow raises its S3 failures as plain OSErrors with the code in the text."""
    text = _first_line(error)
    if "ACCESS_DENIED" in text or "INVALID_ACCESS_KEY" in text or "SIGNATURE" in text:
        return _refusing()
    if any(word in text for word in _AWAY):
        return _silent()
    return text


def _refusing() -> str:
    return f"the S3 server at {s3.endpoint_name()} refuses these credentials. Check AWS_ACCESS_KEY_ID and its secret."


def _silent() -> str:
    through = s3.proxy()
    beside = f", and {through}, through which it is asked (NO_PROXY names servers without)" if through else ""
    return f"the S3 server at {s3.endpoint_name()} does not answer. Check AWS_ENDPOINT_URL{beside}."


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
