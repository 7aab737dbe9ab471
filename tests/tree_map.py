"""Writes docs/map.md, what every module and folder is for: `python -m tests.tree_map`

The phrase of a module is the first sentence of its docstring, up to a semicolon, so there is one place to change it.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.import_graph import PACKAGES, ROOT

MAP = ROOT / "docs" / "map.md"
LONGEST = 165  # characters of a phrase
_PHRASE_END = re.compile(r"[.?]\s+(?=[A-Z`])|;\s")
HEADER = """# Where everything is

One phrase for each folder and module: the first sentence of its docstring, up to a semicolon. Who may import whom
stands in `FLOORS` of `tests/test_project.py`. After adding, moving or renaming a module, or changing what it is for,
write this file again with `python -m tests.tree_map`; a test compares it.
"""


def phrase(path: Path) -> str:
    """The first sentence of a module's docstring, up to a semicolon. ValueError where there is none."""
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    if not docstring:
        raise ValueError(f"{path} has no docstring")
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    return _PHRASE_END.split(paragraph)[0].rstrip(".")


def folders(package: str) -> list[Path]:
    """The package's folder and those below it that hold modules."""
    top = ROOT / package
    return sorted({path.parent for path in top.rglob("*.py")})


def modules_in(folder: Path) -> list[Path]:
    """The modules of a folder, without its `__init__`."""
    return sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")


def render() -> str:
    """The text of the map."""
    return HEADER + "".join(line for package in PACKAGES for line in _lines(package))


def _lines(package: str) -> Iterator[str]:
    for folder in folders(package):
        name = folder.relative_to(ROOT).as_posix()
        level = "##" if name == package else "###"
        yield f"\n{level} {name}/\n\n{phrase(folder / '__init__.py')}.\n\n"
        for module in modules_in(folder):
            yield f"- `{module.name}`: {phrase(module)}\n"


if __name__ == "__main__":
    MAP.write_text(render())
