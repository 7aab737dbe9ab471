"""A tagger's way into a corpus: weights into the store, the column `predicted_tags`, and its use."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dataprep.corpus.column_files import read_rows
from dataprep.corpus.reader import CorpusReader
from dataprep.corpus.shard_files import shards
from dataprep.corpus.snapshot import open_snapshot
from dataprep.corpus_tools.tags import Prediction, Thresholds, VocabularySettings, caption
from dataprep.corpus_tools.verify import _word_damages, verify
from dataprep.corpus_tools.vocabulary import vocabulary
from dataprep.operators.learned_columns import LearnedSettings
from dataprep.operators.styles import StyleSettings
from dataprep.pictures.decode import decode
from model.extractors.labels.wd_tagger import CONVENTIONS, from_config
from pipelines.common.errors import PipelineError
from pipelines.corpus_build.build import run_build
from pipelines.execution.ray_data import in_process
from pipelines.recipes.build_recipe import NetworkSettings
from pipelines.weights.intake import add
from pipelines.weights.store import load_network, stored
from tests.corpus_pictures import SMALL, write_pictures
from tests.model.extractors.labels.wd_files import companions, csv_rows, small_config
from tests.model.golden import with_rule_weights

NAME = "wd_convnext_v3"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A weight store with a narrow tagger whose weights are by rule."""
    published, config = tmp_path_factory.mktemp("published"), small_config(NAME)
    network = with_rule_weights(from_config(companions(config)))
    tensors = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    save_file(tensors, published / "model.safetensors")
    (published / "config.json").write_text(json.dumps(config))
    with (published / "selected_tags.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(csv_rows()[0]))
        writer.writeheader()
        writer.writerows(csv_rows())
    folder = str(tmp_path_factory.mktemp("store"))
    with pytest.raises(PipelineError, match="sha256"):  # the labels are not the published ones
        add(NAME, str(published), folder)
    add(NAME, str(published), folder, accept_other_sha256=True)
    return folder


@pytest.fixture(scope="module")
def corpus(store: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tagged")
    recipe = replace(
        SMALL,
        styles=StyleSettings(xdog=1),
        learned=LearnedSettings(tagger=NAME),
        networks=NetworkSettings(weights=store, device="cpu", batch_megapixels=1.0),
    )
    run_build([str(write_pictures(folder / "pictures", 6))], str(folder / "corpus"), recipe, engine=in_process)
    return str(folder / "corpus")


def test_every_row_has_what_the_tagger_says_of_its_picture_alone(corpus: str, store: str) -> None:
    """Though the build ran pictures in batches."""
    network = load_network(NAME, stored(NAME, store).sha256, store)
    steps = CONVENTIONS["wdv3-timm"].for_network(network)
    for split in ("train", "validation"):
        rows = CorpusReader(corpus, split, ["color", "predicted_tags"])
        for row in map(rows.row, range(len(rows))):
            planes = torch.from_numpy(steps.prepare(decode(row["color"]).rgb))[None]
            with torch.inference_mode():
                expected = steps.finish(steps.infer(network, planes)[0].numpy(), (48, 64))
            found = json.loads(row["predicted_tags"])
            assert found.keys() == expected.keys()
            for group, tags in expected.items():
                assert found[group] == pytest.approx(tags, abs=1.1e-4)


def test_the_column_serves_captions_and_a_vocabulary(corpus: str) -> None:
    rows = CorpusReader(corpus, "train", ["predicted_tags"])
    said = [Prediction.parse(rows.row(i)["predicted_tags"]) for i in range(len(rows))]
    thresholds = Thresholds(0.05, 0.05)
    settings = VocabularySettings(origin="predicted", kinds=("general", "character"), thresholds=thresholds)
    found = vocabulary(open_snapshot(corpus), settings)
    uses = sum(len(prediction.tags(thresholds)) for prediction in said)
    assert found.counts("train").sum() == uses > 0
    assert found.document()["tagger"]["name"] == f"{NAME} (weights that are not the published ones)"
    assert caption(said[0].tags(thresholds)).count(",") == len(said[0].tags(thresholds)) - 1


def test_verify_reads_words_as_words(corpus: str) -> None:
    assert verify(corpus) == []
    snapshot = open_snapshot(corpus)
    assert snapshot.document["operators"]["predicted_tags"]["gives"] == "json"
    (shard, *_) = shards(snapshot)
    file = shard.files["predicted_tags"]
    row = next(iter(read_rows(Path(corpus, file.path).read_bytes(), "predicted_tags", file.path)))
    assert list(_word_damages(file, row, {})) == []
    assert "not JSON" in next(_word_damages(file, row | {"predicted_tags": b"{1girl"}, {}))
