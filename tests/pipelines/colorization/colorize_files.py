"""Sketches and references on disk, for the tests of colouring."""

from pathlib import Path

from tests.corpus_pictures import write_pictures


def sketches_and_references(folder: Path) -> Path:
    """Two sketches, two references, a picture one folder deeper and a file that is none."""
    write_pictures(folder / "sketches", 2)
    write_pictures(folder / "references", 2, first=5)
    write_pictures(folder / "sketches" / "deeper", 1, first=9)
    (folder / "sketches" / "notes.txt").write_text("none")
    return folder


def names(addresses: list[str]) -> list[str]:
    return [Path(address).name for address in addresses]
