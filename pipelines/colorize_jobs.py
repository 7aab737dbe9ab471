"""Which pictures `irodori colorize` makes, and where they go: every sketch with every reference, or pair by pair.

Nothing heavy is imported here, so that a missing file is told at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dataprep.storage import is_s3, join, list_files
from pipelines.errors import PipelineError

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".svg")
LAYERS = ("color", "lines", "mask")


@dataclass(frozen=True)
class ColorizeJob:
    """One picture to make, and where it goes; no reference: colours as the model likes them."""

    sketch: str
    reference: str | None
    out: str
    seed: int

    def layer(self, name: str) -> str:
        """Where one of LAYERS goes: beside the picture."""
        return f"{_stem(self.out)}-{name}.png"


@dataclass(frozen=True)
class RunSettings:
    """What does not decide the pictures. device: "auto" (a GPU where there is one) or as torch names it. layers: also
    write colour, lines and mask. told: each result says how it was made.
    """

    device: str = "auto"
    batch_size: int = 4
    compile: bool = False
    layers: bool = False
    told: bool = True


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


def plan_jobs(
    sketches: Sequence[str], references: Sequence[str], out: str, seeds: Sequence[int], pair: bool = False
) -> list[ColorizeJob]:
    """Every sketch with every reference (`pair`: the nth with the nth) and every seed; no references: with none.

    One picture may go to a .png file; more need a directory. Raises PipelineError for an `out` that cannot take them,
    and for pairs that do not come out even.
    """
    if pair and len(sketches) != len(references):
        raise PipelineError(f"--pair needs as many references as sketches: {len(sketches)} and {len(references)}")
    wanted: list[str | None] = list(references) or [None]
    pairs = list(zip(sketches, wanted, strict=True)) if pair else [(s, r) for s in sketches for r in wanted]
    tasks = [(sketch, reference, seed) for sketch, reference in pairs for seed in seeds]
    if len(tasks) == 1 and is_png(out):
        return [ColorizeJob(sketch, reference, out, seed) for sketch, reference, seed in tasks]
    if out.lower().endswith(PICTURE_ENDINGS):
        hint = "a .png file" if len(tasks) == 1 else f"a directory for {len(tasks)} pictures"
        raise PipelineError(f"--out {out}: give {hint}")
    names = _unique([_name(sketch, reference, seed if len(seeds) > 1 else None) for sketch, reference, seed in tasks])
    return [
        ColorizeJob(sketch, reference, join(out, f"{name}.png"), seed)
        for (sketch, reference, seed), name in zip(tasks, names, strict=True)
    ]


def is_png(out: str) -> bool:
    """Whether `out` names one picture and not a directory."""
    return out.lower().endswith(".png")


def folder_of(out: str) -> str:
    """The directory `out`, or that of the file `out`."""
    return (out.rpartition("/")[0] or ".") if is_png(out) else out


def replay_out(file: str) -> str:
    """Where a replay of `file` goes unless told: beside it."""
    return f"{_stem(file)}-replay.png"


def _stem(address: str) -> str:
    return address[: -len(".png")] if is_png(address) else address


def _name(sketch: str, reference: str | None, seed: int | None) -> str:
    parts = [Path(sketch).stem, *([Path(reference).stem] if reference else []), *([] if seed is None else [str(seed)])]
    return "--".join(parts)


def _unique(names: Sequence[str]) -> list[str]:
    """The same names, numbered where they repeat, so that neither a picture nor a layer overwrites another."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 1
        while taken & (files := {candidate, *(f"{candidate}-{layer}" for layer in LAYERS)}):
            number += 1
            candidate = f"{name}-{number}"
        taken |= files
        result.append(candidate)
    return result
