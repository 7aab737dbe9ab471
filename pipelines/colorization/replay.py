"""Makes a coloured picture again from what it says of itself, and compares the pixels.

Where an input, the checkpoint or its weights are not what they were, nothing is made: the result would be another
picture. Files that have moved may be named; what they hold must be the same. Heavy imports happen once the files are
found to be right.
"""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from dataprep.storage.store import read_bytes
from pipelines.colorization.jobs import ColorizeJob, RunSettings, check_apart, check_targets
from pipelines.colorization.provenance import Provenance, Source, Weights, extract, sha256_of
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import differences
from pipelines.common.progress import ProgressSink, silent
from pipelines.common.versions import code_version
from pipelines.weights.checkpoints import checkpoint_uri, fetch_checkpoint

if TYPE_CHECKING:
    from pipelines.colorization.colorize import Made


@dataclass(frozen=True)
class Replayed:
    """The new picture, and how it differs from the one it repeats: the largest difference of a channel in levels of
    255, the share of pixels that differ; what is not as it was then.
    """

    made: "Made"
    largest: int
    share: float
    notes: tuple[str, ...]

    @property
    def equal(self) -> bool:
        return self.largest == 0


@dataclass(frozen=True)
class Moved:
    """Where inputs lie now; None: where they lay."""

    sketch: str | None = None
    reference: str | None = None
    checkpoint: str | None = None


def plan_replay(file: str, out: str, moved: Moved, run: RunSettings) -> tuple[ColorizeJob, Provenance]:
    """What to make, with inputs where they lie now.

    Raises PipelineError where anything is not what it was, or the picture cannot go to `out`.
    """
    if absolute(out) == absolute(file):
        raise PipelineError(f"--out {out}: this is the picture to compare with; give another file")
    told = extract(read_bytes(file), file)
    if told.layer:
        raise PipelineError(f"{file} is a layer of a picture: replay the picture itself, with --layers")
    if told.reference is None and moved.reference is not None:
        raise PipelineError(f"{file} was made without a reference")
    sketch = _same("sketch", file, told.sketch, moved.sketch)
    reference = None if told.reference is None else _same("reference", file, told.reference, moved.reference)
    checkpoint = checkpoint_uri(absolute(moved.checkpoint or told.checkpoint.address))
    job = ColorizeJob(sketch, reference, out, told.seed)
    check_targets(check_apart([job]), run)
    _check_weights(file, told, checkpoint)
    return job, replace(told, checkpoint=replace(told.checkpoint, address=checkpoint))


def _check_weights(file: str, told: Provenance, checkpoint: str) -> None:
    """PipelineError unless checkpoint and frozen networks are what they were, as far as the picture says."""
    from model.checkpoint import read_metadata
    from pipelines.colorization.colorize import weights_of

    then, directory = told.checkpoint, fetch_checkpoint(checkpoint)
    now = weights_of(checkpoint, directory, read_metadata(directory), told.settings.ema, told.settings.extract)
    beside = {"address", "codec_sha256", "image_encoder_sha256", "extractor_sha256"}  # named below, or no matter
    said, found = ({k: v for k, v in asdict(weights).items() if k not in beside} for weights in (then, now))
    if then.prediction_type is None:  # not recorded then
        said["prediction_type"] = now.prediction_type
    if changed := differences(said, found):
        raise PipelineError(f"{checkpoint}: another checkpoint than {file} was made with: {'; '.join(changed)}")
    extractor = told.settings.extract, then.extractor_sha256, now.extractor_sha256
    for network, before, after in (*_frozen(then, now), extractor):
        if before is not None and before != after:
            raise PipelineError(
                f"{network}: the frozen network has changed since {file} was made: the sha256 of its weights was "
                f"{before[:12]}… and is {(after or 'none')[:12]}…"
            )


def replay(
    file: str, job: ColorizeJob, told: Provenance, run: RunSettings, progress: ProgressSink = silent
) -> Replayed:
    """Make the picture of a `plan_replay` again. Raises what `colorize` raises, DataError for a damaged `file`."""
    import numpy as np

    from dataprep.pictures.decode import decode
    from pipelines.colorization.colorize import Failed, colorize

    before = decode(read_bytes(file)).rgb
    (outcome,) = colorize([job], told.checkpoint.address, told.settings, replace(run, again=True), progress)
    if isinstance(outcome, Failed):
        raise PipelineError(outcome.reason)
    again = extract(read_bytes(job.out), job.out)
    notes = [
        f"{name} was {then}, is {now}"
        for name, then, now in (("device", told.device, again.device), ("code", told.code_version, code_version()))
        if then != now
    ] + unrecorded(told.checkpoint, again.checkpoint)
    after = decode(read_bytes(job.out)).rgb
    if after.shape != before.shape:
        raise PipelineError(f"{file} has other sides than the {outcome.width}x{outcome.height} that it was made with")
    difference = np.abs(after.astype(np.int16) - before).max(axis=2)
    return Replayed(outcome, int(difference.max()), float((difference > 0).mean()), tuple(notes))


def unrecorded(then: Weights, now: Weights) -> list[str]:
    """What a picture of format 1 does not tell, where it matters."""
    return [
        f"weights of {network} were not recorded then"
        for network, before, after in _frozen(then, now)
        if before is None and after
    ]


def _frozen(then: Weights, now: Weights) -> tuple[tuple[str, str | None, str | None], ...]:
    """Each frozen network beside the checkpoint, and the sha256 of its weights then and now."""
    return (
        (then.codec, then.codec_sha256, now.codec_sha256),
        (then.image_encoder, then.image_encoder_sha256, now.image_encoder_sha256),
    )


def _same(kind: str, file: str, told: Source, moved: str | None) -> str:
    """Where the input lies, which must hold what it held."""
    address = moved or told.address
    if (found := sha256_of(read_bytes(address))) != told.sha256:
        raise PipelineError(
            f"{address}: the {kind} has changed since {file} was made: its sha256 was {told.sha256[:12]}… and is "
            f"{found[:12]}…"
        )
    return address
