"""Brings the records of an outbox into MLflow, each once, however often it is tried.

Metrics may be sent twice where an answer was lost; a store that keeps no second copy of the same number is not relied
on: after a doubt the history is read first. Everything else is set, not added. A run that is gone (its database was
deleted) is made again from all records.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from pipelines.tracking.outbox import Opening, Outbox, held
from pipelines.tracking.stores import database_of, experiment_of, open_client

KEY = "irodori.outbox"  # the tag by which the run of an outbox is found again
MOST_METRICS = 1000  # of one request
_GONE = "RESOURCE_DOES_NOT_EXIST"
_MOST_DIGEST = 36  # characters of a digest that MLflow keeps; the whole one is in the profile


class Delivery:
    """One outbox on its way into one store; used by one thread."""

    def __init__(self, outbox: Outbox, store: str) -> None:
        self._outbox, self._store = outbox, store
        self._client: Any = None
        self._database, self._renewals = database_of(store), 0
        self._inode: int | None = None
        self._in_doubt = True  # whether metrics may have arrived of which nothing is recorded
        self._is_known = False  # whether the run was seen in this store

    def send(self) -> None:
        """Everything that is not sent yet. Raises what `stores.send_errors` names; then call it again."""
        from mlflow.exceptions import MlflowException

        try:
            self._send()
        except MlflowException as error:
            self._in_doubt = True
            if error.error_code != _GONE or not self._is_known:
                raise
            self._is_known = False
            self._outbox.belongs_to(self._found_or_made())
            self._send()
        except Exception:
            self._in_doubt = True
            raise

    def _send(self) -> None:
        self._renew_client()
        run_id = self._run()
        for is_metrics, group in groupby(self._outbox.unsent(), key=lambda record: "metrics" in record):
            for part in _parts(list(group), MOST_METRICS if is_metrics else 1):
                if is_metrics:
                    self._send_metrics(run_id, part)
                else:
                    self._send_record(run_id, part[0])
                self._outbox.is_sent(part[-1]["n"])

    def _renew_client(self) -> None:
        """A client; a new one where the SQLite file is not the one that was opened: SQLite itself would go on writing
        into a file that was deleted."""
        inode = _inode(self._database)
        if self._client is not None and inode == self._inode:
            return
        if self._client is not None:
            self._renewals += 1
            self._is_known, self._in_doubt = False, True
        self._client = None
        self._client = open_client(self._store, self._renewals)
        self._inode = _inode(self._database)

    # ---- the run ---------------------------------------------------------------------------------------------------

    def _run(self) -> str:
        """The id of the run in this store."""
        if not self._is_known:
            run_id = self._outbox.contents.run_id
            if run_id is None or not self._is_there(run_id):
                self._outbox.belongs_to(self._found_or_made())
            self._is_known = True
        return str(self._outbox.contents.run_id)

    def _is_there(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != _GONE:
                raise
            return False
        return True

    def _found_or_made(self) -> str:
        """The run of this outbox, else one of the same work that did not finish, else a new one."""
        opening = self._outbox.contents.opening
        assert opening is not None, "an outbox begins with what the work is"
        experiment, key = experiment_of(self._client, self._store), self._outbox.path.stem
        for found in self._client.search_runs([experiment], f"tags.`{KEY}` = '{key}'"):
            return str(found.info.run_id)
        run_id = self._unfinished(experiment, opening) or self._made(experiment, opening)
        self._client.set_tag(run_id, KEY, key)
        return run_id

    def _unfinished(self, experiment: str, opening: Opening) -> str | None:
        """A run of this output with the same parameters that was killed or failed, and that nobody goes on with."""
        others = {contents.run_id for contents in held(self._outbox.out)} - {self._outbox.contents.run_id}
        # Compared here and not in the filter, whose quoting knows no way to write a quote.
        for found in self._client.search_runs([experiment], "attributes.status != 'FINISHED'"):
            same = found.data.tags.get("irodori.output") == opening["out"] and found.data.params == opening["params"]
            if same and found.info.run_id not in others:
                return str(found.info.run_id)
        return None

    def _made(self, experiment: str, opening: Opening) -> str:
        from mlflow.entities import Param

        # The key is there from the first moment: a run whose answer was lost is found by it, and never made twice.
        tags = opening["tags"] | {KEY: self._outbox.path.stem}
        made = self._client.create_run(experiment, opening["started_ms"], tags=tags, run_name=opening["name"])
        self._client.log_batch(
            made.info.run_id, params=[Param(key, value) for key, value in opening["params"].items()], synchronous=True
        )
        self._in_doubt = False
        return str(made.info.run_id)

    # ---- its records -----------------------------------------------------------------------------------------------

    def _send_metrics(self, run_id: str, records: Sequence[dict[str, Any]]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(name, float(value), record["at_ms"], record["step"])
            for record in records
            for name, value in record["metrics"].items()
        ]
        if self._in_doubt:
            names = {metric.key for metric in metrics}
            there = {_identity(old) for name in names for old in self._client.get_metric_history(run_id, name)}
            metrics = [metric for metric in metrics if _identity(metric) not in there]
        self._in_doubt = True
        for part in _parts(metrics, MOST_METRICS):
            self._client.log_batch(run_id, part, synchronous=True)
        self._in_doubt = False

    def _send_record(self, run_id: str, record: dict[str, Any]) -> None:
        if "open" in record:
            # Parameters and tags of a run whose making was cut short are set again; the same values change nothing.
            self._complete(run_id, record["open"])
        elif "parent" in record:
            self._client.set_tag(run_id, f"irodori.parent.{record['parent']['kind']}", record["parent"]["run_id"])
        elif "input" in record:
            self._log_input(run_id, record["input"])
        elif "artifact" in record:
            document = record["artifact"]["document"] | {"run_id": run_id}
            self._client.log_dict(run_id, document, record["artifact"]["name"])
        elif "model" in record:
            self._register(run_id, record["model"])
        elif "end" in record:
            self._client.set_terminated(run_id, record["end"], record["at_ms"])

    def _complete(self, run_id: str, opening: Opening) -> None:
        from mlflow.entities import Param, RunTag

        self._client.log_batch(
            run_id,
            params=[Param(key, value) for key, value in opening["params"].items()],
            tags=[RunTag(key, value) for key, value in opening["tags"].items()],
            synchronous=True,
        )
        self._client.update_run(run_id, status="RUNNING")

    def _log_input(self, run_id: str, item: dict[str, Any]) -> None:
        """A corpus snapshot as MLflow's metadata-only dataset: its digest is the corpus digest, no data is read."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"uri": item["uri"], "snapshot": item["snapshot"]})
        profile = json.dumps({"snapshot": item["snapshot"], "digest": item["digest"]})
        name = f"{Path(item['uri']).name}@{item['snapshot']}"
        dataset = Dataset(name, item["digest"][:_MOST_DIGEST], "irodori-corpus", source, profile=profile)
        self._client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "corpus")])])

    def _register(self, run_id: str, model: dict[str, Any]) -> None:
        """The checkpoint as the next version of the registered model of its stage; a run registers it once."""
        from mlflow.exceptions import MlflowException

        name = model["name"]
        if not self._client.search_registered_models(f"name = '{name}'"):
            try:
                self._client.create_registered_model(name)
            except MlflowException:  # another run of this stage made it between the question and now
                if not self._client.search_registered_models(f"name = '{name}'"):
                    raise
        if not self._client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
            self._client.create_model_version(name, model["source"], run_id, tags=model["tags"])


def _identity(metric: Any) -> tuple[str, int, int, str]:
    """What makes a number of the history the same; as text, since NaN is equal to nothing."""
    return metric.key, metric.step, metric.timestamp, repr(metric.value)


def _parts(items: list[Any], most: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), most):
        yield items[start : start + most]


def _inode(file: Path | None) -> int | None:
    """Which file lies at a path now; None where there is none."""
    try:
        return None if file is None else file.stat().st_ino
    except OSError:
        return None
