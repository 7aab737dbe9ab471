"""Makes a coloured picture again from its provenance, and compares the pixels.

Where an input, the checkpoint or its weights are not what they were, nothing is made: the result would be another
picture. Files that have moved may be named; what they hold must be the same. A picture may come from elsewhere, and the
addresses in it are whoever's made it: none is opened unless it is named or following them is asked for, and what is
read is bounded. Heavy imports happen once the files are found to be right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dataprep.sources.items import MOST_BYTES
from dataprep.storage.store import read_bytes
from pipelines.colorization.jobs import ColorizeJob, check_apart, check_targets
from pipelines.colorization.provenance import Provenance, Source, Weights, extract, sha256_of
from pipelines.colorization.run_settings import RunSettings
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError, differences
from pipelines.common.progress import ProgressSink, silent
from pipelines.common.versions import code_version
from pipelines.weights.checkpoints import absolute_checkpoint, checkpoint_uri, fetch_checkpoint, metadata_at

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

    def document(self) -> dict[str, Any]:
        """As JSON takes it."""
        difference = {"equal": self.equal, "largest": self.largest, "share": self.share}
        return self.made.document() | difference | {"notes": self.notes}


@dataclass(frozen=True, kw_only=True)
class InputAddresses:
    """Where the inputs of a replay lie now, references by role; what is left out lies where the provenance names it,
    and is read there only with `follow`.
    """

    sketch: str | None = None
    references: Mapping[str, str] = field(default_factory=dict)
    checkpoint: str | None = None
    follow: bool = False


def addresses_to_follow(file: str, inputs: InputAddresses) -> dict[str, str]:
    """What a replay reads where the picture says that it lay, by role: all that `inputs` does not name.

    Raises PipelineError where the file is no picture of `colorize`.
    """
    recorded = extract(read_bytes(file, MOST_BYTES), file)
    named = {"sketch": inputs.sketch, "checkpoint": inputs.checkpoint, **inputs.references}
    followed = {"sketch": recorded.sketch.address, "checkpoint": recorded.checkpoint.address}
    followed |= {role: source.address for role, source in recorded.references.items()}
    return {role: address for role, address in followed.items() if named.get(role) is None}


def plan_replay(file: str, out: str, inputs: InputAddresses, run: RunSettings) -> tuple[ColorizeJob, Provenance]:
    """What to make, with inputs where they lie now.

    Raises PipelineError where anything is not what it was, or the picture cannot go to `out`, SettingsError where an
    address of the picture's own would be opened that `inputs` neither names nor follows; then nothing was opened.
    """
    # The picture itself: it must be one, and stay.
    if absolute(out) == absolute(file):
        raise PipelineError(f"--out {out}: this is the picture to compare with; give another file")
    recorded = extract(read_bytes(file, MOST_BYTES), file)
    if recorded.layer:
        raise PipelineError(f"{file} is a layer of a picture: replay the picture itself, with --layers")
    for role in inputs.references.keys() - recorded.references.keys():
        raise PipelineError(f"{file} was made without a {role}")
    if not inputs.follow and (unnamed := addresses_to_follow(file, inputs)):
        listed = ", ".join(f"{role} {address}" for role, address in unnamed.items())
        options = ", ".join(f"--{role.replace('_', '-')}" for role in unnamed)
        raise SettingsError(
            f"{file} names addresses that the call does not: {listed}. Name what is yours with {options}, or have them "
            "read with --follow"
        )
    # The inputs: each must hold what it held.
    sketch = _same("sketch", file, recorded.sketch, inputs.sketch)
    references = {
        role: _same(role, file, source, inputs.references.get(role)) for role, source in recorded.references.items()
    }
    # The output, and the checkpoint, which takes longest to check.
    checkpoint = checkpoint_uri(absolute_checkpoint(inputs.checkpoint or recorded.checkpoint.address))
    job = ColorizeJob(sketch=sketch, references=references, out=out, seed=recorded.seed)
    check_targets(check_apart([job]), run)
    _check_weights(file, recorded, checkpoint)
    return job, replace(recorded, checkpoint=replace(recorded.checkpoint, address=checkpoint))


def _check_weights(file: str, recorded: Provenance, checkpoint: str) -> None:
    """PipelineError unless checkpoint and frozen networks are what they were, as far as the picture records it."""
    from model.checkpoint import expected_sha256, read_metadata
    from pipelines.colorization.colorize import weights_of

    then, settings = recorded.checkpoint, recorded.settings
    found = expected_sha256(metadata_at(checkpoint), checkpoint, settings.ema)
    if found != then.sha256:  # before gigabytes are copied
        raise _another_checkpoint(file, checkpoint, [f"sha256: {then.sha256} -> {found}"])
    directory = fetch_checkpoint(checkpoint)
    now = weights_of(checkpoint, directory, read_metadata(directory), ema=settings.ema, extract=settings.extract)
    beside = {"address", "codec_sha256", "image_encoder_sha256", "extractor_sha256"}  # named below, or no matter
    before, after = ({k: v for k, v in asdict(weights).items() if k not in beside} for weights in (then, now))
    if then.prediction_type is None:  # not recorded then
        before["prediction_type"] = now.prediction_type
    if changed := differences(before, after):
        raise _another_checkpoint(file, checkpoint, changed)
    extractor = settings.extract, then.extractor_sha256, now.extractor_sha256
    for network, old, new in (*_frozen(then, now), extractor):
        if old is not None and old != new:
            raise PipelineError(
                f"{network}: the frozen network has changed since {file} was made: the sha256 of its weights was "
                f"{old[:12]}… and is {(new or 'none')[:12]}…"
            )


def _another_checkpoint(file: str, checkpoint: str, changed: Sequence[str]) -> PipelineError:
    return PipelineError(f"{checkpoint}: another checkpoint than {file} was made with: {'; '.join(changed)}")


def replay(
    file: str, job: ColorizeJob, recorded: Provenance, run: RunSettings, progress: ProgressSink = silent
) -> Replayed:
    """Make the picture of a `plan_replay` again. Raises what `colorize` raises, DataError for a damaged `file`."""
    import numpy as np

    from dataprep.pictures.guarded import decode
    from pipelines.colorization.colorize import Failed, colorize

    before = decode(read_bytes(file, MOST_BYTES)).rgb
    (outcome,) = colorize([job], recorded.checkpoint.address, recorded.settings, replace(run, again=True), progress)
    if isinstance(outcome, Failed):
        raise PipelineError(outcome.reason)
    again = extract(read_bytes(job.out), job.out)
    notes = [
        f"{name} was {then}, is {now}"
        for name, then, now in (
            ("device", recorded.device, again.device),
            ("code", recorded.code_version, code_version()),
        )
        if then != now
    ] + unrecorded(recorded.checkpoint, again.checkpoint)
    notes += [
        f"{role.replace('_', ' ')} is another than it was"
        for role in recorded.masks
        if recorded.masks[role] != again.masks.get(role)
    ]
    after = decode(read_bytes(job.out)).rgb
    if after.shape != before.shape:
        raise PipelineError(f"{file} has other sides than the {outcome.width}x{outcome.height} that it was made with")
    difference = np.abs(after.astype(np.int16) - before).max(axis=2)
    return Replayed(outcome, int(difference.max()), float((difference > 0).mean()), tuple(notes))


def unrecorded(then: Weights, now: Weights) -> list[str]:
    """What a picture of format 1 does not record, where it matters."""
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


def _same(kind: str, file: str, recorded: Source, now: str | None) -> str:
    """Where the input lies, which must hold what it held; `now`: if not where it lay."""
    address = now or recorded.address
    if (found := sha256_of(read_bytes(address, MOST_BYTES))) != recorded.sha256:
        raise PipelineError(
            f"{address}: the {kind} has changed since {file} was made: its sha256 was {recorded.sha256[:12]}… and is "
            f"{found[:12]}…"
        )
    return address
