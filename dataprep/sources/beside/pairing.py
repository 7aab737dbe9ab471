"""Which members of an archive are one sample: by their key, and by their place where a key comes more than once.

A key that comes once is one sample, in whatever order its files lie. A key that comes again (archives joined end to
end, shards that number from zero each) is cut into its runs of neighbours, as WebDataset reads them, and a run in which
everything repeats into its periods. What is still open after that is given to nobody: the pictures of the key are
refused.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dataprep.sources.archives import Member
from dataprep.sources.items import stem_of

PICTURE = "picture"
_LONGEST_PERIOD = 16  # files of one sample in a run of several


@dataclass(frozen=True)
class SampleFile:
    """One member that takes part in a sample. `role` is PICTURE, "sketch", "mask", or the suffix of a side file, whose
    `text` was read, or is the reason why it was not."""

    key: str
    role: str
    member: Member
    text: "str | SideFileError | None" = None

    @property
    def slot(self) -> str:
        """What a sample has once: two pictures of other suffixes may share their side files."""
        if self.role != PICTURE:
            return self.role
        return PICTURE + self.member.name.removeprefix(stem_of(self.member.name)).lower()


@dataclass(frozen=True)
class SideFileError:
    """Why a side file says nothing."""

    why: str

    def __repr__(self) -> str:
        return self.why


def samples_of(files: Sequence[SampleFile]) -> list[list[SampleFile] | str]:
    """For each file the files of its sample, or why they are not known."""
    runs = list(_runs(files))
    places: dict[str, list[int]] = {}
    for place, file in enumerate(files):
        places.setdefault(file.key, []).append(place)
    found: list[list[SampleFile] | str] = [[] for _ in files]
    for key, own in places.items():
        samples = _samples(own, files, runs)
        for sample in samples or [own]:
            shared = [files[place] for place in sample] if samples else _why_open(key, (files[place] for place in own))
            for place in sample:
                found[place] = shared
    return found


def _runs(files: Iterable[SampleFile]) -> Iterator[int]:
    """For each file the number of its run: neighbours of one key and of one of the archives that were joined."""
    number, last = 0, None
    for file in files:
        here = file.key, file.member.part
        number += last is not None and here != last
        last = here
        yield number


def _samples(own: list[int], files: Sequence[SampleFile], runs: Sequence[int]) -> list[list[int]] | None:
    """The files of one key by samples; None where that is open."""
    pictures = [place for place in own if files[place].role == PICTURE]
    if len(pictures) == len(own):
        return [[place] for place in pictures]
    by_run: dict[int, list[int]] = {}
    for place in own:
        by_run.setdefault(runs[place], []).append(place)
    if _is_one(own, files) and (len(pictures) <= 1 or len(by_run) == 1):
        return [own]
    samples = [sample for run in by_run.values() for sample in _periods(run, files)]
    has_picture = (any(files[place].role == PICTURE for place in sample) for sample in samples)
    return samples if all(has_picture) and all(_is_one(sample, files) for sample in samples) else None


def _periods(run: list[int], files: Sequence[SampleFile]) -> list[list[int]]:
    """A run cut where its roles begin anew, if they do so to its end: color sketch json, color sketch json."""
    if _is_one(run, files):
        return [run]
    roles = [files[place].role for place in run]
    for period in range(1, min(len(run) // 2, _LONGEST_PERIOD) + 1):
        if len(run) % period == 0 and roles == roles[:period] * (len(run) // period):
            samples = [run[start : start + period] for start in range(0, len(run), period)]
            if all(_is_one(sample, files) for sample in samples):
                return samples
    return [run]


def _is_one(sample: Iterable[int], files: Sequence[SampleFile]) -> bool:
    slots = [files[place].slot for place in sample]
    return len(slots) == len(set(slots))


def _why_open(key: str, own: Iterable[SampleFile]) -> str:
    again = sorted(slot for slot, count in Counter(file.member.name for file in own).items() if count > 1)
    what = f"{', '.join(again[:3])} more than once" if again else "several pictures, or files of one kind"
    return f"the archive has {what} under the key {key}; which files belong together cannot be known"
