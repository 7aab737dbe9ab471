"""Finds the checkpoint behind an address: a checkpoint directory, or the output of a training run that holds one."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from dataprep.storage.store import download_directory, exists, is_s3, join
from pipelines.common.errors import PipelineError

CHECKPOINT = "checkpoint"
DEMO = "demo"


def find_checkpoint(uri: str) -> str | None:
    """The checkpoint directory at `uri` or below it, or None."""
    candidates = (uri, join(uri, CHECKPOINT))
    return next((candidate for candidate in candidates if exists(join(candidate, "config.json"))), None)


def checkpoint_uri(uri: str) -> str:
    """The same; PipelineError where there is none."""
    if (found := find_checkpoint(uri)) is None:
        raise PipelineError(f"{uri} holds no checkpoint: expected config.json there or in {join(uri, CHECKPOINT)}")
    return found


def demo_checkpoint(root: str = DEMO) -> str:
    """The model that a demo left in the working directory. Raises PipelineError where there is none."""
    path = os.path.join(root, "refine", CHECKPOINT)
    if not os.path.isdir(path):
        raise PipelineError(f"no --checkpoint given and no {path}: run `irodori demo`, or name a checkpoint")
    return path


def fetch_checkpoint(uri: str) -> Path:
    """A local directory with the checkpoint of `uri`; a remote one is copied, until Python ends."""
    found = checkpoint_uri(uri)
    if not is_s3(found):
        return Path(found)
    local = tempfile.mkdtemp(prefix="irodori-checkpoint-")
    atexit.register(shutil.rmtree, local, ignore_errors=True)
    return download_directory(found, Path(local))
