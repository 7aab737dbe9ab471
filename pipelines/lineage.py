"""Where a result comes from: one MLflow run for each piece of work, and the whole chain beside every output.

Every output (corpus, checkpoint run, evaluation) keeps a `lineage.json` with its own node and everything upstream, so
`irodori lineage` needs no server. The same document is an artifact of the run, inputs are logged as metadata-only
datasets whose digest is the corpus digest, parents are tags, and a checkpoint is a version of the registered model of
its stage (`irodori-v1.noisy`), so MLflow alone tells the chain too.
Only the driver writes to MLflow, through an outbox and a thread (pipelines.tracking): a store that does not answer
costs the work nothing, and `lineage.json` is complete without it. The default store is SQLite, in `irodori.db` of the
working directory; the environment variable MLFLOW_TRACKING_URI names another.
"""

import json
import shlex
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from dataprep.documents import DocumentError, checked, parse_document
from dataprep.documents import read_document as read_typed
from dataprep.secrets import without_secrets
from dataprep.storage.store import exists, join, read_bytes, write_whole
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError
from pipelines.common.versions import code_version
from pipelines.tracking.outbox import LINEAGE as LINEAGE
from pipelines.tracking.outbox import MOST_LINEAGE_BYTES, Opening, Outbox, hand_over, new_outbox, outboxes
from pipelines.tracking.sender import INTERRUPTED_PATIENCE_S, PATIENCE_S, Sender
from pipelines.tracking.stores import (
    absolute_store,
    check_store,
    database_of,
    first_line,
    open_client,
    send_errors,
    tracking_uri_of,
)
from pipelines.tracking.sync import name_run

_HERE = "."  # the folder of a lineage.json, in it: a result that is copied or moved keeps no false address


@dataclass(frozen=True)
class Node:
    """One thing in the chain: `kind` is source, corpus, checkpoint or evaluation; `id` is its address."""

    id: str
    kind: str
    name: str


@dataclass(frozen=True)
class Input:
    """What a piece of work read: the address of a corpus or checkpoint, in most cases with a lineage of its own."""

    kind: str
    uri: str
    snapshot: int | None = None
    digest: str | None = None


_EdgeDocument = TypedDict("_EdgeDocument", {"from": str, "to": str})


class _ChainDocument(TypedDict):
    nodes: list[Node]
    edges: list[_EdgeDocument]


class _Document(TypedDict):
    run_id: NotRequired[str | None]
    tracking_uri: NotRequired[str | None]
    chain: dict[str, Any]


@dataclass(frozen=True)
class Chain:
    """Nodes, and edges from what was read to what was made of it."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]

    def document(self) -> dict[str, Any]:
        """`nodes` (id, kind, name) and `edges` (from, to)."""
        edges = [{"from": start, "to": end} for start, end in self.edges]
        return {"nodes": [asdict(node) for node in self.nodes], "edges": edges}

    @classmethod
    def of(cls, document: dict[str, Any], where: str = LINEAGE) -> "Chain":
        """The inverse of `document`. Raises DocumentError, which names `where`, for anything else."""
        found = checked(document, _ChainDocument, f"{where}: chain")
        if not found["nodes"]:
            raise DocumentError(f"{where}: chain has no nodes")
        edges = tuple((edge["from"], edge["to"]) for edge in found["edges"])
        known = {node.id for node in found["nodes"]}
        if stray := [end for edge in edges for end in edge if end not in known]:
            raise DocumentError(f"{where}: chain.edges names {stray[0]!r:.80}, which is no node")
        return cls(tuple(found["nodes"]), edges)

    def leaving(self, out: str) -> "Chain":
        """As a file in `out` keeps it: what lies there is named from there."""
        return self._renamed({node.id: _HERE + node.id[len(out) :] for node in self.nodes if _is_below(node.id, out)})

    def found_at(self, folder: str) -> "Chain":
        """The inverse, at the address where the file lies by now.

        Before version 0.2 a file had the address at which its result was made, which is the last node.
        """
        last = self.nodes[-1]
        inside = f"/{last.id.rpartition('/')[2]}" if last.kind == "checkpoint" else ""
        here = {node.id: folder + node.id[len(_HERE) :] for node in self.nodes if _is_below(node.id, _HERE)}
        return self._renamed(here or {last.id: folder + inside})

    def _renamed(self, ids: dict[str, str]) -> "Chain":
        nodes = tuple(replace(node, id=ids.get(node.id, node.id)) for node in self.nodes)
        return Chain(nodes, tuple((ids.get(start, start), ids.get(end, end)) for start, end in self.edges))

    def joined(self, other: "Chain") -> "Chain":
        """Both chains, each node and edge once, in order of first appearance."""
        nodes = {node.id: node for node in (*self.nodes, *other.nodes)}
        return Chain(tuple(nodes.values()), tuple(dict.fromkeys((*self.edges, *other.edges))))


def _is_below(address: str, folder: str) -> bool:
    return address == folder or address.startswith(f"{folder}/")


EMPTY = Chain((), ())


def chain_of(node: Node, inputs: list[Input], sources: list[str]) -> Chain:
    """The chain that ends in `node`: the chains of its inputs, and a node for each source.

    An input that was made elsewhere has no chain; it is a node of its own.
    """
    chain = EMPTY
    for source in sources:
        chain = chain.joined(Chain((Node(source, "source", Path(source).name or source),), ((source, node.id),)))
    for item in inputs:
        document = _document_of(item)
        upstream = Chain.of(document["chain"]) if document else Chain((_lone(item),), ())
        chain = chain.joined(upstream).joined(Chain((), ((upstream.nodes[-1].id, node.id),)))
    return chain.joined(Chain((node,), ()))


def read_document(uri: str) -> dict[str, Any]:
    """The lineage document beside the output at `uri`, or beside the directory that it lies in; its `chain` ends at the
    address where it was found.

    Raises PipelineError where there is none, DocumentError for a damaged one.
    """
    for candidate in (uri, uri.rstrip("/").rpartition("/")[0]):
        if candidate and exists(join(candidate, LINEAGE)):
            where = join(candidate, LINEAGE)
            found = read_typed(where, _Document, MOST_LINEAGE_BYTES)
            chain = Chain.of(found["chain"], where).found_at(absolute(candidate))
            return {"run_id": None, **found, "chain": chain.document()}
    raise PipelineError(f"{uri} has no {LINEAGE}: it is no output of irodori, or its work did not finish")


def _document_of(item: Input) -> dict[str, Any] | None:
    """The document of what was read, or None for what was made elsewhere: there the chain begins."""
    try:
        return read_document(item.uri)
    except PipelineError:
        return None


def _lone(item: Input) -> Node:
    return Node(item.uri, item.kind, Path(item.uri).name)


def find_chain(uri_or_run: str, tracking_uri: str | None = None) -> Chain:
    """The chain of an output (an address) or of an MLflow run (its id)."""
    if not _looks_like_run(uri_or_run):
        return Chain.of(read_document(uri_or_run)["chain"])
    store = tracking_uri_of(tracking_uri)
    said, database = without_secrets(store), database_of(store)
    if database is not None and not database.is_file():
        raise PipelineError(f"there is no MLflow store {said}; name the one that holds the run with --tracking-uri")
    check_store(store)
    try:
        with tempfile.TemporaryDirectory(prefix="irodori-lineage-") as folder:
            file = open_client(store).download_artifacts(uri_or_run, LINEAGE, folder)
            where = f"{LINEAGE} of run {uri_or_run} in {said}"
            return Chain.of(parse_document(read_bytes(file, MOST_LINEAGE_BYTES), _Document, where)["chain"], where)
    except send_errors() as error:
        raise PipelineError(f"run {uri_or_run} in {said}: {first_line(error)}") from error


def _looks_like_run(text: str) -> bool:
    return len(text) == 32 and all(character in "0123456789abcdef" for character in text)


class Run:
    """What one piece of work reports of itself; it is kept at once and sent beside the work."""

    def __init__(self, outbox: Outbox, sender: Sender, said: str) -> None:
        self.out = outbox.out
        self._outbox, self._sender, self._said = outbox, sender, said

    @property
    def run_id(self) -> str | None:
        """The id of the MLflow run; None while the store has not taken anything."""
        return self._outbox.contents.run_id

    def log_metrics(self, metrics: dict[str, Any], step: int = 0) -> None:
        """Numbers at a step (images seen); anything that is no number is left out."""
        numbers = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
        if numbers:
            self._sender.record({"metrics": numbers, "step": step, "at_ms": _now_ms()})

    def finish(self, node: Node, inputs: list[Input], sources: list[str] | None = None) -> None:
        """Write the chain beside the output and into the run; the last thing that a piece of work does."""
        chain = chain_of(node, inputs, sources or [])
        for item in inputs:
            self._log_input(item)
        document = {"tracking_uri": self._said, "chain": chain.document()}
        self._sender.record({"artifact": {"name": LINEAGE, "document": document}})
        if node.kind == "checkpoint":
            self._register(node, next((item.digest for item in inputs if item.digest), None))
        # The file is complete without MLflow; the id of a run that is not there yet is written into it later.
        run: dict[str, Any] = {"run_id": self.run_id} | ({} if self.run_id else {"outbox": self._outbox.path.stem})
        kept = document | {"chain": chain.leaving(self.out).document()}
        write_whole(join(self.out, LINEAGE), json.dumps(run | kept, indent=2).encode())

    def _register(self, node: Node, corpus_digest: str | None) -> None:
        """The checkpoint as the next version of the registered model of its stage."""
        tags = {"irodori.corpus_digest": corpus_digest} if corpus_digest else {}
        name = f"irodori-{node.name.split()[0]}"
        self._sender.record({"model": {"name": name, "source": node.id, "tags": tags}})

    def _log_input(self, item: Input) -> None:
        """A corpus becomes a metadata-only dataset; any upstream run becomes a parent tag."""
        upstream = _document_of(item)
        if upstream is not None and upstream["run_id"] is not None:
            self._sender.record({"parent": {"kind": item.kind, "run_id": upstream["run_id"]}})
        if item.digest is not None:
            self._sender.record({"input": {"uri": item.uri, "snapshot": item.snapshot, "digest": item.digest}})


@contextmanager
def run(
    kind: str, name: str, out: str, tracking_uri: str | None, params: dict[str, Any], parent: Run | None = None
) -> Iterator[Run]:
    """An MLflow run for the work whose output is `out`; one of the same output and parameters that did not finish, is
    continued. parent: the run that this one is a part of, which MLflow shows so where its store has taken that run.

    The run ends as FINISHED, KILLED where the block was interrupted, or FAILED where it raises anything else. Raises
    PipelineError for a store whose address cannot be right; one that does not answer holds nothing up.
    """
    store = tracking_uri_of(tracking_uri)
    check_store(store)
    said = without_secrets(store)
    opening: Opening = {
        "format": 1,
        "store": without_secrets(absolute_store(store)),
        "out": out,
        "name": name,
        "params": {key: str(value) for key, value in params.items()},
        "tags": {
            **{"irodori.kind": kind, "irodori.output": out, "irodori.code_version": code_version()},
            **({"mlflow.parentRunId": parent.run_id} if parent is not None and parent.run_id else {}),
        },
        "started_ms": _now_ms(),
    }
    outbox = _outbox_for(out, opening)
    outbox.record({"open": opening})
    # A store that only this call names is named again.
    named = f" --tracking-uri {shlex.quote(opening['store'])}" if tracking_uri else ""
    remedy = f"irodori tracking sync {shlex.quote(out)}{named}"
    sender = Sender(outbox, store, said=said, remedy=remedy, arrived_late=name_run)
    current = Run(outbox, sender, said)
    try:
        yield current
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
        sender.record({"end": "KILLED" if interrupted else "FAILED", "at_ms": _now_ms()})
        sender.close(INTERRUPTED_PATIENCE_S if interrupted else PATIENCE_S)
        raise
    sender.record({"end": "FINISHED", "at_ms": _now_ms()})
    if sender.close(PATIENCE_S):
        name_run(outbox)
    else:
        hand_over(out)


def _outbox_for(out: str, opening: Opening) -> Outbox:
    """The outbox of the same work that did not finish, else a new one."""
    chosen: Outbox | None = None
    for found in outboxes(out)[0]:
        earlier = found.contents.opening
        unfinished = not found.contents.is_ended or found.contents.records[-1]["end"] != "FINISHED"
        if chosen is None and unfinished and earlier and _same(earlier, opening):
            chosen = found
        else:
            found.close()
    return chosen or new_outbox(out)


def _same(earlier: Opening, opening: Opening) -> bool:
    """Whether both are of one piece of work."""
    kept = [(work["store"], work["out"], work["name"], work["params"]) for work in (earlier, opening)]
    return kept[0] == kept[1]


def _now_ms() -> int:
    return int(time.time() * 1000)
