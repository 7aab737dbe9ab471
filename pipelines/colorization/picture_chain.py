"""The chain from a coloured picture back to its sources: what the picture records, and what its checkpoint came from.

The addresses stand in a file that may come from elsewhere: files on this machine are looked at, and those in the bucket
that the picture itself lies in; others are named and not asked for.
"""

from dataclasses import dataclass
from pathlib import Path

from dataprep.errors import DataError
from dataprep.sources.items import MOST_BYTES
from dataprep.storage.store import exists, is_s3, read_bytes
from model.checkpoint import expected_sha256, read_metadata
from model.errors import ModelError
from pipelines.colorization.provenance import Provenance, Source, extract, sha256_of
from pipelines.common.addresses import absolute
from pipelines.lineage import Chain, Input, Node, chain_of


@dataclass(frozen=True)
class PictureChain:
    """The chain, and what is not as the picture records it: one line each."""

    chain: Chain
    notes: tuple[str, ...]


def picture_chain(file: str) -> PictureChain:
    """The chain of the picture at an address. Raises PipelineError where it does not record how it was made."""
    address = absolute(file)
    recorded = extract(read_bytes(file, MOST_BYTES), file)
    node = Node(address, "picture", Path(address).name)
    # What it was made of: pictures without a chain, and the checkpoint with its own.
    inputs = {"sketch": recorded.sketch, **recorded.references}
    chain, notes = Chain((), ()), list[str]()
    for role, source in inputs.items():
        chain = chain.joined(Chain((Node(source.address, role, Path(source.address).name),), ()))
        notes += _changed(role, source, address)
    checkpoint = recorded.checkpoint.address
    if not _is_asked(checkpoint, address):
        lone = Node(checkpoint, "checkpoint", recorded.checkpoint.stage)
        chain = chain.joined(Chain((lone, node), ((checkpoint, node.id),)))
        notes.append(f"{checkpoint}: not asked for: irodori lineage {checkpoint}")
    else:
        chain = chain.joined(chain_of(node, [Input("checkpoint", checkpoint)], []))
        notes += _other_weights(recorded)
    edges = tuple((source.address, node.id) for source in inputs.values())
    return PictureChain(chain.joined(Chain((), edges)), tuple(notes))


def _is_asked(address: str, picture: str) -> bool:
    """Whether a file that the picture names is looked at: one of this machine, or of the picture's own bucket."""
    bucket = "/".join(picture.split("/")[:3])
    return address.startswith(f"{bucket}/") if is_s3(picture) and "://" in address else "://" not in address


def _changed(role: str, source: Source, picture: str) -> list[str]:
    if not _is_asked(source.address, picture):
        return []
    try:
        same = sha256_of(read_bytes(source.address, MOST_BYTES)) == source.sha256
    except DataError as error:
        if _is_there(source.address):  # and larger than what is read, or not to be read
            return [f"{str(error).rstrip('.')}; the {role} is not compared"]
        return [f"{source.address}: the {role} is not there any more"]
    return [] if same else [f"{source.address}: the {role} is another than the picture was made of"]


def _is_there(address: str) -> bool:
    try:
        return exists(address)
    except DataError:
        return False


def _other_weights(recorded: Provenance) -> list[str]:
    """A note where the checkpoint that lies there now is another; one on S3 is not fetched for it."""
    address = recorded.checkpoint.address
    if is_s3(address):
        return []
    try:
        now = expected_sha256(read_metadata(Path(address)), address, recorded.settings.ema)
    except (DataError, ModelError):
        return [f"{address}: the checkpoint is not there any more"]
    same = now == recorded.checkpoint.sha256
    return [] if same else [f"{address}: the checkpoint is another than the picture was made with"]
