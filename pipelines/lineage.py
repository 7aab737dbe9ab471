"""Where a result comes from: one MLflow run for each piece of work, and the whole chain beside every output.

Every output (corpus, checkpoint run, evaluation) keeps a `lineage.json` with its own node and everything upstream, so
`irodori lineage` needs no server. The same document is an artifact of the run, inputs are logged as metadata-only
datasets whose digest is the corpus digest, and parents are tags, so MLflow alone tells the chain too.
Only the driver writes to MLflow. The default store is SQLite, in `irodori.db` of the working directory; the environment
variable MLFLOW_TRACKING_URI names another.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dataprep.storage import exists, join, read_bytes, write_whole
from pipelines.errors import PipelineError
from pipelines.versions import code_version

LINEAGE = "lineage.json"
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
    """What a piece of work read: the address of an output that has a lineage of its own."""

    kind: str
    uri: str
    snapshot: int | None = None
    digest: str | None = None


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
    def of(cls, document: dict[str, Any]) -> "Chain":
        """The inverse of `document`."""
        nodes = tuple(Node(node["id"], node["kind"], node["name"]) for node in document["nodes"])
        return cls(nodes, tuple((edge["from"], edge["to"]) for edge in document["edges"]))

    def joined(self, other: "Chain") -> "Chain":
        """Both chains, each node and edge once, in order of first appearance."""
        nodes = {node.id: node for node in (*self.nodes, *other.nodes)}
        return Chain(tuple(nodes.values()), tuple(dict.fromkeys((*self.edges, *other.edges))))


EMPTY = Chain((), ())


def tracking_uri_of(given: str | None) -> str:
    """The MLflow store in force: the one given, MLFLOW_TRACKING_URI, or the SQLite default."""
    return given or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_STORE


def chain_of(node: Node, inputs: list[Input], sources: list[str]) -> Chain:
    """The chain that ends in `node`: the chains of its inputs, and a node for each source."""
    chain = EMPTY
    for source in sources:
        chain = chain.joined(Chain((Node(source, "source", Path(source).name or source),), ((source, node.id),)))
    for item in inputs:
        upstream = Chain.of(read_document(item.uri)["chain"])
        chain = chain.joined(upstream).joined(Chain((), ((upstream.nodes[-1].id, node.id),)))
    return chain.joined(Chain((node,), ()))


def read_document(uri: str) -> dict[str, Any]:
    """The lineage document beside the output at `uri`, or beside the directory that it lies in.

    Raises PipelineError where there is none.
    """
    for candidate in (uri, uri.rstrip("/").rpartition("/")[0]):
        if candidate and exists(join(candidate, LINEAGE)):
            return json.loads(read_bytes(join(candidate, LINEAGE)))
    raise PipelineError(f"{uri} has no {LINEAGE}: it is no output of irodori, or its work did not finish")


def find_chain(uri_or_run: str, tracking_uri: str | None = None) -> Chain:
    """The chain of an output (an address) or of an MLflow run (its id)."""
    if _looks_like_run(uri_or_run):
        import mlflow

        mlflow.set_tracking_uri(tracking_uri_of(tracking_uri))
        try:
            found = mlflow.get_run(uri_or_run)
            return Chain.of(mlflow.artifacts.load_dict(f"{found.info.artifact_uri}/{LINEAGE}")["chain"])
        except mlflow.exceptions.MlflowException as error:
            raise PipelineError(f"run {uri_or_run}: {str(error).splitlines()[0]}") from error
    return Chain.of(read_document(uri_or_run)["chain"])


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
        write_whole(join(self.out, LINEAGE), json.dumps(document, indent=2).encode())

    def _log_input(self, item: Input) -> None:
        """A corpus becomes a metadata-only dataset; any upstream run becomes a parent tag."""
        upstream = read_document(item.uri).get("run_id")
        if upstream:
            self._client.set_tag(self.run_id, f"irodori.parent.{item.kind}", upstream)
        if item.digest is not None:
            from mlflow.entities import DatasetInput, InputTag

            dataset = _dataset(item)
            self._client.log_inputs(self.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "corpus")])])


@contextmanager
def run(kind: str, name: str, out: str, tracking_uri: str | None, params: dict[str, Any]) -> Iterator[Run]:
    """An MLflow run for the work whose output is `out`; an unfinished run of the same output is continued.

    The run ends as FINISHED, or FAILED where the block raises.
    """
    import logging

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    import mlflow

    store = tracking_uri_of(tracking_uri)
    try:
        client = mlflow.MlflowClient(store)
        experiment = _experiment(client, store)
        run_id = _unfinished(client, experiment, out)
    except mlflow.exceptions.MlflowException as error:
        raise PipelineError(f"the MLflow store {store} cannot be used: {str(error).splitlines()[0]}") from error
    if run_id is None:
        tags = {"irodori.kind": kind, "irodori.output": out, "irodori.code_version": code_version()}
        run_id = client.create_run(experiment, run_name=name, tags=tags).info.run_id
        for key, value in params.items():
            client.log_param(run_id, key, value)
    current = Run(client, run_id, store, out)
    try:
        yield current
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


def _unfinished(client: Any, experiment: str, out: str) -> str | None:
    """The run of this output that was killed before it could say so."""
    wanted = f"tags.`irodori.output` = '{out}' and attributes.status = 'RUNNING'"
    found = client.search_runs([experiment], wanted, max_results=1)
    return found[0].info.run_id if found else None


def _experiment(client: Any, store: str) -> str:
    """The experiment; beside a SQLite store its artifacts lie in a directory of the same name."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return found.experiment_id
    location = None
    if store.startswith("sqlite:///"):
        database = Path(store.removeprefix("sqlite:///")).resolve()
        database.parent.mkdir(parents=True, exist_ok=True)
        location = database.with_suffix("").as_posix() + "-artifacts"
    return client.create_experiment(EXPERIMENT, artifact_location=location)


def _dataset(item: Input) -> Any:
    """A corpus snapshot as MLflow's metadata-only dataset: its digest is the corpus digest, no data is read."""
    from mlflow.entities import Dataset

    source = json.dumps({"uri": item.uri, "snapshot": item.snapshot})
    profile = json.dumps({"snapshot": item.snapshot, "digest": item.digest})
    # MLflow keeps 36 characters of a digest; the whole one is in the profile.
    digest = (item.digest or "")[:36]
    return Dataset(f"{Path(item.uri).name}@{item.snapshot}", digest, "irodori-corpus", source, profile=profile)
