"""Writes down what the starter weights were trained on: every picture with its author, its hash and its public source.

Run: `python -m pipelines.weights.starter_sources CORPUS...`, of the corpora that docs/starter.md builds; the list goes
beside the weights. `--keep` leaves in it what it holds already, of earlier stages and of the frozen networks. Pictures
of no source named here, or under another licence, make it fail: nothing else may have been seen.
"""

import argparse
import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from dataprep.corpus.reader import CorpusReader
from pipelines.common.errors import PipelineError
from pipelines.weights.checkpoints import SHIPPED

DICEBEAR = "npm packages @dicebear/core 9.4.3 and @dicebear/collection 9.4.3, drawn by dataprep/assets_build/{script}"
_CREATOR = re.compile(r"<dc:creator>.*?<dc:title>([^<]*)</dc:title>", re.DOTALL)
_CC_BY = re.compile(r"CC BY( \d\.\d)?")


@dataclass(frozen=True)
class SourceOfPictures:
    """title, authors, licence and public source of some pictures; files: name -> sha256 of each, and its author where
    the source has one for each."""

    title: str
    authors: str
    licence: str
    where: str
    files: dict[str, list[str]] = field(default_factory=dict)


def _style(title: str, author: str, licence: str, script: str) -> SourceOfPictures:
    return SourceOfPictures(f"DiceBear {title}", author, licence, DICEBEAR.format(script=script))


# By the style of assembled drawings, or the folder of the pictures.
SOURCES = {
    "adventurer": _style("Adventurer", "Lisa Wischofsky", "CC BY 4.0", "dicebear.mjs"),
    "open-peeps": _style("Open Peeps", "Pablo Stanley", "CC0 1.0", "dicebear.mjs"),
    "micah": _style("Micah", "Micah Lanier", "CC BY 4.0", "dicebear_outlined.mjs"),
    "big-smile": _style("Big Smile", "Ashley Seo", "CC BY 4.0", "dicebear_outlined.mjs"),
    "big-ears": _style("Big Ears", "The Visual Team", "CC BY 4.0", "dicebear_outlined.mjs"),
    "toon-head": _style("Toon Head", "Johan Melin", "CC BY 4.0", "dicebear_outlined.mjs"),
    "miniavs": _style("Miniavs", "Webpixels", "CC BY 4.0", "dicebear_outlined.mjs"),
    "dylan": _style("Dylan", "Natalia Spivak", "CC BY 4.0", "dicebear_outlined.mjs"),
    "openclipart": SourceOfPictures(
        "Open Clip Art Library",
        "the artists named at each file",
        "public domain",
        "Debian package openclipart-svg 1:0.18+dfsg-19, files whose own metadata say public domain",
    ),
    "storybook": SourceOfPictures(
        "African Storybook image bank",
        "the illustrators named at each file",
        "CC BY",
        "global-asp/asp-imagebank on GitHub, commit a56e6db",
    ),
}


def sources_of(corpora: Sequence[str], listed: Sequence[Mapping[str, Any]] = ()) -> list[SourceOfPictures]:
    """All training pictures of the corpora, by source, with those that are listed already.

    Raises PipelineError for one whose source is not known.
    """
    titles = {source.title: name for name, source in SOURCES.items()}
    found: dict[str, dict[str, list[str]]] = {name: {} for name in SOURCES}
    for entry in listed:
        if entry["title"] not in titles:
            raise PipelineError(f"{entry['title']}: of no source whose licence is known here")
        found[titles[entry["title"]]] |= entry["files"]
    for corpus in corpora:
        reader = CorpusReader(corpus, "train", [])
        for number in range(len(reader)):
            row = reader.row(number)
            name, source, author = _described(row)
            found[source][name] = [row["id"], *author]
    return [replace(source, files=found[name]) for name, source in SOURCES.items() if found[name]]


def _described(row: dict[str, Any]) -> tuple[str, str, list[str]]:
    """A row's name within its source, that source, and its author where each picture has its own."""
    if row["assembly"]:
        style, _, template = row["group"].rpartition("-")
        if style in SOURCES:
            return template, style, []
    path = Path(row["source"])
    for source, author in (("openclipart", _creator), ("storybook", _illustrator)):
        if source in path.parts:
            return path.name, source, [author(path)]
    raise PipelineError(f"{row['source']}: of no source whose licence is known here")


def _creator(path: Path) -> str:
    """As the file's own metadata name it."""
    found = _CREATOR.search(path.read_text(errors="replace"))
    return found[1].strip() if found else ""


def _illustrator(path: Path) -> str:
    return _illustrators(path.parents[1] / "index.csv")[path.name]


@lru_cache(maxsize=4)
def _illustrators(index: Path) -> dict[str, str]:
    return dict(_read(index))


def _read(index: Path) -> Iterator[tuple[str, str]]:
    with index.open(newline="") as file:
        for line in csv.DictReader(file):
            if not _CC_BY.fullmatch(line["licence"]):
                raise PipelineError(f"{index}: {line['file']} is {line['licence']}")
            yield line["file"], line["illustrator"]


def main() -> None:
    """Write the list beside the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="+")
    parser.add_argument("--keep", action="store_true", help="what the list holds already stays in it")
    arguments = parser.parse_args()
    listed = json.loads((SHIPPED / "sources.json").read_text()) if arguments.keep else []
    found = sources_of(arguments.corpora, listed)
    lines = ",\n".join(json.dumps(asdict(source), ensure_ascii=False) for source in found)
    (SHIPPED / "sources.json").write_text(f"[\n{lines}\n]\n")
    for source in found:
        print(f"{len(source.files):>6,} {source.title}: {source.authors}, {source.licence}")


if __name__ == "__main__":
    main()
