"""Every kind of document that the product reads, as nobody should write it: one line of ours, or it is read.

Those of a corpus and of a checkpoint are tried where they are read: tests/dataprep/corpus, tests/model/test_checkpoint.
"""

import json
import shutil
import struct
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprep.corpus_tools.export import start_export
from dataprep.corpus_tools.export_settings import ExportSettings
from dataprep.corpus_tools.info import info, open_snapshot, verify
from dataprep.corpus_tools.tags import PREDICTED_KINDS, RATINGS, Prediction, Thresholds
from dataprep.errors import DataError
from dataprep.limits import LimitSettings, fatal_calls
from dataprep.pictures import assembled
from jobs.commands.lineage import _lines
from model.diffusion.sampling_settings import InjectionSettings, SamplingSettings
from model.families.v1.sizes import V1_SIZES
from pipelines.colorization.picture_settings import PictureSettings, target_size
from pipelines.colorization.provenance import KEYWORD, Provenance, Source, Weights, extract
from pipelines.colorization.replay import InputAddresses, addresses_to_follow
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError, override, read_overrides
from pipelines.execution.cluster_file import group_for, read_cluster
from pipelines.forecast.measured import SHIPPED, load_costs
from pipelines.lineage import _outbox_for, find_chain
from pipelines.recipes.build_recipe import BuildRecipe
from pipelines.tracking.outbox import Contents, Opening
from pipelines.tracking.stores import open_client
from pipelines.tracking.sync import sync
from pipelines.training.stage import read_history
from pipelines.training.state.changes import accepted_changes, earlier_changes, recorded_recipe
from pipelines.training.state.lock import Holder, check_free
from pipelines.training.state.store import StateStore
from pipelines.weights.inspection import differing_settings, open_source
from pipelines.weights.store import find_stored
from tests.faults import Survived
from tests.hostile_documents import assert_refused_or_read, hostile

pytestmark = pytest.mark.seconds
HASH = "ab" * 32


def test_what_a_picture_says_of_itself(tmp_path: Path) -> None:
    weights = Weights(address="c", sha256=HASH, stage="v1.noisy", size="tiny", codec="tiny", image_encoder="tiny")
    provenance = Provenance(
        checkpoint=weights,
        sketch=Source("s.png", HASH),
        references={"reference": Source("r.png", HASH), "background": Source("b.png", HASH)},
        seed=1,
        settings=PictureSettings(SamplingSettings(injection=InjectionSettings())),
        width=64,
        height=48,
        device="cpu",
        code_version="1",
    )
    picture = tmp_path / "made.png"

    def read(text: bytes) -> None:
        body = b"iTXt" + KEYWORD.encode() + b"\0\0\0\0\0" + text
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(25) + chunk)
        found = extract(picture.read_bytes(), str(picture))
        assert len(addresses_to_follow(str(picture), InputAddresses())) >= 2
        assert target_size(found.settings.size, (64, 48), (64, 64)) >= (1, 1)
        assert json.loads(json.dumps(found.document(), allow_nan=False))

    assert assert_refused_or_read(provenance.document(), read, str(picture))["refused"] > 300


def test_where_a_result_comes_from(tmp_path: Path) -> None:
    nodes = [{"id": "/s", "kind": "source", "name": "s"}, {"id": "/c", "kind": "corpus", "name": "snapshot 1"}]
    document = {"run_id": "r", "tracking_uri": "t", "chain": {"nodes": nodes, "edges": [{"from": "/s", "to": "/c"}]}}

    def read(data: bytes) -> None:
        (tmp_path / "lineage.json").write_bytes(data)
        chain = find_chain(str(tmp_path))
        assert len(_lines(chain).splitlines()) >= len(chain.nodes)

    assert assert_refused_or_read(document, read, "lineage.json")["refused"] > 100


OPENING = {
    "format": 1,
    "store": "http://127.0.0.1:9",
    "out": "out",
    "name": "train",
    "params": {"seed": "1"},
    "tags": {"irodori.kind": "train"},
    "started_ms": 1,
}
RECORDS: list[dict[str, Any]] = [
    {"open": OPENING},
    {"metrics": {"loss": 0.5}, "step": 8, "at_ms": 2},
    {"parent": {"kind": "corpus", "run_id": "a" * 32}},
    {"input": {"uri": "/c", "snapshot": 1, "digest": HASH}},
    {"artifact": {"name": "lineage.json", "document": {"tracking_uri": "s", "chain": {"nodes": [], "edges": []}}}},
    {"model": {"name": "irodori-x", "source": "/out/checkpoint", "tags": {"irodori.corpus_digest": HASH}}},
    {"end": "FINISHED", "at_ms": 3},
]


def test_an_outbox(tmp_path: Path) -> None:
    """A line that is no record costs itself: reading never fails, and neither does the next work on the output."""
    sound = [json.dumps({"n": number, **record}).encode() for number, record in enumerate(RECORDS)]
    path = tmp_path / "tracking" / "x.jsonl"
    path.parent.mkdir()
    tries = damaged = 0
    documents = [*map(json.loads, sound), {"run_id": "a" * 32, "sent": -1}]
    for number, document in enumerate(documents):
        for label, data in hostile(document, 2):
            line = data.replace(b"\n", b" ")
            path.write_bytes(b"\n".join([*sound[:number], line, *sound[number + 1 :], b""]))
            try:
                chosen = _outbox_for(str(tmp_path), Opening(**OPENING))  # type: ignore[typeddict-item]
            except Exception as error:
                error.add_note(f"where {label}")
                raise
            assert len(chosen.contents.unsent()) >= 0
            chosen.close()
            left = Contents.of(path.read_bytes()) if path.exists() else Contents()
            assert all(type(record["n"]) is int for record in left.records), label
            tries, damaged = tries + 1, damaged + left.damaged
    assert damaged > tries / 2


def test_what_passes_for_a_record_is_sent_or_refused_in_one_line(tmp_path: Path) -> None:
    store, out = f"sqlite:///{tmp_path}/runs.db", tmp_path / "out"
    opening = json.dumps({"n": 0, "open": OPENING}).encode()
    refused, sent = list[str](), 0
    for number, document in enumerate(RECORDS[1:], 1):
        passing = [data for _, data in hostile({"n": 1, **document}, 1) if _passes(data)]
        for data in passing[number % 6 :: 6]:  # sending takes a tenth of a second
            (out / "tracking").mkdir(parents=True, exist_ok=True)
            path = out / "tracking" / "x.jsonl"
            path.write_bytes(b"\n".join([opening, data, b'{"n": 2, "end": "FINISHED", "at_ms": 3}\n']))
            try:
                sent += sync(str(out), store).records
            except PipelineError as error:
                refused.append(str(error))
                path.unlink()
            except Exception as error:
                error.add_note(f"where {data!r}")
                raise
    assert sent > 3
    assert [line for line in refused if "takes no records" not in line or "\n" in line] == []


def _passes(line: bytes) -> bool:
    """Whether a line is a record by its form."""
    found = Contents.of(line)
    return not found.damaged and len(found.records) == 1


def test_the_lineage_of_a_run_in_mlflow(tmp_path: Path) -> None:
    """A server is as foreign as a file."""
    store = f"sqlite:///{tmp_path}/runs.db"
    client = open_client(store)
    run_id = client.create_run(client.create_experiment("x", artifact_location=str(tmp_path / "files"))).info.run_id
    nodes = [{"id": "/s", "kind": "source", "name": "s"}, {"id": "/c", "kind": "corpus", "name": "snapshot 1"}]
    client.log_dict(run_id, {"run_id": run_id, "chain": {"nodes": nodes, "edges": []}}, "lineage.json")
    assert [node.id for node in find_chain(run_id, store).nodes] == ["/s", "/c"]
    (file,) = tmp_path.rglob("lineage.json")

    for data in (b"", b"[" * 100_000, b"[]", b"{}", b'{"chain": 5}', b'{"chain": {"nodes": [], "edges": []}}', b"\xff"):
        file.write_bytes(data)
        with pytest.raises(DataError, match=f"^lineage.json of run {run_id}"):
            find_chain(run_id, store)


def test_a_corpus(drawn_corpus: str, tmp_path: Path, survived: Survived) -> None:
    copy = Path(shutil.copytree(drawn_corpus, tmp_path / "corpus"))
    before = info(str(copy))
    path = copy / "snapshots" / "1.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        assert json.dumps(info(str(copy)))
        snapshot = open_snapshot(str(copy))
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        start_export(snapshot, str(tmp_path / "out"), ExportSettings("webdataset"))

    sound = path.read_bytes()
    counts = assert_refused_or_read(json.loads(sound), read, str(copy), most_entries=2)
    assert counts["refused"] > 200
    path.write_bytes(sound)
    assert verify(str(copy)) == []
    rows = sum(before["rows"].values()) - sum(info(str(copy))["rows"].values())
    survived("hostile document", work="corpus", tries=sum(counts.values()), lost=max(0, rows), doubled=max(0, -rows))


def test_a_record_of_weights(tmp_path: Path) -> None:
    record: dict[str, Any] = {
        "name": "hed",
        "sha256": HASH,
        "files": {"hed.safetensors": HASH},
        "source": "s",
        "source_sha256": HASH,
    }
    record |= {"known_sha256": True, "licence": "l", "format": "torch"}

    def read(data: bytes) -> None:
        (tmp_path / "hed.json").write_bytes(data)
        found = find_stored("hed", str(tmp_path))
        assert found is not None
        assert found.recorded.startswith("hed=")

    assert assert_refused_or_read(record, read, "hed.json")["refused"] > 100


def test_settings_beside_weights(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"conv_in.weight": np.zeros((4, 4), np.float32)}, tmp_path / "model.safetensors")
    for name, settings in (
        ("config.json", {"attention_head_dim": [5, 10], "prediction_type": "epsilon"}),
        ("model.yaml", {"model": {"params": {"parameterization": "v", "unet_config": {"params": {"heads": 1}}}}}),
    ):

        def read(data: bytes, name: str = name) -> None:
            (tmp_path / name).write_bytes(data)
            source = open_source(str(tmp_path / "model.safetensors"), tmp_path)
            assert len(differing_settings(source, V1_SIZES["base"])) < 12

        assert_refused_or_read(settings, read, str(tmp_path))
        (tmp_path / name).unlink()


def test_a_cluster_file(tmp_path: Path) -> None:
    worker = {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 4, "labels": {"irodori/price-per-hour": "1.5"}}
    worker |= {"node_config": {"InstanceType": "g5"}}
    cluster = {"max_workers": 8, "head_node_type": "head", "available_node_types": {"head": worker, "gpu": worker}}
    path = tmp_path / "cluster.yaml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        groups = read_cluster(str(path), {})
        assert group_for(groups, gpus=False).cores >= 0
        assert all(group.cost(1.0, 1.0) is None or group.cost(1.0, 1.0) >= 0 for group in groups)  # type: ignore[operator]

    assert assert_refused_or_read(cluster, read, str(path))["refused"] > 100
    for bomb in ("a: &a [1]\nb: " + "[*a, *a]\n" * 3, "!!python/object/apply:os.system ['true']", "\x00", "{a: b"):
        with pytest.raises(PipelineError, match=r"cluster\.yaml"):
            read(bomb.encode())


def test_a_recipe_file(tmp_path: Path) -> None:
    recipe = {"seed": 1, "filters": {"min_side": 64, "ratings": ["g"]}, "xdog": {"sigma": 0.7}, "shard_rows": 8}
    path = tmp_path / "recipe.yaml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        made = override(BuildRecipe(), read_overrides(str(path)))
        assert json.dumps(made.document(), allow_nan=False)

    assert assert_refused_or_read(recipe, read, "")["refused"] > 100
    aliases = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 1}]\n" for n in range(9))
    for bomb in (aliases, "!!python/object/apply:os.system ['true']", "? [a]\n: 1", "1: 2", "a: 2020-01-01"):
        path.write_text(bomb)
        with pytest.raises(SettingsError, match=r"recipe\.yaml|setting"):
            override(BuildRecipe(), read_overrides(str(path)))


def test_measured_costs(tmp_path: Path) -> None:
    document = json.loads(SHIPPED.read_text())
    path = tmp_path / "costs.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        table = load_costs(path)
        assert all(step.step(name, 0.5).ms.at(1.0) is not None for step in [table] for name in table.steps)

    assert assert_refused_or_read(document, read, str(path), most_entries=2)["refused"] > 50


def test_a_history(tmp_path: Path) -> None:
    def read(data: bytes) -> None:
        (tmp_path / "history.jsonl").write_bytes(data)
        for record in read_history(str(tmp_path)):
            assert f"{record['images_seen']:,} {record.get('loss', 0.0):.4f} {len(record.get('replaced', []))}"

    step = {"images_seen": 8, "loss": 0.5, "replaced": [1]}
    assert assert_refused_or_read(step, read, "history.jsonl")["refused"] > 50


def test_what_a_run_was_asked_for_and_what_changed(tmp_path: Path) -> None:
    wanted = {
        "stage": "v1.noisy",
        "images": 64,
        "decay_images": 8,
        "seed": 1,
        "checkpoint_images": 16,
        "styles": ["xdog"],
    }
    recipe, changes = tmp_path / "recipe.json", tmp_path / "changes.json"

    def read_recipe(data: bytes) -> None:
        recipe.write_bytes(data)
        accepted_changes(str(tmp_path), recorded_recipe(str(recipe)), wanted, images_seen=8, stopped=True)

    assert assert_refused_or_read(wanted, read_recipe, str(tmp_path))["refused"] > 50
    change = {"images_seen": 16, "at": "2026-01-01T00:00:00+00:00", "changed": {"images": [48, 64]}}

    def read_changes(data: bytes) -> None:
        changes.write_bytes(data)
        assert all(isinstance(entry["images_seen"], int) for entry in earlier_changes(str(changes)))

    assert assert_refused_or_read([change], read_changes, str(changes))["refused"] > 50


def test_what_a_state_of_training_says_of_itself(tmp_path: Path) -> None:
    store = StateStore(str(tmp_path))

    def fill(folder: Path) -> None:
        (folder / "history.jsonl").write_bytes(b"{}")

    state = Path(store.write(16, fill))
    path = state / "state.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        (kept,) = store.kept()
        assert store.images_seen() == (0 if kept.problem else 16)
        with store.fetched(kept):
            pass

    assert assert_refused_or_read(json.loads(path.read_bytes()), read, str(state))["refused"] > 50


def test_who_says_that_it_holds_an_output(tmp_path: Path) -> None:
    """What says nothing holds nothing, and this process holds what says so."""
    holder, path = Holder.this_process(), tmp_path / ".lock" / "00000001.json"
    path.parent.mkdir()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        check_free(str(tmp_path))

    assert assert_refused_or_read(asdict(holder), read, str(tmp_path))["read"] > 50


def test_what_a_tagger_predicted() -> None:
    cell: dict[str, Any] = {"rating": dict.fromkeys(RATINGS, 0.25), "general": {"hat": 0.9}, "character": {"x": 0.8}}

    def read(data: bytes) -> None:
        found = Prediction.parse(data)
        assert found.most_likely_rating() in RATINGS
        assert len(found.tags(Thresholds(), PREDICTED_KINDS)) <= 2

    assert assert_refused_or_read(cell, read, "predicted_tags")["refused"] > 100


def test_an_assembly() -> None:
    sound = json.loads(assembled.to_json(assembled.coloring(next(iter(assembled.shipped_templates().values())), 0, 0)))

    def read(data: bytes) -> None:
        made = assembled.from_json(data.decode("utf-8", "replace"))
        assert assembled.render(made, 32).shape == (32, 32, 3)

    assert assert_refused_or_read(sound, read, "")["refused"] > 50


def test_what_ended_a_worker(tmp_path: Path) -> None:
    def read(data: bytes) -> None:
        (tmp_path / "note.json").write_bytes(data)
        fatal_calls(str(tmp_path), LimitSettings())

    assert_refused_or_read({"call": "decode", "seconds": 60.0, "hung": True}, read, "note.json")


def test_what_an_export_says_of_itself(drawn_corpus: str, tmp_path: Path) -> None:
    snapshot, settings = open_snapshot(drawn_corpus), ExportSettings("folders")
    start_export(snapshot, str(tmp_path), settings)
    path = tmp_path / ".export" / "export.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        start_export(snapshot, str(tmp_path), settings)

    assert assert_refused_or_read(json.loads(path.read_text()), read, str(tmp_path))["refused"] > 50
