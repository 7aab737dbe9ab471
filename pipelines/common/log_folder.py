"""Where the logs of a piece of work go, and what waits to be sent to MLflow: appended files, which S3 does not have."""

import os
import tempfile
from pathlib import Path

from dataprep.storage.addresses import is_s3


def log_folder(out: str) -> Path:
    """Beside a local output; for one on S3 in the working directory, or where that cannot be written, with the
    temporary files."""
    if not is_s3(out):
        return Path(out)
    return Path("irodori-logs" if os.access(".", os.W_OK) else f"{tempfile.gettempdir()}/irodori-logs-{os.getuid()}")
