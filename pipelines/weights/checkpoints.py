"""Finds the checkpoint behind an address: a checkpoint directory, or the output of a training run that holds one."""

import atexit
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import model
from dataprep.storage.store import download_directory, exists, is_s3, join, list_files, read_bytes
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError

if TYPE_CHECKING:
    from model.checkpoint import CheckpointMetadata  # imports torch, which an absent address must not wait for

CHECKPOINT = "checkpoint"
CONFIG = "config.json"
STARTER, FAST = "starter", "starter-fast"  # the weights that ship, by name; and those that colour without guidance
SHIPPED = Path(model.__file__).parent / "assets" / STARTER
BY_NAME = {STARTER: SHIPPED, FAST: SHIPPED.with_name("starter_fast")}
MOST_CONFIG_BYTES = 1 << 20  # as in model.checkpoint, which importing torch makes slow
MOST_CHECKPOINT_BYTES = 64 << 30  # of a remote one: the published size takes 10 GB with its frozen networks
_copies: dict[str, tuple[bytes, Path]] = {}  # of remote checkpoints: address -> its config.json and where it lies
_copying = threading.Lock()


def find_checkpoint(uri: str) -> str | None:
    """The checkpoint directory at `uri` or below it, or None."""
    candidates = (uri, join(uri, CHECKPOINT))
    return next((candidate for candidate in candidates if exists(join(candidate, CONFIG))), None)


def checkpoint_uri(uri: str) -> str:
    """The same; PipelineError where there is none."""
    if (found := find_checkpoint(uri)) is None:
        raise PipelineError(f"{uri} holds no checkpoint: expected config.json there or in {join(uri, CHECKPOINT)}")
    return found


def absolute_checkpoint(address: str) -> str:
    """The address of a checkpoint wherever work goes on; the names of BY_NAME are those of weights that ship.

    A folder of such a name is meant by ./starter.
    """
    return str(BY_NAME[address]) if address in BY_NAME else absolute(address)


def metadata_at(uri: str) -> "CheckpointMetadata":
    """What the checkpoint at an address says of itself: its config.json alone is read, whatever its weights weigh.

    Raises PipelineError where there is none, ModelError where it cannot be used.
    """
    found = checkpoint_uri(uri)
    from model.checkpoint import metadata_of

    return metadata_of(read_bytes(join(found, CONFIG), MOST_CONFIG_BYTES), found)


def fetch_checkpoint(uri: str) -> Path:
    """A local directory with the checkpoint of `uri`; a remote one is copied once, and kept until Python ends.

    It is copied again only where its config.json, which names the hash of its weights, is another by now. Raises
    PipelineError where a copy would take more than MOST_CHECKPOINT_BYTES.
    """
    found = checkpoint_uri(uri)
    if not is_s3(found):
        return Path(found)
    config = read_bytes(join(found, CONFIG), MOST_CONFIG_BYTES)
    with _copying:
        known = _copies.get(found)
        if known is None or known[0] != config:
            if (size := sum(entry.size for entry in list_files(found))) > MOST_CHECKPOINT_BYTES:
                raise PipelineError(f"{found}: {size:,} bytes are no checkpoint: {MOST_CHECKPOINT_BYTES:,} at most")
            local = tempfile.mkdtemp(prefix="irodori-checkpoint-")
            atexit.register(shutil.rmtree, local, ignore_errors=True)
            _copies[found] = known = config, download_directory(found, Path(local))
    return known[1]
