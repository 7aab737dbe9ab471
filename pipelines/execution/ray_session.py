"""Ray without its noise: a local engine for the length of a `with`, or a cluster by its address.

What Ray has to say goes to one named file: the console output of its start, its own log lines, and at the end what the
workers printed. A Ray that runs already is used as it is and left alone. A local engine listens on loopback alone,
takes no call without its token, and is started again where it is killed under work that can go on.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

# Read by Ray when it is imported or started, and by the processes that it starts.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A group of training workers waits so long for its nodes before it asks anew (Ray's own limit is a minute, and each
    # time it withdraws what it had asked the autoscaler for).
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "3600",
}
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402  (after the settings that it reads)
from ray.data import DataContext  # noqa: E402

from model.families.registry import VARIABLE as FAMILIES  # noqa: E402
from pipelines.common.errors import EngineLost, PipelineError  # noqa: E402
from pipelines.common.private_folder import is_private  # noqa: E402
from pipelines.common.progress import NOTICES  # noqa: E402
from pipelines.execution.access_token import private_token  # noqa: E402
from pipelines.execution.engine_watch import EVERY_S, REMOTE_EVERY_S, EngineWatch, local_parts, remote_parts  # noqa: E402

# Pictures travel by address and workers give back a few numbers: a large object store would only take memory.
OBJECT_STORE_BYTES = 512 << 20
# The path of a socket has room for 107 bytes; Ray puts 70 behind its folder (session, time, process, socket).
_LONGEST_FOLDER = 107 - 70
_SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
CONNECT_TIMEOUT_S = 5
RESTARTS = 3  # of a local engine that was lost under one piece of work

Result = TypeVar("Result")
_owner: "Session | None" = None  # the session that started or joined the Ray of this process


class Session:
    """The Ray of a `with`, and work that outlives the loss of it."""

    def __init__(self, num_cpus: int | None, address: str | None, log_path: Path) -> None:
        self.address, self._num_cpus, self._log_path = address, num_cpus, log_path
        self._watch: EngineWatch | None = None

    def run(self, work: Callable[[], Result]) -> Result:
        """What `work` returns, which goes on from what it has kept when it is called again.

        A local engine that is lost meanwhile is started again, and `work` called again, RESTARTS times; PipelineError
        after them, and where a cluster is lost, which others must bring back.
        """
        restarts = 0
        while True:
            watch = self._watch
            if watch is None:
                return work()
            try:
                with watch.guarding():
                    return work()
            except (Exception, KeyboardInterrupt) as error:
                part = watch.found_lost(error)
                if part is None:
                    raise
                restarts += 1
                self._go_on(part, restarts, error)

    def start(self) -> None:
        """Start or join Ray."""
        _start(self._num_cpus, self.address, self._log_path)
        node = ray._private.worker._global_node  # there is no public way to Ray's processes; None for Ray Client
        if node is not None:
            watched = (remote_parts(node), REMOTE_EVERY_S) if self.address else (local_parts(node), EVERY_S)
            self._watch = EngineWatch(*watched)

    def stop(self) -> None:
        """End what was started, or leave the cluster."""
        if self._watch is not None:
            self._watch.close()
        ray.shutdown()

    def _go_on(self, part: str, restarts: int, error: BaseException) -> None:
        what = f"the local Ray engine was lost (its {part} ended)"
        if self.address is not None:
            what = f"the Ray cluster at {self.address} was lost (its {part} does not answer)"
        if self.address is not None or restarts > RESTARTS:
            raise EngineLost(
                f"{what}. What was finished is kept: the same command goes on from there (details in {self._log_path})"
            ) from error
        NOTICES.warning("%s; it is started again, and the work goes on (restart %d of %d)", what, restarts, RESTARTS)
        with self._log_path.open("ab", buffering=0) as log, _redirected(log.fileno()):
            self.stop()
            self.start()


@contextlib.contextmanager
def ray_session(log_file: str | Path, num_cpus: int | None = None, address: str | None = None) -> Iterator[Session]:
    """Ray with `num_cpus` local CPUs (all by default), or that of the cluster at `address`, until the block ends.

    Raises PipelineError where the cluster does not answer.
    """
    global _owner
    log_path = Path(log_file)
    if ray.is_initialized():
        set_data_context()
        yield _owner or Session(num_cpus, address, log_path)
        return
    log_path.parent.mkdir(parents=True, exist_ok=True)
    session = Session(num_cpus, address, log_path)
    with log_path.open("ab", buffering=0) as log:
        with _redirected(log.fileno()):
            session.start()
        handler = _log_to(log_path)
        _owner = session
        try:
            yield session
        finally:
            _owner = None
            logs = _session_logs() if address is None else None
            with _redirected(log.fileno()):
                session.stop()
            _let_go(handler)
            if logs is not None:
                _append_worker_output(logs, log_path)


def _session_logs() -> Path | None:
    node = ray._private.worker._global_node  # there is no public way to the folder of the session's logs
    return Path(node.get_logs_dir_path()) if node is not None else None


def _check_answers(address: str) -> None:
    """Ray itself waits for minutes; a closed door can be found out in seconds."""
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdigit():
        return  # "auto" and the like: Ray knows where
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise PipelineError(f"the Ray cluster at {address} does not answer: {error.strerror or error}") from error


def short_folder() -> str | None:
    """A folder for the sockets of a local Ray where that of the environment is too long for them; else None, and Ray
    takes its own. Raises PipelineError where there is no short one.

    It lies in a folder of this user alone: Ray lets everybody write into its own.
    """
    own = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    if len(os.fsencode(os.path.join(own, "ray"))) <= _LONGEST_FOLDER:
        return None
    private = [os.path.join(folder, f"ray-{os.getuid()}") for folder in _SHORT_FOLDERS]
    for folder in private:
        if is_private(folder):
            return os.path.join(folder, "ray")
    raise PipelineError(
        f"the folder for temporary files, {own}, is too long for the sockets of Ray ({_LONGEST_FOLDER} bytes at most), "
        f"and none of {', '.join(private)} can be made or is this user's alone: name a shorter one by RAY_TMPDIR"
    )


def _start(num_cpus: int | None, address: str | None, log_path: Path) -> None:
    if address is not None:
        _check_answers(address)
    local: dict[str, Any] = {
        "num_cpus": num_cpus,
        "object_store_memory": OBJECT_STORE_BYTES,
        "include_dashboard": False,
        "_temp_dir": short_folder(),
    }
    handled = signal.getsignal(signal.SIGTERM)
    # Workers on other machines do not inherit this environment; the families that it registers must be theirs too, and
    # how threads wait.
    inherited = {name: value for name in (FAMILIES, "OMP_WAIT_POLICY") if (value := os.environ.get(name))}
    remote: dict[str, Any] = {"runtime_env": {"env_vars": inherited}} if inherited else {}
    try:
        with contextlib.nullcontext() if address else _alone():
            ray.init(
                address=address or "local",
                log_to_driver=False,
                configure_logging=True,
                logging_level=logging.WARNING,
                **(remote if address else local),
            )
    except ray.exceptions.AuthenticationError as error:
        raise PipelineError(
            f"the Ray cluster at {address} takes no call without its token: set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN_PATH to a file that holds it"
        ) from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"the Ray cluster at {address} does not answer" if address else "Ray does not start"
        raise PipelineError(f"{where}: {str(error).splitlines()[0]} (details in {log_path})") from error
    if callable(handled) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handled)  # ray.init has put its own in its place
    set_data_context()


def set_data_context() -> None:
    """What Ray Data does in this process: for a Ray that starts here, and for one that ran already."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True  # so that a DataError in a task is a DataError here
    # -1: no limit. Ray's own ends work after 30 minutes without an output, and a shard may take longer, or a machine to
    # come. Calls on pictures have limits of their own (dataprep.limits), and what is waited for is said (`stalls`).
    context.execution_no_progress_timeout_s = -1


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """An engine that starts here listens on loopback, as Ray's engines do on macOS and Windows, and asks for a token.

    Ray has no argument for it (`_node_ip_address="127.0.0.1"` is replaced by the machine's address): its own processes
    read the environment variable, this one what it made of that at import.
    """
    constants = ray._private.ray_constants
    name, before = constants.ENABLE_RAY_CLUSTERS_ENV_VAR, constants.ENABLE_RAY_CLUSTER
    given = os.environ.get(name)
    private_token()
    os.environ[name], constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before
        if given is None:
            del os.environ[name]
        else:
            os.environ[name] = given


@contextlib.contextmanager
def _redirected(descriptor: int) -> Iterator[None]:
    """File descriptors 1 and 2 go elsewhere: also what C++ code and child processes print."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {target: os.dup(target) for target in (1, 2)}
    try:
        for target in saved:
            os.dup2(descriptor, target)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for target, original in saved.items():
            os.dup2(original, target)
            os.close(original)


def _log_to(path: Path) -> logging.Handler:
    """Ray's Python loggers write to the file and no longer to the console."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for logger in _ray_loggers():
        for existing in list(logger.handlers):
            if isinstance(existing, logging.StreamHandler) and not isinstance(existing, logging.FileHandler):
                logger.removeHandler(existing)
    logging.getLogger("ray").addHandler(handler)
    logging.getLogger("ray").propagate = False
    return handler


def _let_go(handler: logging.Handler) -> None:
    logging.getLogger("ray").removeHandler(handler)
    handler.close()


def _ray_loggers() -> list[logging.Logger]:
    names = [name for name in logging.root.manager.loggerDict if name == "ray" or name.startswith("ray.")]
    return [logging.getLogger(name) for name in names]


def _append_worker_output(logs: Path, log_path: Path) -> None:
    """What the workers printed, under the name of each one's file."""
    with log_path.open("a", encoding="utf-8") as log:
        for file in sorted(logs.glob("worker-*.*")):
            if text := file.read_text(encoding="utf-8", errors="replace").strip():
                log.write(f"--- {file.name}\n{text}\n")
