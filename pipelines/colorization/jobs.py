"""Which pictures `irodori colorize` makes, and where they go: every sketch with every reference, or pair by pair.

No network is imported here, so that a missing file is reported at once.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataprep.errors import DataError
from dataprep.pictures.names import NAMES, SUFFIXES
from dataprep.storage.store import exists, is_s3, join, list_folder
from pipelines.colorization.file_names import natural_order, picture_name
from pipelines.colorization.provenance import recorded_provenance
from pipelines.colorization.roles import REFERENCE, role_entries
from pipelines.colorization.run_settings import RunSettings
from pipelines.common.addresses import absolute
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError

LAYERS = ("color", "lines", "mask")
MASKS = ("sketch-mask", "reference-mask", "background")  # what parted figure from ground
RESULTS = "made by irodori"  # what is passed over for this reason


@dataclass(frozen=True, kw_only=True)
class ColorizeJob:
    """One picture to make, and where it goes.

    references: the address of each reference by its role, such as REFERENCE; none: colours as the model likes them.
    """

    sketch: str
    references: Mapping[str, str] = field(default_factory=dict, hash=False)
    out: str
    seed: int

    @property
    def inputs(self) -> tuple[str, ...]:
        """The addresses of the sketch and of every reference."""
        return (self.sketch, *self.references.values())

    def document(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {"sketch": self.sketch, **role_entries(self.references), "out": self.out, "seed": self.seed}

    def layer(self, name: str) -> str:
        """Where one of LAYERS or MASKS goes: beside the picture."""
        return f"{_stem(self.out)}-{name}.png"

    def targets(self, layers: bool, masks: Sequence[str] = ()) -> tuple[str, ...]:
        """Every file that is written: the picture, with `layers` these, and those of MASKS that are asked for."""
        return (self.out, *(self.layer(name) for name in parts(layers, masks)[1:]))


def parts(layers: bool, masks: Sequence[str]) -> tuple[str, ...]:
    """What is written of a picture: "", itself, then LAYERS as asked for, and these of MASKS."""
    return ("", *(LAYERS if layers else ()), *masks)


def matched(pictures: Sequence[str], beside: Sequence[str], option: str) -> dict[str, str]:
    """Picture -> what belongs to it: the one there is, or the one that is named alike. Raises PipelineError."""
    if len(pictures) == len(beside) == 1:
        return {pictures[0]: beside[0]}
    named = {Path(address).stem: address for address in beside}
    if len(named) < len(beside):
        stems = [Path(address).stem for address in beside]
        raise PipelineError(f"{option}: two are named {next(stem for stem in stems if stems.count(stem) > 1)}")
    if beside and (alone := [picture for picture in pictures if Path(picture).stem not in named]):
        raise PipelineError(
            f"{option}: none is named like {alone[0]}; each is named like its picture, letter by letter, but for its "
            "ending"
        )
    return {picture: named[Path(picture).stem] for picture in pictures if beside}


def find_pictures(
    addresses: Sequence[str],
    report: Callable[[str], None] = lambda text: None,
    without_results: Callable[[str], bool] = lambda folder: False,
) -> list[str]:
    """The picture files among `addresses` and directly in the directories among them, in natural order within each.

    report: gets one line for each directory of which files are passed over. without_results: whether, of this
    directory, pictures that irodori made are passed over. Raises PipelineError for an address that holds no picture.
    """
    found: list[str] = []
    for address in addresses:
        files, others = _files(address, without_results)
        passed = f"{others.total()} passed over ({', '.join(sorted(others))})" if others else ""
        if not files and not is_s3(address) and not os.path.lexists(address):
            raise PipelineError(f"{address}: there is no such file or folder")
        if not files:
            but = f"; files: {passed}" if passed else ""
            raise PipelineError(f"{address}: there is no picture ({NAMES}){but}")
        if passed:
            report(f"{address}: {len(files)} pictures, {passed}; pictures are files of {NAMES}")
        found += files
    return found


def _files(address: str, without_results: Callable[[str], bool]) -> tuple[list[str], Counter[str]]:
    """The pictures at an address, and the other files of a directory by ending; hidden files are none."""
    if address.lower().endswith(SUFFIXES) if is_s3(address) else Path(address).is_file():
        return [address], Counter()
    files = [entry.uri for entry in list_folder(address)[1] if not Path(entry.uri).name.startswith(".")]
    pictures = [file for file in files if file.lower().endswith(SUFFIXES)]
    others = Counter(Path(file).suffix.lower() or "no ending" for file in set(files).difference(pictures))
    if without_results(address):
        drawn = [file for file in pictures if not is_result(file)]
        others += Counter({RESULTS: len(pictures) - len(drawn)})
        pictures = drawn
    return sorted(pictures, key=natural_order), others


def is_result(address: str) -> bool:
    """Whether this is a PNG that records how irodori made it, a picture or a layer; what cannot be read is none."""
    try:
        return is_png(address) and recorded_provenance(address) is not None
    except DataError:
        return False


def same_place(one: str, other: str) -> bool:
    """Whether two addresses are of one file or directory."""
    return _place(one) == _place(other)


def plan_jobs(
    sketches: Sequence[str],
    references: Sequence[str],
    out: str,
    seeds: Sequence[int],
    *,
    pair: bool = False,
    drawn: bool = False,
    beside: Sequence[Mapping[str, Mapping[str, str]]] = ({}, {}),
) -> list[ColorizeJob]:
    """Every sketch with every reference (`pair`: the nth with the nth) and every seed; no references: with none.

    One picture may go to a .png file; more need a directory. drawn: the seeds come from chance, and names in a
    directory hold them even where there is one, so that calls add to each other. beside: what belongs to each
    sketch, and to each reference, by role. Raises SettingsError for an `out` that
    cannot take them and for pairs that do not come out even, PipelineError where a sketch or reference would be
    overwritten.
    """
    if pair and len(sketches) != len(references):
        raise SettingsError(f"--pair needs as many references as sketches: {len(sketches)} and {len(references)}")
    # What is made: each sketch with its references, with each seed.
    wanted: list[str | None] = list(references) or [None]
    pairs = list(zip(sketches, wanted, strict=True)) if pair else [(s, r) for s in sketches for r in wanted]
    tasks = [(sketch, reference, seed) for sketch, reference in pairs for seed in seeds]
    # Where it goes: one picture to its file, several into a directory under names of their own.
    if len(tasks) == 1 and is_png(out):
        targets = [out]
    elif out.lower().endswith(SUFFIXES):
        hint = "a .png file" if len(tasks) == 1 else f"a directory for {len(tasks)} pictures"
        raise SettingsError(f"--out {out}: give {hint}")
    else:
        seeded = drawn or len(seeds) > 1
        names = _unique([_name(sketch, reference, seed if seeded else None) for sketch, reference, seed in tasks])
        targets = [join(out, f"{name}.png") for name in names]
    of_sketches, of_references = beside
    jobs = [
        ColorizeJob(
            sketch=sketch,
            references={
                **({REFERENCE: reference, **of_references.get(reference, {})} if reference else {}),
                **of_sketches.get(sketch, {}),
            },
            out=target,
            seed=seed,
        )
        for (sketch, reference, seed), target in zip(tasks, targets, strict=True)
    ]
    return check_apart(jobs)


def check_apart(jobs: list[ColorizeJob]) -> list[ColorizeJob]:
    """The jobs, none of which goes where a sketch or a reference of any lies, not even a layer; else PipelineError."""
    inputs = {_place(address) for job in jobs for address in job.inputs}
    for job in jobs:
        for target in job.targets(layers=True, masks=MASKS):
            if _place(target) in inputs:
                raise PipelineError(f"{target}: a result would overwrite this sketch or reference: give another --out")
    return jobs


def check_targets(jobs: Sequence[ColorizeJob], run: RunSettings, drawn: bool = False) -> None:
    """Pictures are replaced only where they record that irodori made them, unless `run.overwrite`; else PipelineError.

    drawn: the seeds come from chance; then nothing is replaced, since the same call does not make it again.
    """
    for target in (target for job in jobs for target in job.targets(run.layers, MASKS if run.masks else ())):
        if not run.overwrite and exists(target) and (drawn or recorded_provenance(target) is None):
            why = "each random seed gives another picture" if drawn else "does not say that irodori made it"
            raise PipelineError(f"{target} is there and {why}: give another --out, or --overwrite")


def _place(address: str) -> str:
    """The same for all names of one file."""
    return absolute(address) if is_s3(address) else os.path.realpath(address)


def is_png(out: str) -> bool:
    """Whether `out` names one picture and not a directory."""
    return out.lower().endswith(".png")


def folder_of(out: str) -> str:
    """The directory `out`, or that of the file `out`."""
    return (out.rpartition("/")[0] or ".") if is_png(out) else out


def replay_out(file: str) -> str:
    """Where a replay of `file` goes by default: beside it."""
    return f"{_stem(file)}-replay.png"


def _stem(address: str) -> str:
    return address[: -len(".png")] if is_png(address) else address


def _name(sketch: str, reference: str | None, seed: int | None) -> str:
    stems = [Path(sketch).stem, *([Path(reference).stem] if reference else [])]
    return picture_name(stems, "" if seed is None else str(seed))


def _unique(names: Sequence[str]) -> list[str]:
    """The same names, numbered where they repeat, so that neither a picture nor a layer overwrites another."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 1
        while taken & (files := {candidate, *(f"{candidate}-{layer}" for layer in (*LAYERS, *MASKS))}):
            number += 1
            candidate = f"{name}-{number}"
        taken |= files
        result.append(candidate)
    return result
