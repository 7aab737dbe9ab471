"""What lies in a source and is not taken, counted by kind, so that no file is passed over in silence.

Counts stand among those of the selection's rules, under keys of their own, and are told apart at the end (`Left`). What
operating systems and tools leave behind (thumbnails, resource forks, folder settings) is litter: one number for all.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

LITTER_FOLDERS = {
    *("__macosx", ".appledouble", ".trashes", ".fseventsd", ".spotlight-v100"),  # macOS
    *("$recycle.bin", "system volume information"),  # Windows
    *("@eadir", "#recycle", ".thumbnails", ".ipynb_checkpoints", "__pycache__", ".git", ".cache"),
}
LITTER_FILES = {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", ".localized", ".nomedia"}
FORK = "._"  # what names begin with under which macOS keeps what other systems have no place for
PAX = "paxheader"  # and folders in which old programs keep what a tar says of its members
NESTED = "archive inside an archive"
KINDS_SHOWN = 24  # of one listing; the rarer ones together are "others"

_LITTER, _KIND = "litter", "kind: "
_SUFFIX = re.compile(r"\.[a-z0-9]{1,12}")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".cbz", ".cbr")


@dataclass(frozen=True)
class Left:
    """What a listing left out. not_selected: by the rule of the selection, or by what its source lacks; not_taken:
    files by kind; litter: files of systems and tools."""

    not_selected: Mapping[str, int] = field(default_factory=dict)
    not_taken: Mapping[str, int] = field(default_factory=dict)
    litter: int = 0

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> "Left":
        """Told apart, rules by name and kinds by number."""
        rules = {rule: count for rule, count in sorted(counts.items()) if count and not _is_ours(rule)}
        kinds = Counter({key.removeprefix(_KIND): count for key, count in counts.items() if key.startswith(_KIND)})
        shown = sorted(kinds, key=lambda kind: (-kinds[kind], kind))
        taken_apart = {kind: kinds[kind] for kind in shown[:KINDS_SHOWN]}
        if rest := sum(kinds[kind] for kind in shown[KINDS_SHOWN:]):
            taken_apart["others"] = rest
        return cls(rules, taken_apart, counts.get(_LITTER, 0))


def is_litter(path: str) -> bool:
    """Whether a file, by its path below the source, is what a system or a tool left there."""
    *folders, name = path.lower().split("/")
    if name in LITTER_FILES or name.startswith(FORK):
        return True
    return any(folder in LITTER_FOLDERS or folder.startswith(PAX) for folder in folders)


def without_litter(paths: Iterable[str], counts: Counter[str]) -> list[str]:
    """The paths below a source that are no litter, which is counted."""
    kept = []
    for path in paths:
        if is_litter(path):
            count_litter(counts)
        else:
            kept.append(path)
    return kept


def count_litter(counts: Counter[str]) -> None:
    counts[_LITTER] += 1


def count_file(counts: Counter[str], name: str, inside: bool = False) -> None:
    """Count a file that is not taken by its suffix; `inside`: it is a member of an archive."""
    base = name.rpartition("/")[2].lower()
    suffix = base[base.rindex(".") :] if "." in base[1:] else ""
    if inside and suffix in _ARCHIVES:
        count_kind(counts, NESTED)
    else:
        count_kind(counts, suffix if _SUFFIX.fullmatch(suffix) else "other suffix" if suffix else "no suffix")


def count_kind(counts: Counter[str], kind: str, number: int = 1) -> None:
    """Count what is not taken as a kind in words."""
    if number:
        counts[f"{_KIND}{kind}"] += number


def _is_ours(key: str) -> bool:
    return key == _LITTER or key.startswith(_KIND)
