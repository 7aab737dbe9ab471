"""A build from an archive that means harm: good pictures become rows, the rest is reported, none is written beside."""

import io
import tarfile
from pathlib import Path

import pytest

from dataprep.corpus_tools.info import open_snapshot, verify
from dataprep.pictures.decode import encode_png
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from tests.corpus_pictures import SMALL, picture
from tests.faults import Survived
from tests.pipelines.corpus_build.rows_compared import rows_compared


def hostile_tar(absolute: str) -> bytes:
    """Two good pictures; a name that climbs, an absolute one, a symbolic link and a device."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for seed, name in enumerate(["a.png", "b.png", "../x.png", absolute]):
            data = encode_png(picture(seed))
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, kind in (("link.png", tarfile.SYMTYPE), ("device.png", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/hostname" if kind == tarfile.SYMTYPE else ""
            tar.addfile(member)
    return out.getvalue()


def test_a_hostile_tar_costs_its_hostile_members_alone(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, survived: Survived
) -> None:
    source, out, absolute = tmp_path / "source", tmp_path / "out", tmp_path / "absolute.png"
    source.mkdir()
    (source / "shard.tar").write_bytes(hostile_tar(str(absolute)))
    report = run_build([str(source)], str(out), SMALL, engine=in_process)
    good = tmp_path_factory.mktemp("good")
    for seed, name in enumerate(["a.png", "b.png"]):
        (good / name).write_bytes(encode_png(picture(seed)))
    undisturbed = run_build([str(good)], str(tmp_path_factory.mktemp("undisturbed")), SMALL, engine=in_process)
    survived("hostile members of an archive", work="corpus build", tries=4, **rows_compared(out, undisturbed.out))
    assert sum(report.rows.values()) == 2
    assert report.rejects == {"refused": 4}
    rejects = open_snapshot(str(out)).table("rejects").to_pylist()
    named = {row["source"].rpartition("#")[2]: row["message"] for row in rejects}
    assert named == {
        "../x.png": "its name leaves the archive",
        str(absolute): "its name leaves the archive",
        "link.png": "a link, not a plain file",
        "device.png": "a device or pipe, not a plain file",
    }
    assert verify(str(out)) == []
    assert {path.name for path in tmp_path.iterdir()} == {"source", "out"}
    assert [path.name for path in source.iterdir()] == ["shard.tar"]
    assert not list(tmp_path.rglob("*.png"))
