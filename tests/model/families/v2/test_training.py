"""What each stage of v2 trains, and what it shows its network of figure, ground and style."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from model.backbone.feature_encoder import size_ratios
from model.batch import Batch
from model.checkpoint import CheckpointMetadata
from model.families.family import Phase
from model.families.v1.family import FAMILY as V1_FAMILY
from model.families.v2.family import FAMILY
from model.families.v2.modes import usual_mode
from model.families.v2.network import V2
from model.families.v2.settings import ROLES, BackboneSettings
from model.families.v2.training import V2Stage
from model.stage import WHOLE
from pipelines.recipes.stages import stage_recipe
from pipelines.training.draws import draw
from pipelines.training.step import build_stage

CPU, COUNT, SIDE = torch.device("cpu"), 8, 32
PHASES = [("v2.backbone", {"phase": name}) for name in ("noisy", "refine", "split")]
STAGES = [*PHASES, *((name, {}) for name in FAMILY.stages if not name.endswith("backbone"))]


def stage_of(name: str, side: int = SIDE, **changes: Any) -> V2Stage:
    """A tiny stage over a network with random weights; what starts at zero is random too."""
    stage = build_stage(stage_recipe(name).changed(width=side, height=side, **changes), None, CPU)[0]
    assert isinstance(stage, V2Stage)
    torch.manual_seed(4)
    for parameter in stage.model.parameters():
        if not bool(parameter.any()):
            torch.nn.init.normal_(parameter, std=0.05)
    return stage


def batch_of(
    stage: V2Stage, side: int = SIDE, count: int = COUNT, pictures: Mapping[str, torch.Tensor] | None = None
) -> Batch:
    generator = torch.Generator().manual_seed(5)
    color = torch.rand(count, 3, side, side, generator=generator) * 2 - 1
    mask = torch.rand(count, 1, side, side, generator=generator)
    named = {
        "sketch": color.sign(),
        "color": color,
        "reference": color,
        "mask": mask,
        "reference_mask": mask,
        "reference@window": color,
        "reference_mask@window": mask,
        "reference_extent": torch.tensor([40.0, 64.0]).reshape(1, 2, 1, 1).expand(count, -1, -1, -1),
    }
    wanted = {key: tensor for key, tensor in (named | dict(pictures or {})).items() if key in stage.needs.pictures}
    return Batch(wanted, draw(1, range(count), stage.draws(side, side)), [()] * count)


@pytest.mark.parametrize(("name", "changes"), STAGES)
def test_exactly_the_stages_parts_change(name: str, changes: dict[str, Any]) -> None:
    side = 128  # so that every level has several positions to attend to
    stage = stage_of(name, side, reference_drop=0.0, active_share=1.0, **changes)
    model, trained = stage.model, stage.settings.role.trained
    parts: dict[str, set[int]] = {"split": {id(p) for part in model.updates() for p in part.parameters()}}
    if model.config.background:
        parts["background"] = {id(p) for part in model.of_background() for p in part.parameters()}
    if model.config.style:
        parts["style"] = {id(p) for part in model.of_style() for p in part.parameters()}
    parts["backbone"] = {id(p) for p in model.parameters()} - set[int]().union(*parts.values())
    wanted = set[int]().union(*(parts[part] for part in trained))
    assert {id(p) for p in model.parameters() if p.requires_grad} == wanted
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.0)
    stage.objective(WHOLE, {WHOLE: model}, stage.prepare(batch_of(stage, side, 2))).backward()
    optimizer.step()
    for key, p in model.named_parameters():
        assert torch.equal(p, before[key]) == (id(p) not in wanted), key
    assert not any(p.grad is not None for p in model.parameters() if id(p) not in wanted), "no gradient is kept"


def test_the_roles_are_those_of_the_paper() -> None:
    assert {name: (set(role.acting), set(role.trained)) for name, role in ROLES.items()} == {
        "noisy": (set(), {"backbone"}),
        "refine": (set(), {"backbone"}),
        "split": ({"split"}, {"split"}),
        "background": ({"split", "background"}, {"split", "background"}),
        "style": ({"split", "background", "style"}, {"style"}),
        "joint": ({"split", "background", "style"}, {"backbone", "split", "background", "style"}),
        "joint-style": ({"style"}, {"backbone", "style"}),
    }


def test_only_the_unet_is_not_shown_a_dropped_reference() -> None:
    """Stages 2 and 3 drop the UNet's embeddings; the encoders' context is the whole reference's in every sample."""
    stage = stage_of("v2.background")
    batch = batch_of(stage)
    prepared = stage.prepare(batch)
    kept = batch.draws["chances"][:, 0] >= 0.5
    assert torch.equal(prepared.told.shown, kept)
    assert 0 < int(kept.sum()) < COUNT
    torch.testing.assert_close(prepared.v1.context, stage.image_encoder.encode(batch.pictures["reference"], "local"))
    seen: list[torch.Tensor] = []
    hook = stage.model.background_encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    stage.losses(stage.model, prepared)
    hook.remove()
    assert len(seen) == 1, "once a picture"
    torch.testing.assert_close(seen[0], prepared.v1.context)
    assert stage.prepare(batch, training=False).told.shown.all()


@pytest.mark.parametrize("name", ["v2.background", "v2.style"])
def test_each_encoder_is_called_once_for_a_sample(name: str) -> None:
    stage = stage_of(name)
    calls: list[str] = []
    for part in ("background_encoder", "style_encoder"):
        if hasattr(stage.model, part):
            getattr(stage.model, part).register_forward_pre_hook(lambda module, inputs, part=part: calls.append(part))
    stage.losses(stage.model, stage.prepare(batch_of(stage)))
    assert sorted(calls) == ["background_encoder", *(["style_encoder"] if name == "v2.style" else [])]


def test_the_background_is_the_reference_with_its_figure_in_white_for_tokens_and_latents() -> None:
    stage = stage_of("v2.background", bleached_share=0.0, merged_share=0.0, blank_sketch=False)
    batch = batch_of(stage)
    told = stage.prepare(batch).told
    thresholds = (0.05 + 0.9 * batch.draws["thresholds"]).float()
    white = torch.where(batch.pictures["mask"] < thresholds[:, 1, None, None, None], batch.pictures["color"], 1)
    torch.testing.assert_close(told.background_latents, stage.codec.encode(white))
    torch.testing.assert_close(told.ratios, size_ratios([(40, 64)] * COUNT, (SIDE, SIDE)))
    torch.testing.assert_close(told.threshold, thresholds[:, 0])


def test_background_bleaching_by_the_released_rule() -> None:
    """A hand-made picture: the left half is figure."""
    mask = torch.zeros(COUNT, 1, SIDE, SIDE)
    mask[..., : SIDE // 2] = 1
    dark, lines = torch.full((COUNT, 3, SIDE, SIDE), -0.5), torch.ones(COUNT, 3, SIDE, SIDE)
    pictures = {"mask": mask, "reference_mask": mask, "reference_mask@window": mask, "color": dark, "sketch": lines}
    stage = stage_of("v2.background", bleached_share=0.5, merged_share=0.0, reference_drop=0.0)
    batch = batch_of(stage, pictures=pictures | {"reference": dark, "reference@window": dark})
    prepared = stage.prepare(batch)
    # The sketch is paper outside the figure in every sample.
    assert prepared.v1.sketch[..., : SIDE // 2].eq(1).all()
    assert prepared.v1.sketch[..., SIDE // 2 :].eq(-1).all()
    bleached = batch.draws["separate"][:, 0] < 0.5
    assert 0 < int(bleached.sum()) < COUNT
    level = 0.95 + 0.05 * batch.draws["separate"][:, 3].float()
    assert prepared.told.background_latents is not None
    for index in range(COUNT):
        ground = (
            torch.full_like(dark[index], float(level[index]))
            if bleached[index]
            else torch.cat([torch.ones(3, SIDE, SIDE // 2), dark[index, ..., SIDE // 2 :]], dim=-1)
        )
        torch.testing.assert_close(prepared.told.background_latents[index], stage.codec.encode(ground[None])[0])
    # The picture is white there too in bleached samples, and stays what it is elsewhere.
    for index, color in enumerate(_colors(stage, batch)):
        assert color[..., : SIDE // 2].eq(-0.5).all()
        assert color[..., SIDE // 2 :].eq(1.0 if bleached[index] else -0.5).all()
    as_they_are = stage.prepare(batch, training=False)
    assert as_they_are.v1.sketch.eq(1).all(), "validation is of pictures as they are"


def _colors(stage: V2Stage, batch: Batch) -> torch.Tensor:
    """The pictures that the codec is shown as what is to be coloured."""
    shown: list[torch.Tensor] = []
    encode = stage.codec.encode

    def watched(images: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        if noise is not None:
            shown.append(images)
        return encode(images, noise)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage.codec, "encode", watched)
        stage.prepare(batch)
    (colors,) = shown
    return colors


def test_merged_masks_leave_ground_of_which_the_reference_shows_nothing() -> None:
    mask = torch.zeros(COUNT, 1, SIDE, SIDE)
    mask[..., 12:20] = 1
    stage = stage_of("v2.background", bleached_share=0.0, merged_share=1.0)
    dark = torch.full((COUNT, 3, SIDE, SIDE), -0.5)
    pictures = {"mask": mask, "reference_mask": mask, "reference_mask@window": mask, "reference": dark}
    batch = batch_of(stage, pictures=pictures | {"reference@window": dark})
    told = stage.prepare(batch).told
    assert told.background_latents is not None
    for index in range(COUNT):
        shift = int(float(batch.draws["separate"][index, 2]) * SIDE)
        union = torch.maximum(mask[index], mask[index].roll(shift, -1))
        expected = torch.where(union > 0.5, 1.0, dark[index])
        torch.testing.assert_close(told.background_latents[index], stage.codec.encode(expected[None])[0])


def test_parts_that_the_style_does_not_train_act_in_half_of_the_samples_together() -> None:
    stage = stage_of("v2.style", reference_drop=0.0)
    batch = batch_of(stage)
    told = stage.prepare(batch).told
    active = batch.draws["separate"][:, 4] < 0.5
    assert told.lora is not None
    assert told.mask is not None
    assert torch.equal(told.lora.bool(), active)
    assert told.mask[~active].eq(1).all()
    assert 0 < int(active.sum()) < COUNT
    assert stage.prepare(batch, training=False).told.lora is None
    # A sample in which they do not act is what the style alone makes of it.
    prepared = stage.prepare(batch)
    with torch.no_grad():
        both = stage.losses(stage.model, prepared)
        alone = prepared._replace(told=prepared.told._replace(background=None, background_latents=None, mask=None))
        style = stage.losses(stage.model, alone)
    torch.testing.assert_close(both[~active], style[~active], rtol=1e-4, atol=1e-5)
    assert (both[active] - style[active]).abs().min() > 1e-4


def test_encoders_begin_with_the_unets_own_weights() -> None:
    torch.manual_seed(7)
    below, above = V1_FAMILY.build(V1_FAMILY.sizes["tiny"]), FAMILY.build(FAMILY.sizes["tiny"])
    given = below.state_dict()
    adopted = FAMILY.adopt(above.state_dict(), given)
    for start in ("background_encoder.", "style_encoder."):
        shared = [name for name in adopted if name.startswith(start) and f"unet.{name.removeprefix(start)}" in given]
        assert len(shared) > 100
        assert all(torch.equal(adopted[name], given[f"unet.{name.removeprefix(start)}"]) for name in shared)
        others = {name.removeprefix(start).split(".")[0] for name in adopted if name.startswith(start)} - {
            name.removeprefix(start).split(".")[0] for name in shared
        }
        assert others == {"outputs", "size_embedding"}
    # One that is there already stays.
    again = FAMILY.adopt(above.state_dict(), above.state_dict())
    assert all(torch.equal(again[name], tensor) for name, tensor in above.state_dict().items())
    assert isinstance(above, V2)


# ---- the phases of the first stage ----------------------------------------------------------------------------------


def phases(refined: bool = False, /, **changes: Any) -> list[Phase]:
    settings = stage_recipe("v2.backbone").changed(**changes).method
    assert isinstance(settings, BackboneSettings)
    return settings.phases(refined)


def test_a_whole_backbone_is_noisy_then_refined_then_split_by_the_paper() -> None:
    whole = phases()
    assert [(phase.name, phase.share) for phase in whole] == [("noisy", 5 / 8), ("refine", 2 / 8), ("split", 1 / 8)]
    assert [phase.changes["reference_drop"] for phase in whole] == [0.8, 0.5, 0.5]
    assert [phase.changes["sketch_drop"] for phase in whole] == [0, 0.1, 0]
    assert [phase.changes["noisy_reference"] for phase in whole] == [True, False, False]
    assert [phase.name for phase in phases(True)] == ["split"]
    by_thesis = phases(preset="thesis")
    assert [(phase.name, phase.changes["reference_drop"]) for phase in by_thesis] == [("noisy", 0.1), ("refine", 0.5)]
    assert phases(True, preset="thesis") == []
    assert [phase.changes["reference_drop"] for phase in phases(phase_drops=(0.3, 0.2, 0.1))] == [0.3, 0.2, 0.1]


def test_a_phase_that_is_trained_alone_is_what_it_is_in_the_whole() -> None:
    for whole in phases():
        (alone,) = phases(phase=whole.name)
        assert alone == Phase(whole.name, 1.0, whole.changes)
    assert phases(flip_above=0.9)[0].changes.get("flip_above") is None, "of the noisy phase"
    assert phases(flip_above=0.9)[1].changes["flip_above"] == 0


@pytest.mark.parametrize("name", ["reference_drop", "sketch_drop", "noisy_reference"])
def test_what_a_phase_decides_cannot_be_set_for_all(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is each phase's own"):
        phases(False, **{name: False if name == "noisy_reference" else 0.3})


def test_a_phase_before_the_last_leaves_no_finished_backbone() -> None:
    names = "noisy", "refine", "split"
    found = {name: stage_of("v2.backbone", phase=name).recorded().get("stage") for name in names}
    assert found == {"noisy": "v2.backbone-noisy", "refine": "v2.backbone-refine", "split": None}
    assert stage_of("v2.backbone", phase="refine", preset="thesis").recorded().get("stage") is None
    takes = {stage: FAMILY.stages[stage].fresh_from for stage in ("v2.backbone", "v2.background")}
    assert "v2.backbone-noisy" in takes["v2.backbone"]
    assert not any(name in takes["v2.background"] for name in ("v2.backbone-noisy",))
    kind = FAMILY.stages["v2.backbone"]
    settings = stage_recipe("v2.backbone").method
    for parent in ("v2.backbone", "v2.backbone-refine", "v1.palette"):
        left = kind.phases(settings, parent)
        assert left is not None
        assert [phase.name for phase in left] == ["split"]


@pytest.mark.parametrize(
    ("changes", "parent", "said"),
    [
        ({}, {"lora": "paper-000"}, "give --set lora=paper-000"),
        ({"lora": "paper-000"}, {}, "give --set lora=thesis"),
        ({}, {"split_encoders": True}, "give --set split_encoders=true"),
        ({"split_encoders": True}, {}, "give --set split_encoders=false"),
        ({}, {"lora": "off"}, None),
        ({"split_encoders": True}, {"background": False, "style": False}, None),
    ],
)
def test_a_parent_of_other_shapes_is_refused_with_what_to_set(
    changes: dict[str, Any], parent: dict[str, Any], said: str | None
) -> None:
    recipe = stage_recipe("v2.background").changed(**changes)
    network = replace(FAMILY.sizes["tiny"], **{"style": False} | parent)
    metadata = CheckpointMetadata(family="v2", stage="v2.background", size="tiny", prediction_type="v", network=network)
    found = FAMILY.stages["v2.background"].check_parent(recipe.method, metadata, True)
    assert found is None if said is None else said in (found or "")


def test_without_low_rank_updates_attention_is_split_all_the_same() -> None:
    config = stage_recipe("v2.background").changed(lora="off").method.network(FAMILY.sizes["tiny"])
    assert usual_mode(config) == "background"
    assert FAMILY.operations(config, 64).trained > 0
    stage = stage_of("v2.background", lora="off")
    assert torch.isfinite(stage.losses(stage.model, stage.prepare(batch_of(stage)))).all()


@pytest.mark.parametrize(
    ("stage", "changes", "said"),
    [
        ("v2.backbone", {"phase_shares": (1.0, 2.0)}, "phase_shares are three numbers"),
        ("v2.backbone", {"preset": "001"}, "preset=001: did you mean 000"),
        ("v2.backbone", {"phase": "style"}, "phase is whole, noisy, refine or split, not style"),
        ("v2.style", {"phase": "noisy"}, "phase is background, style, joint or joint-style, not noisy"),
        ("v2.background", {"lora": "off", "split_encoders": True}, "which lora=off has not"),
        ("v2.joint-style", {"split_encoders": True}, "which phase=joint-style has not"),
        ("v2.backbone", {"phase": "split", "lora": "off"}, "phase=split trains low-rank updates"),
        ("v2.backbone", {"phase_drops": (0.1, 2.0, 0.1)}, "phase_drops are three numbers"),
        ("v2.background", {"reference_tokens": "cls"}, "reference_tokens=local"),
    ],
)
def test_settings_that_cannot_be_are_refused(stage: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        stage_recipe(stage).changed(**changes)


def test_the_published_recipes_are_the_papers() -> None:
    for name in ("v2.backbone", "v2.background", "v2.style"):
        recipe = stage_recipe(name, "base")
        assert (recipe.samples.sizes, recipe.samples.size_range) == ("random", (768, 1280))
        assert (recipe.length.batch_size, recipe.optimizer.learning_rate) == (256, 1e-5)
        assert recipe.method.reference_drop == 0.5
    assert FAMILY.sizes["base"].lora == "released-v2"


@pytest.mark.parametrize("size", ["tiny", "base"])
def test_operations_are_counted_at_every_size_and_are_more_than_v1s(size: str) -> None:
    ours, v1 = FAMILY.operations(FAMILY.sizes[size], 64), V1_FAMILY.operations(V1_FAMILY.sizes[size], 64)
    assert ours.trained > v1.trained
    assert ours.frozen > v1.frozen
