"""How an evaluation samples where a call says nothing else. Nothing heavy is imported here, for the help shows it."""

from collections.abc import Mapping
from typing import Any

from model.diffusion.sampling_settings import SamplingSettings
from pipelines.colorization.picture_settings import sampling_settings
from pipelines.evaluation.lookup import find_protocol

DEFAULT_SAMPLING = SamplingSettings(guidance_scale=2.0)


def evaluation_sampling(checkpoint: str, protocol: str, words: Mapping[str, Any]) -> SamplingSettings:
    """As a call says, else as a published protocol states, else as the checkpoint's own.

    Raises SettingsError for words that are no settings.
    """
    from pipelines.weights.checkpoints import absolute_checkpoint, metadata_at

    stated = find_protocol(protocol).settings
    own = metadata_at(absolute_checkpoint(checkpoint)).own_sampling(DEFAULT_SAMPLING)
    return sampling_settings({**(stated.sampling if stated else {}), **words}, own)
