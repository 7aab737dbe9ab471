"""Names of the pictures that a call makes: of its inputs, in a length and in characters that every file system takes.

A name is cut and marked with a hash of what it was, so that two long names stay two and the next call finds its files.
"""

import os
import re
import unicodedata
from collections.abc import Sequence
from hashlib import sha256

MOST_NAME_BYTES = 200  # of a name in UTF-8, without endings such as "-replay-color.png"; most file systems take 255
LEAST_PART_BYTES = 24  # of each part, its mark included
_MARK = 8  # hex digits


def picture_name(stems: Sequence[str], seed: str = "") -> str:
    """The stems of the inputs and the seed, joined by "--"; the longest are cut: MOST_NAME_BYTES in all."""
    parts = [_readable(stem) for stem in stems]
    while (excess := _size("--".join([*parts, seed])) - MOST_NAME_BYTES) > 0:
        longest = max(range(len(parts)), key=lambda number: _size(parts[number]))
        most = max(LEAST_PART_BYTES, _size(parts[longest]) - excess)
        if len(parts) > 1:  # two that are as long lose as much
            most = max(most, MOST_NAME_BYTES // len(parts) - len("--") - len(seed))
        parts[longest] = _cut(parts[longest], most, stems[longest])
    return "--".join([*parts, *([seed] if seed else [])])


def natural_order(address: str) -> tuple[list[str | int], str]:
    """A key that sorts names as people number them: 2 before 10, whatever stands before the number."""
    name = unicodedata.normalize("NFC", address.rpartition("/")[2].lower())
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], address


def _readable(stem: str) -> str:
    """The stem; with a mark where characters had to go: control characters, and bytes that are no UTF-8."""
    kept = "".join("_" if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in stem)
    return kept if kept == stem else f"{kept}-{_mark(stem)}"


def _cut(part: str, most: int, stem: str) -> str:
    """The beginning of the part and the mark of the whole stem, within `most` bytes."""
    head = part.encode()[: most - _MARK - 1].decode(errors="ignore")
    return f"{head.rstrip()}-{_mark(stem)}"


def _mark(stem: str) -> str:
    return sha256(os.fsencode(stem)).hexdigest()[:_MARK]


def _size(text: str) -> int:
    return len(text.encode())
