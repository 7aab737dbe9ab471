"""Ray without its noise: a local engine for the length of a `with`, or a cluster by its address.

What Ray has to say goes to one named file: the console output of its start, its own log lines, and at the end what the
workers printed. A Ray that runs already is used as it is and left alone.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Read by Ray when it is imported or started, and by the processes that it starts.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402  (after the settings that it reads)
from ray.data import DataContext  # noqa: E402

from model.families.registry import VARIABLE as FAMILIES  # noqa: E402
from pipelines.common.errors import PipelineError  # noqa: E402

# Pictures travel by address and workers give back a few numbers: a large object store would only take memory.
OBJECT_STORE_BYTES = 512 << 20
# The path of a socket has room for 107 bytes; Ray puts 70 behind its folder (session, time, process, socket).
_LONGEST_FOLDER = 107 - 70
CONNECT_TIMEOUT_S = 5


@contextlib.contextmanager
def ray_session(log_file: str | Path, num_cpus: int | None = None, address: str | None = None) -> Iterator[None]:
    """Ray with `num_cpus` local CPUs (all by default), or that of the cluster at `address`, until the block ends.

    Raises PipelineError where the cluster does not answer.
    """
    if ray.is_initialized():
        yield
        return
    log_path = Path(log_file)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab", buffering=0) as log:
        with _redirected(log.fileno()):
            _start(num_cpus, address, log_path)
        handler = _log_to(log_path)
        node = ray._private.worker._global_node  # there is no public way to the folder of the session's logs
        logs = Path(node.get_logs_dir_path()) if node is not None and address is None else None
        try:
            yield
        finally:
            with _redirected(log.fileno()):
                ray.shutdown()
            _let_go(handler)
            if logs is not None:
                _append_worker_output(logs, log_path)


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
    """
    own = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    if len(os.fsencode(os.path.join(own, "ray"))) <= _LONGEST_FOLDER:
        return None
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        if os.access(folder, os.W_OK):
            return os.path.join(folder, f"ray-{os.getuid()}")
    raise PipelineError(
        f"the folder for temporary files, {own}, is too long for the sockets of Ray ({_LONGEST_FOLDER} bytes at most): "
        "name a shorter one by RAY_TMPDIR"
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
    # Workers on other machines do not inherit this environment; the families that it registers must be theirs too.
    named = os.environ.get(FAMILIES)
    remote: dict[str, Any] = {"runtime_env": {"env_vars": {FAMILIES: named}}} if named else {}
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            configure_logging=True,
            logging_level=logging.WARNING,
            **(remote if address else local),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"the Ray cluster at {address} does not answer" if address else "Ray does not start"
        raise PipelineError(f"{where}: {str(error).splitlines()[0]} (details in {log_path})") from error
    if callable(handled) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handled)  # ray.init has put its own in its place
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True  # so that a DataError in a task is a DataError here


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
