"""What a stage starts from: the checkpoints that it takes, and how their weights enter its network.

A stage continues the one before it, whose network it shares, or a stage of another family, whose weights its own family
takes over. A stage that starts fresh may be initialised from what its kind names (v1: Stable Diffusion or released
weights); where its network has other parameters, what both have is taken and the rest stays fresh.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.checkpoint import WEIGHTS, CheckpointMetadata, load_checkpoint
from model.families.registry import family, family_of, stage_kind
from model.weights.reading import read_tensors
from pipelines.common.errors import PipelineError
from pipelines.recipes.stage_recipe import StageRecipe, check_parent_given
from pipelines.weights.checkpoints import checkpoint_uri, metadata_at


def network_of(recipe: StageRecipe) -> Any:
    """The configuration of the network that a stage trains."""
    return recipe.method.network(family(recipe.family).sizes[recipe.model_size])


def checked_parent(recipe: StageRecipe, parent: str | None) -> str | None:
    """The address of the checkpoint directory, of which only config.json is read.

    Raises SettingsError without a needed one, PipelineError for one of the wrong kind, which names the right kinds.
    """
    check_parent_given(recipe, parent)
    if parent is None:
        return None
    found = metadata_at(parent)
    _check_kind(recipe, parent, found)
    _check_fit(recipe, parent, found)
    return checkpoint_uri(parent)


def start_network(recipe: StageRecipe, parent: Path | None) -> nn.Module:
    """The stage's network with fresh weights, or with those of its checked parent."""
    wanted, config = family(recipe.family), network_of(recipe)
    if parent is None:
        return wanted.build(config)
    given, metadata = load_checkpoint(parent)
    if metadata.family == recipe.family and metadata.network == config:
        return given
    model = wanted.build(config)
    model.load_state_dict(wanted.adopt(model.state_dict(), given.state_dict()))
    return model


def frozen_weights(model: nn.Module, trained: set[str], parent: Path | None) -> Mapping[str, torch.Tensor]:
    """The weights of `model` that its stage does not train, as they were at the start, on the CPU.

    Those that the parent holds under the same name and shape are read from its file, so that their bytes are the
    parent's whatever precision the stage computes in.
    """
    kept = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items() if name not in trained}
    if not kept or parent is None:
        return kept
    stored = read_tensors(parent / WEIGHTS)
    return {
        name: stored[name] if name in stored and stored[name].shape == tensor.shape else tensor
        for name, tensor in kept.items()
    }


def _check_kind(recipe: StageRecipe, parent: str, found: CheckpointMetadata) -> None:
    kind = stage_kind(recipe.stage)
    stages = (recipe.parent_stage,) if recipe.parent_stage else kind.fresh_from
    names = [whole_name(stage, recipe.family) for stage in stages]
    if found.size == recipe.model_size and whole_name(found.stage, found.family) in names:
        return
    wanted = " or ".join(
        f"{family_of(name)} {stage} {recipe.model_size}" for name, stage in zip(names, stages, strict=True)
    )
    from_one = "begins with a checkpoint of" if kind.needs_parent else "starts fresh, or from a checkpoint of"
    continues = "continues" if recipe.parent_stage else from_one
    raise PipelineError(
        f"{parent} is a {found.family} {found.stage} {found.size} checkpoint; "
        f"{recipe.stage} at this size {continues} {wanted or 'nothing else'}"
    )


def whole_name(stage: str, of_family: str) -> str:
    """A stage with its family before it, also one that every family may have, such as "released"."""
    return stage if "." in stage else f"{of_family}.{stage}"


def _check_fit(recipe: StageRecipe, parent: str, found: CheckpointMetadata) -> None:
    """What the weights mean, and the network that they are of."""
    kind = stage_kind(recipe.stage)
    if problem := kind.check_parent(recipe.method, found, recipe.parent_stage is not None or kind.needs_parent):
        raise PipelineError(f"{parent} {problem}")
    if found.family == recipe.family and not kind.same_size(found.network, network_of(recipe)):
        raise PipelineError(f"{parent} holds a network of other sizes than those of {recipe.model_size}")
