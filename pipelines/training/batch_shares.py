"""How the global batch of a step is dealt out to workers; light, so that a call that cannot work fails at once."""

from dataclasses import dataclass
from typing import Literal, cast, get_args

from pipelines.common.overrides import SettingsError, nearest
from pipelines.recipes.stage_settings import LengthSettings

Loader = Literal["threads", "ray"]  # beside the trainer, or tasks on CPU nodes; the samples are equal


def checked_loader(name: str) -> Loader:
    """The loader of that name. Raises SettingsError that names the valid ones."""
    if name not in get_args(Loader):
        raise SettingsError(f"there is no loader {name!r}: {nearest(name, get_args(Loader))}")
    return cast(Loader, name)


@dataclass(frozen=True)
class BatchShares:
    """How a global batch is dealt out: `micro_batch` x `accumulation` samples to each of `workers`."""

    workers: int
    micro_batch: int
    accumulation: int

    @classmethod
    def of(cls, length: LengthSettings, workers: int) -> "BatchShares":
        """Raises SettingsError where the batch cannot be dealt out in equal whole parts."""
        if length.batch_size % workers:
            raise SettingsError(f"batch_size={length.batch_size} cannot be dealt out equally to {workers} workers")
        share = length.batch_size // workers
        micro = min(length.micro_batch, share)
        if share % micro:
            raise SettingsError(f"a worker's {share} samples a step are not a multiple of micro_batch={micro}")
        return cls(workers, micro, share // micro)

    def ordinals(self, images_seen: int, rank: int) -> list[list[int]]:
        """The sample ordinals of `rank` in the step that starts at `images_seen`, one list for each micro-batch."""
        start = images_seen + rank * self.micro_batch * self.accumulation
        return [
            list(range(start + part * self.micro_batch, start + (part + 1) * self.micro_batch))
            for part in range(self.accumulation)
        ]
