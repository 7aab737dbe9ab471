"""Which pictures `irodori colorize` makes, and where they go: every sketch with every reference.

Nothing heavy is imported here, so that a missing file is told at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dataprep.storage import is_s3, join, list_files
from pipelines.errors import PipelineError

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".svg")


@dataclass(frozen=True)
class ColorizeJob:
    """One picture to make, and where it goes."""

    sketch: str
    reference: str
    out: str
    seed: int


def find_pictures(addresses: Sequence[str]) -> list[str]:
    """The picture files among `addresses` and directly in the directories among them, sorted within each.

    Raises PipelineError for an address that holds none.
    """
    found: list[str] = []
    for address in addresses:
        files = _files(address)
        if not files:
            raise PipelineError(f"{address}: there is no picture ({', '.join(PICTURE_ENDINGS)})")
        found += files
    return found


def _files(address: str) -> list[str]:
    if not is_s3(address) and Path(address).is_file():
        return [address]
    if is_s3(address) and address.lower().endswith(PICTURE_ENDINGS):
        return [address]
    depth = len(PurePosixPath(address).parts) + 1
    return [
        entry.uri
        for entry in list_files(address)
        if entry.uri.lower().endswith(PICTURE_ENDINGS) and len(PurePosixPath(entry.uri).parts) == depth
    ]


def plan_jobs(sketches: Sequence[str], references: Sequence[str], out: str, seed: int) -> list[ColorizeJob]:
    """Every sketch with every reference. One picture may go to a .png file; more need a directory.

    Raises PipelineError for an `out` that cannot take them.
    """
    single = len(sketches) == len(references) == 1
    if single and is_png(out):
        return [ColorizeJob(sketches[0], references[0], out, seed)]
    if out.lower().endswith(PICTURE_ENDINGS):
        hint = "a .png file" if single else f"a directory for {len(sketches) * len(references)} pictures"
        raise PipelineError(f"--out {out}: give {hint}")
    pairs = [(sketch, reference) for sketch in sketches for reference in references]
    names = _unique([f"{Path(sketch).stem}--{Path(reference).stem}" for sketch, reference in pairs])
    return [
        ColorizeJob(sketch, reference, join(out, f"{name}.png"), seed)
        for (sketch, reference), name in zip(pairs, names, strict=True)
    ]


def is_png(out: str) -> bool:
    """Whether `out` names one picture and not a directory."""
    return out.lower().endswith(".png")


def folder_of(out: str) -> str:
    """The directory `out`, or that of the file `out`."""
    return (out.rpartition("/")[0] or ".") if is_png(out) else out


def _unique(names: Sequence[str]) -> list[str]:
    """The same names, numbered where they repeat, so that no picture overwrites another."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = f"{name}-{number}"
        taken.add(candidate)
        result.append(candidate)
    return result
