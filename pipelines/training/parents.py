"""What a stage starts from: the checkpoints that it takes, and how their weights enter its network.

A stage continues the one before it, whose network it shares. A stage that starts fresh may be initialised from Stable
Diffusion or released weights (paper 002, section 3.1: Waifu Diffusion 1.4); for the ablations whose reference tokens
need other parameters, what both networks have is taken and the rest stays fresh.
"""

from dataclasses import replace
from pathlib import Path

from model.backbone.config import V1_SIZES, V1Config
from model.checkpoint import CheckpointMetadata, load_checkpoint, read_metadata
from model.families.v1.network import V1
from pipelines.common.errors import PipelineError
from pipelines.recipes.stage_recipe import INITIALISATIONS, StageRecipe, check_parent_given
from pipelines.weights.checkpoints import checkpoint_uri, fetch_checkpoint


def network_of(recipe: StageRecipe) -> V1Config:
    """The network that a stage trains."""
    return replace(V1_SIZES[recipe.model_size], reference_tokens=recipe.reference_tokens)


def checked_parent(recipe: StageRecipe, parent: str | None) -> str | None:
    """The address of the checkpoint directory. Raises SettingsError without a needed one, PipelineError for one of the
    wrong kind, which names the right kinds."""
    check_parent_given(recipe, parent)
    if parent is None:
        return None
    found = read_metadata(fetch_checkpoint(parent))
    _check_kind(recipe, parent, found)
    _check_settings(recipe, parent, found)
    return checkpoint_uri(parent)


def parent_weights(parent: str | None) -> str | None:
    """The sha256 of a parent checkpoint's weights."""
    return read_metadata(fetch_checkpoint(parent)).weights_sha256 if parent else None


def start_network(recipe: StageRecipe, parent: Path | None) -> V1:
    """The stage's network with fresh weights, or with those of its checked parent."""
    if parent is None:
        return V1(network_of(recipe))
    given, metadata = load_checkpoint(parent)
    if metadata.network == network_of(recipe):
        return given
    model, weights = V1(network_of(recipe)), given.state_dict()
    known = model.state_dict()
    model.load_state_dict({name: weights[name] if name in weights else known[name] for name in known})
    return model


def _check_kind(recipe: StageRecipe, parent: str, found: CheckpointMetadata) -> None:
    stages = (recipe.parent_stage,) if recipe.parent_stage else INITIALISATIONS
    if (found.family, found.size) == (recipe.family, recipe.model_size) and found.stage in stages:
        return
    wanted = " or ".join(f"{recipe.family} {stage} {recipe.model_size}" for stage in stages)
    continues = "continues" if recipe.parent_stage else "starts fresh, or from a checkpoint of"
    raise PipelineError(
        f"{parent} is a {found.family} {found.stage} {found.size} checkpoint; "
        f"{recipe.stage} at this size {continues} {wanted}"
    )


def _check_settings(recipe: StageRecipe, parent: str, found: CheckpointMetadata) -> None:
    """What the weights mean, and the network that they are of."""
    network, wanted = found.network, network_of(recipe)
    assert network is not None  # of every checkpoint that can be read
    if found.prediction_type != recipe.prediction_type:
        raise PipelineError(
            f"{parent} predicts {found.prediction_type}, the recipe {recipe.prediction_type}; "
            f"give --set prediction_type={found.prediction_type}"
        )
    if recipe.parent_stage and network.reference_tokens != recipe.reference_tokens:
        raise PipelineError(
            f"{parent} reads {network.reference_tokens} reference tokens, the recipe {recipe.reference_tokens}; "
            f"give --set reference_tokens={network.reference_tokens}"
        )
    if replace(network, reference_tokens=wanted.reference_tokens) != wanted:
        raise PipelineError(f"{parent} holds a network of other sizes than those of {recipe.model_size}")
