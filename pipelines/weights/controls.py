"""Which settings of sampling a checkpoint's network has; others are refused, with the families that have them."""

from model.checkpoint import CheckpointMetadata
from model.colorist import controls_set
from model.diffusion.sampling_settings import SEPARATION_CONTROLS, SamplingSettings
from model.families.registry import all_families, family
from pipelines.common.errors import PipelineError


def check_own_controls(address: str, metadata: CheckpointMetadata, settings: SamplingSettings) -> None:
    """PipelineError for controls, or a mode, that only other families have. Nothing is loaded."""
    found = family(metadata.family)
    unknown = SEPARATION_CONTROLS - found.controls
    refuse(address, metadata, sorted(controls_set(settings, SamplingSettings()) & unknown))
    if settings.mode is not None and settings.mode not in found.modes:
        able = [other.name for other in all_families() if settings.mode in other.modes]
        raise PipelineError(
            f"{address}: a {metadata.family} network has no mode={settings.mode} ({', '.join(able)} "
            f"{'has' if len(able) == 1 else 'have'} it); its modes are {', '.join(found.modes)}"
        )


def refuse(address: str, metadata: CheckpointMetadata, names: list[str], parting: bool = False) -> None:
    """PipelineError where a call has these, which the network does not take.

    parting: they are of families that keep figure and ground apart, but no settings of sampling.
    """
    if not names:
        return
    able = [found.name for found in all_families() if parting or set(names) <= found.controls]
    able = [name for name in able if family(name).controls]
    others = f"; these do: {', '.join(able)}" if able else ""
    raise PipelineError(f"{address}: a {metadata.family} network takes no {', '.join(names)}{others}")
