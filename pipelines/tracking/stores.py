"""MLflow stores by their address: which one is in force, whether its address can be right, and a client of it.

Nothing here waits for a server: what can be known of an address alone is said before work starts, the rest is found out
by the thread that sends (pipelines.tracking.sender).
"""

import importlib.metadata
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dataprep.secrets import without_secrets
from pipelines.common.errors import PipelineError
from pipelines.tracking.file_lock import hold

DEFAULT_STORE = "sqlite:///irodori.db"
EXPERIMENT = "irodori"
CREATION_WAIT_S = 60.0
_SQLITE = "sqlite:///"
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_OTHERS = ("", "file", "http", "https", "databricks")
# MLflow's own retries take minutes; ours go on beside the work.
_HTTP_RETRIES, _HTTP_TIMEOUT_S = "2", "10"


def tracking_uri_of(given: str | None) -> str:
    """The MLflow store in force: the one given, MLFLOW_TRACKING_URI, or the SQLite default."""
    return given or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_STORE


def check_store(store: str) -> None:
    """Raises PipelineError for an address that cannot be right: no MLflow store, a driver that is not installed, a
    folder that cannot be made. A server is not asked."""
    said = without_secrets(store)
    scheme = store if store == "databricks" else urlsplit(store).scheme.partition("+")[0]
    plugins = {entry.name for entry in importlib.metadata.entry_points(group="mlflow.tracking_store")}
    if scheme not in (*_DATABASES, *_OTHERS) and scheme not in plugins:
        raise PipelineError(
            f"the MLflow store {said} cannot be used: MLflow knows no {scheme}: addresses; "
            "sqlite:///FILE or http://SERVER is needed"
        )
    if scheme in _DATABASES:
        _check_database(store, said)
    elif scheme in ("", "file"):
        _check_folder(store, said)


def _check_database(store: str, said: str) -> None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        make_url(store).get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise PipelineError(f"the MLflow store {said} cannot be used: {first_line(error)}") from error
    except ModuleNotFoundError as error:
        raise PipelineError(
            f"the MLflow store {said} cannot be used: its driver is not installed: pip install {error.name}"
        ) from error
    file = database_of(store)
    if file is None or store == DEFAULT_STORE:
        return  # the default is not the user's word: where it cannot be made, records wait in the outbox
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PipelineError(f"the MLflow store {said} cannot be used: {file.parent}: {error.strerror}") from error
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise PipelineError(f"the MLflow store {said} cannot be used: {file} cannot be written")


def _check_folder(store: str, said: str) -> None:
    """MLflow keeps no new runs in folders, or does; its own words are the answer."""
    mlflow = quiet_mlflow()
    try:
        mlflow.MlflowClient(store, registry_uri=store).search_experiments(max_results=1)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise PipelineError(f"the MLflow store {said} cannot be used: {first_line(error)}") from error


def database_of(store: str) -> Path | None:
    """The file of a SQLite store."""
    return Path(store.removeprefix(_SQLITE)).resolve() if store.startswith(_SQLITE) else None


def absolute_store(store: str) -> str:
    """The same store from any working directory."""
    file = database_of(store)
    return store if file is None else f"{_SQLITE}{file}"


def quiet_mlflow() -> Any:
    """MLflow, without its own log lines, which repeat whole statements with their values."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _HTTP_RETRIES)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", _HTTP_TIMEOUT_S)
    import mlflow

    for noisy in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    return mlflow


def import_store(store: str) -> None:
    """Import what a client of this store needs. Call it from the main thread: a thread that imports beside another may
    meet modules that are half there."""
    quiet_mlflow()
    if urlsplit(store).scheme.partition("+")[0] in _DATABASES:
        import mlflow.store.model_registry.sqlalchemy_store
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def send_errors() -> tuple[type[Exception], ...]:
    """What a call of a client may end in where the store, and not the call, is at fault."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, OSError


def open_client(store: str, renewal: int = 0) -> Any:
    """A client of `store`; a SQLite file that is missing is made, by one process at a time.

    renewal: how often the file was lost meanwhile. MLflow keeps the connections of a process by the spelling of the
    address, so that a file made anew needs another spelling.
    """
    mlflow, file = quiet_mlflow(), database_of(store)
    if file is None:
        return mlflow.MlflowClient(store, registry_uri=store)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab"):  # an OSError at once where MLflow would try for a minute; SQLite takes an empty file
        pass
    spelled = f"{_SQLITE}{file.parent}/{'./' * renewal}{file.name}"
    with _only_one(file.parent):
        client = mlflow.MlflowClient(spelled, registry_uri=spelled)
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
    return client


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """One process at a time makes tables in this folder: MLflow's migrations of two at once fail. A lock on the folder
    itself, which leaves no file behind; a file system without locks goes without."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        give_up = time.monotonic() + CREATION_WAIT_S
        while True:
            try:
                hold(descriptor)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    break
            time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def experiment_of(client: Any, store: str) -> str:
    """The experiment of irodori, made where it is missing; beside a SQLite file its artifacts lie in a folder of the
    same name."""
    from mlflow.exceptions import MlflowException

    if (found := client.get_experiment_by_name(EXPERIMENT)) is not None:
        return str(found.experiment_id)
    file = database_of(store)
    location = None if file is None else file.with_suffix("").as_posix() + "-artifacts"
    try:
        return str(client.create_experiment(EXPERIMENT, artifact_location=location))
    except MlflowException:
        if (found := client.get_experiment_by_name(EXPERIMENT)) is None:
            raise
        return str(found.experiment_id)  # another process made it between the question and now


def first_line(error: BaseException) -> str:
    """What went wrong, in one line without secrets."""
    if "failed with exception" in str(error):  # MLflow's words for a server that did not answer, with all its tries
        return "the server does not answer"
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("(raised as a result")]
    return without_secrets((lines or [type(error).__name__])[0].strip())
