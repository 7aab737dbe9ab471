"""Where a result comes from: one MLflow run for each piece of work, and the whole chain beside every output.

Every output (corpus, checkpoint run, evaluation) keeps a `lineage.json` with its own node and everything upstream, so
`irodori lineage` needs no server. The same document is an artifact of the run, inputs are logged as metadata-only
datasets whose digest is the corpus digest, parents are tags, and a checkpoint is a version of the registered model of
its stage (`irodori-v1.noisy`), so MLflow alone tells the chain too.
Only the driver writes to MLflow. The default store is SQLite, in `irodori.db` of the working directory; the environment
variable MLFLOW_TRACKING_URI names another.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from dataprep.documents import DocumentError, checked
from dataprep.documents import read_document as read_typed
from dataprep.storage.store import exists, join, write_whole
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError
from pipelines.common.versions import code_version

LINEAGE = "lineage.json"
_MOST_BYTES = 16 << 20
_HERE = "."  # the folder of a lineage.json, in it: a result that is copied or moved keeps no false address
EXPERIMENT = "irodori"
DEFAULT_STORE = "sqlite:///irodori.db"


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


def tracking_uri_of(given: str | None) -> str:
    """The MLflow store in force: the one given, MLFLOW_TRACKING_URI, or the SQLite default."""
    return given or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_STORE


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
            found = read_typed(where, _Document, _MOST_BYTES)
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
    database = _database(store)
    if database is not None and not database.is_file():
        raise PipelineError(f"there is no MLflow store {store}; name the one that holds the run with --tracking-uri")
    mlflow = _mlflow(store)
    try:
        found = mlflow.get_run(uri_or_run)
        return Chain.of(mlflow.artifacts.load_dict(f"{found.info.artifact_uri}/{LINEAGE}")["chain"])
    except mlflow.exceptions.MlflowException as error:
        raise PipelineError(f"run {uri_or_run} in {store}: {_first_line(error)}") from error


def _looks_like_run(text: str) -> bool:
    return len(text) == 32 and all(character in "0123456789abcdef" for character in text)


class Run:
    """One MLflow run that belongs to one output; the same output continues the same run."""

    def __init__(self, client: Any, run_id: str, tracking_uri: str, out: str) -> None:
        self.run_id, self.tracking_uri, self.out = run_id, tracking_uri, out
        self._client = client

    def log_metrics(self, metrics: dict[str, Any], step: int = 0) -> None:
        """Numbers at a step (images seen); anything that is no number is left out."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        numbers = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
        self._client.log_batch(self.run_id, [Metric(key, float(value), now, step) for key, value in numbers.items()])

    def finish(self, node: Node, inputs: list[Input], sources: list[str] | None = None) -> None:
        """Write the chain beside the output and into the run; the last thing that a piece of work does."""
        chain = chain_of(node, inputs, sources or [])
        for item in inputs:
            self._log_input(item)
        document = {"run_id": self.run_id, "tracking_uri": self.tracking_uri, "chain": chain.document()}
        self._client.log_dict(self.run_id, document, LINEAGE)
        if node.kind == "checkpoint":
            self._register(node, next((item.digest for item in inputs if item.digest), None))
        kept = document | {"chain": chain.leaving(self.out).document()}
        write_whole(join(self.out, LINEAGE), json.dumps(kept, indent=2).encode())

    def _register(self, node: Node, corpus_digest: str | None) -> None:
        """The checkpoint as the next version of the registered model of its stage; a resumed run registers it once."""
        from mlflow.exceptions import MlflowException

        model = f"irodori-{node.name.split()[0]}"
        if not self._client.search_registered_models(f"name = '{model}'"):
            with suppress(MlflowException):  # another run of this stage made it between the question and now
                self._client.create_registered_model(model)
        if not self._client.search_model_versions(f"name = '{model}' and run_id = '{self.run_id}'"):
            tags = {"irodori.corpus_digest": corpus_digest} if corpus_digest else {}
            self._client.create_model_version(model, node.id, self.run_id, tags=tags)

    def _log_input(self, item: Input) -> None:
        """A corpus becomes a metadata-only dataset; any upstream run becomes a parent tag."""
        if (upstream := _document_of(item)) and upstream["run_id"] is not None:
            self._client.set_tag(self.run_id, f"irodori.parent.{item.kind}", upstream["run_id"])
        if item.digest is not None:
            from mlflow.entities import DatasetInput, InputTag

            dataset = _dataset(item)
            self._client.log_inputs(self.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "corpus")])])


@contextmanager
def run(kind: str, name: str, out: str, tracking_uri: str | None, params: dict[str, Any]) -> Iterator[Run]:
    """An MLflow run for the work whose output is `out`; one of the same output and parameters that did not finish, is
    continued.

    The run ends as FINISHED, or FAILED where the block raises.
    """
    store = tracking_uri_of(tracking_uri)
    mlflow = _mlflow(store)
    given = {key: str(value) for key, value in params.items()}
    try:
        client = mlflow.MlflowClient(store)
        experiment = _experiment(client, store)
        run_id = _unfinished(client, experiment, out, given)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise PipelineError(f"the MLflow store {store} cannot be used: {_first_line(error)}") from error
    if run_id is None:
        tags = {"irodori.kind": kind, "irodori.output": out, "irodori.code_version": code_version()}
        run_id = client.create_run(experiment, run_name=name, tags=tags).info.run_id
        client.log_batch(run_id, params=[mlflow.entities.Param(key, value) for key, value in given.items()])
    current = Run(client, run_id, store, out)
    try:
        yield current
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


def _mlflow(store: str) -> Any:
    """MLflow, quiet, and quick to say that a server does not answer (its own retries take minutes)."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    import mlflow

    for noisy in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(store)
    return mlflow


def _unfinished(client: Any, experiment: str, out: str, params: dict[str, str]) -> str | None:
    """The run of this output with the same parameters that was killed or failed; it is running again from now on."""
    # Compared here and not in the filter, whose quoting knows no way to write a quote.
    for found in client.search_runs([experiment], "attributes.status != 'FINISHED'"):
        if found.data.tags.get("irodori.output") == out and found.data.params == params:
            client.update_run(found.info.run_id, status="RUNNING")
            return found.info.run_id
    return None


def _experiment(client: Any, store: str) -> str:
    """The experiment; beside a SQLite store its artifacts lie in a directory of the same name."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return found.experiment_id
    location = None
    database = _database(store)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        location = database.with_suffix("").as_posix() + "-artifacts"
    return client.create_experiment(EXPERIMENT, artifact_location=location)


def _database(store: str) -> Path | None:
    """The file of a SQLite store."""
    return Path(store.removeprefix("sqlite:///")).resolve() if store.startswith("sqlite:///") else None


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _dataset(item: Input) -> Any:
    """A corpus snapshot as MLflow's metadata-only dataset: its digest is the corpus digest, no data is read."""
    from mlflow.entities import Dataset

    source = json.dumps({"uri": item.uri, "snapshot": item.snapshot})
    profile = json.dumps({"snapshot": item.snapshot, "digest": item.digest})
    # MLflow keeps 36 characters of a digest; the whole one is in the profile.
    digest = (item.digest or "")[:36]
    return Dataset(f"{Path(item.uri).name}@{item.snapshot}", digest, "irodori-corpus", source, profile=profile)
