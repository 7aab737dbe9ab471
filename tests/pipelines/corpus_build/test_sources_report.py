"""What a build and a dry run say of their sources: what each was read as, what was not, and which facts were lost."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus_build.build import plan_build, run_build
from pipelines.execution.ray_data import in_process
from tests.corpus_pictures import SMALL, write_pictures
from tests.dataprep.sources.source_helpers import tar_bytes


def test_a_build_beside_a_foreign_table_gives_its_tags_to_nobody_and_says_so(tmp_path: Path) -> None:
    pictures = sorted(write_pictures(tmp_path / "drawn", 4).rglob("*.png"))
    source, out = tmp_path / "laion", str(tmp_path / "out")
    members = {f"{number:05d}.png": path.read_bytes() for number, path in enumerate(pictures)}
    members |= {f"{number:05d}.json": b'{"score": "high", "group": "g%d"}' % number for number in range(4)}
    (source / "metadata").mkdir(parents=True)
    (source / "00000.tar").write_bytes(tar_bytes(members))
    rows = [{"id": number, "tags": ["of a stranger"], "score": 9.0} for number in range(4)]
    pq.write_table(pa.Table.from_pylist(rows), source / "metadata" / "part-0.parquet")
    planned = plan_build([str(source)], out, SMALL)
    report = run_build([str(source)], out, SMALL, engine=in_process)
    assert sum(report.rows.values()) == 4
    for said in (planned, report):
        text = said.summary()
        assert f"read {source} as a folder: the members of one shard" in text
        assert "not read: metadata/part-0.parquet (no column path or file_name; it has id, tags, score)" in text
        assert "facts that cannot be read: 4 (score 4); their pictures are taken" in text
        sources = json.loads(json.dumps(said.document()))["sources"]
        assert sources["unread_facts"] == {"score": 4}
        assert sources["examples"] == {"score": f"{source}/00000.tar#00000.json: 'high'"}
        assert [one["layout"] for one in sources["read_as"]] == ["a folder"]


def test_files_beside_pictures_that_are_read_are_reported_by_kind(tmp_path: Path) -> None:
    for path in write_pictures(tmp_path / "10_girl", 2).rglob("*.png"):
        path.with_suffix(".txt").write_text("1girl, solo, smile")
    text = plan_build([str(tmp_path / "10_girl")], str(tmp_path / "out"), SMALL).summary()
    assert "as a folder: pictures by their names, with what their .txt files say" in text
