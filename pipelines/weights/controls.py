"""Which settings of sampling a checkpoint's network has; others are refused, with the families that have them."""

from collections.abc import Collection

from model.checkpoint import CheckpointMetadata
from model.colorist import controls_set
from model.diffusion.sampling_settings import SEPARATION_CONTROLS, SamplingSettings
from model.families.registry import all_families, family
from pipelines.common.errors import PipelineError


def check_own_controls(
    address: str, metadata: CheckpointMetadata, settings: SamplingSettings, also: frozenset[str] = frozenset()
) -> None:
    """PipelineError for controls, or a mode, that only other families have, that the network was not trained for, or
    that its mode does not read. Nothing is loaded. also: what a call reads besides."""
    found, given = family(metadata.family), controls_set(settings, SamplingSettings()) & SEPARATION_CONTROLS
    refuse(address, metadata, sorted(given - found.controls))
    if settings.mode is not None and settings.mode not in found.modes:
        able = [other.name for other in all_families() if settings.mode in other.modes]
        raise PipelineError(
            f"{address}: a {metadata.family} network has no mode={settings.mode} ({', '.join(able)} "
            f"{'has' if len(able) == 1 else 'have'} it); its modes are {', '.join(found.modes)}"
        )
    mode = settings.mode or found.usual_mode(metadata.network)
    if missing := found.lacking(metadata.network, mode):
        raise PipelineError(f"{address}: mode={mode} {missing}")
    check_read(mode, sorted(given - found.reads(mode, metadata.network) - also - {"mode"}))


def check_read(mode: str, names: Collection[str]) -> None:
    """PipelineError for what a call has and its mode does not read."""
    if names:
        raise PipelineError(f"mode={mode} has no use for {', '.join(names)}: leave them out, or the mode")


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
