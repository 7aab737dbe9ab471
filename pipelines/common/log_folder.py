"""Where the logs of a piece of work go, and what waits to be sent to MLflow: appended files, which S3 does not have."""

import os
import tempfile
from pathlib import Path

from dataprep.storage.addresses import is_s3
from pipelines.common.errors import PipelineError
from pipelines.common.private_folder import is_private


def log_folder(out: str) -> Path:
    """Beside a local output; for one on S3 in the working directory, or where that cannot be written, with the
    temporary files, in a folder of this user alone.

    Raises PipelineError where that belongs to somebody else.
    """
    if not is_s3(out):
        return Path(out)
    if os.access(".", os.W_OK):
        return Path("irodori-logs")
    folder = Path(tempfile.gettempdir(), f"irodori-logs-{os.getuid()}")
    if not is_private(folder):
        raise PipelineError(
            f"the working directory cannot be written, and {folder}, where logs would go, is not this user's alone: "
            "name another place for temporary files by TMPDIR"
        )
    return folder
