"""What must hold of every stage of every family, those that are still to come included.

Each is built at its tiny size, takes a step on one worker, is saved, goes on on two, is exported and opened again; its
names go to the published layout and back; and it colours a picture, or reports a metric of its own.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dataprep.corpus.snapshot import open_snapshot
from model.checkpoint import load_checkpoint
from model.diffusion.separation import Separation
from model.families.registry import all_families, family, family_of, stage_kind
from model.stage import trained_names
from pipelines.recipes.stages import stage_names, stage_recipe
from pipelines.training.step import build_stage
from pipelines.weights.frozen import open_colorist
from tests.pipelines.families.stage_steps import parent_of, small_recipe, take_steps
from tests.pipelines.training.untrained import write_corpus

TOLERANCE = 1e-5


def distinct() -> list[str]:
    """Every stage, but those that differ from another in their samples or in how large a share is dropped alone."""
    found: dict[str, str] = {}
    for name in stage_names():
        method = asdict(stage_recipe(name).method)
        shape = {key: value > 0 if isinstance(value, float) else value for key, value in method.items()}
        found.setdefault(f"{family_of(name)} {id(stage_kind(name))} {shape}", name)
    return list(found.values())


def in_order() -> list[str]:
    """Every stage, parents first."""
    names, done = distinct(), list[str]()
    while len(done) < len(names):
        ready = [name for name in names if name not in done and parent_of(name) in (None, *done)]
        assert ready, "a stage's parent is of no family"
        done += ready
    return done


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each stage: `first` after a step on one worker, `final` after another on two, with its export."""
    folder = tmp_path_factory.mktemp("stages")
    corpus = write_corpus(folder / "made", drawings=8, size=64)
    snapshot = open_snapshot(corpus).number
    for workers in (1, 2):
        take_steps(folder, corpus, snapshot, in_order(), workers)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "trained.safetensors")


every_stage = pytest.mark.parametrize("name", distinct())


@every_stage
def test_a_step_on_one_worker_and_one_on_two_change_every_network_and_nothing_else(name: str, stepped: Path) -> None:
    first, final = weights(stepped / name / "first"), weights(stepped / name / "final")
    assert first.keys() == final.keys()
    stage, _ = build_stage(small_recipe(name), _parent(name, stepped), torch.device("cpu"))
    fresh = stage.model.state_dict()
    assert set(first) == set(trained_names(stage.networks))
    for network in stage.networks:
        own = [key for key in first if key.startswith(f"{network}." if network else "")]
        assert [key for key in own if not torch.equal(first[key], fresh[key])], "the first step, on one worker"
        assert [key for key in own if not torch.equal(first[key], final[key])], "the second, on two"


@every_stage
def test_stopping_and_another_number_of_workers_change_nothing(name: str, stepped: Path) -> None:
    """The second step, on two workers after a stop, is what it is on one that does not stop.

    But for what batch normalisation remembers, which is each worker's own.
    """
    model, _ = load_checkpoint(stepped / name / "final" / "model")
    parameters = {key for key, _ in model.named_parameters()}
    for file in ("trained", "average"):
        unstopped, final = (load_file(stepped / name / at / f"{file}.safetensors") for at in ("unstopped", "final"))
        assert unstopped.keys() == final.keys()
        compared = parameters & unstopped.keys()
        assert compared
        for key in compared:
            torch.testing.assert_close(final[key], unstopped[key], rtol=0, atol=TOLERANCE, msg=f"{file} {key}")
    ours, theirs = (
        json.loads((stepped / name / at / "history.jsonl").read_text().splitlines()[-1])
        for at in ("final", "unstopped")
    )
    assert {key: ours[key] for key in theirs} == pytest.approx(theirs, rel=0, abs=TOLERANCE)


@every_stage
def test_the_history_holds_losses_and_what_the_stage_measures(name: str, stepped: Path) -> None:
    lines = (stepped / name / "final" / "history.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["images_seen"] for record in records] == [4, 8]
    for record in records:
        assert record["loss"] > 0
        assert [key for key in record if key.startswith("validation_")], "a stage must report a metric of its own"
        assert all(value == value for value in record.values()), "not a number"


@every_stage
def test_the_export_holds_trained_weights_and_the_parents_bytes_of_what_is_frozen(name: str, stepped: Path) -> None:
    final = stepped / name / "final"
    model, metadata = load_checkpoint(final / "model")
    averaged, _ = load_checkpoint(final / "model", ema=True)
    assert (metadata.family, metadata.stage) == (family_of(name), name)
    trained, average = weights(final), load_file(final / "average.safetensors")
    state, parent = model.state_dict(), _parent(name, stepped)
    given = load_checkpoint(parent)[0].state_dict() if parent else {}
    for key, tensor in state.items():
        if key in trained:
            assert torch.equal(tensor, trained[key])
        elif key in given:
            assert torch.equal(tensor, given[key]), "frozen weights are exported in the parent's bytes"
    assert all(torch.equal(averaged.state_dict()[key], tensor) for key, tensor in average.items())


@every_stage
def test_only_trained_weights_are_in_the_state_that_a_run_goes_on_from(name: str, stepped: Path) -> None:
    names = set(weights(stepped / name / "final"))
    whole = set(load_checkpoint(stepped / name / "final" / "model")[0].state_dict())
    optimizer = load_file(stepped / name / "final" / "optimizer.safetensors")
    assert names <= whole
    moments = {key.rpartition("/")[0] for key in optimizer if "/" in key}
    assert moments <= names


@every_stage
def test_names_go_to_the_published_layout_one_to_one(name: str) -> None:
    found, kind = family(family_of(name)), stage_kind(name)
    recipe = stage_recipe(name)
    config = recipe.method.network(found.sizes["tiny"])
    assert isinstance(recipe.method, kind.settings)
    keys = found.keys
    if keys is None or not _is_published(config):
        return
    names = found.build(config).state_dict()
    published = [keys.name(ours, config) for ours in names]
    assert len(set(published)) == len(names)


@every_stage
def test_its_network_colours_a_picture(name: str, stepped: Path) -> None:
    if family(family_of(name)).colorist is None:
        return
    colorist = open_colorist(stepped / name / "final" / "model")
    sketch = torch.full((1, 3, 40, 48), -1.0)
    sketch[..., 20, :] = 1.0
    reference = torch.rand(1, 3, 30, 20, generator=torch.Generator().manual_seed(0)) * 2 - 1
    masks = Separation([torch.ones(1, 40, 48)], [torch.ones(1, 30, 20)]) if colorist.separates else None
    first, again = (colorist(sketch, reference, [7], steps=2, separation=masks) for _ in range(2))
    assert first.shape == sketch.shape
    assert bool(first.isfinite().all())
    assert torch.equal(first, again)
    (alone,) = colorist.every([sketch[0]], [reference[0]], [7], separation=masks)
    assert alone.picture.shape == sketch[0].shape


@pytest.mark.parametrize("found", all_families(), ids=lambda found: found.name)
def test_a_configuration_goes_through_json(found: Any) -> None:
    for config in found.sizes.values():
        assert found.config(json.loads(json.dumps(asdict(config)))) == config


def _parent(name: str, stepped: Path) -> Path | None:
    parent = parent_of(name)
    return stepped / parent / "first" / "model" if parent else None


def _is_published(config: Any) -> bool:
    """The released layout of the Stable-Diffusion-shaped families has local tokens only, and the released adapters."""
    released = {
        "reference_tokens": ("local",),
        "lora": ("released-v15", "released-v2"),
        "recovery": ("released",),
        "background": (True,),
        "style": (True,),
    }
    return all(getattr(config, name, values[0]) in values for name, values in released.items())
