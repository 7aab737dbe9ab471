"""Who imports whom inside the project, read from the source: an import counts wherever in a file it stands."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("dataprep", "model", "eval", "pipelines", "jobs", "benchmarks")
Graph = Mapping[str, frozenset[str]]  # module -> the modules it imports


def modules() -> dict[str, Path]:
    """Every module of the packages by its dotted name, and its file; a package stands for its `__init__`."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def import_graph() -> Graph:
    """The imports between the project's modules."""
    known = modules()
    return {name: frozenset(_imported(path, known)) - {name} for name, path in known.items()}


def circles(graph: Graph) -> list[frozenset[str]]:
    """The largest sets of modules in which each can be reached from each other one (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[frozenset[str]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        path.append(module)
        for imported in graph[module]:
            if imported not in number:
                visit(imported)
                lowest[module] = min(lowest[module], lowest[imported])
            elif imported in path:
                lowest[module] = min(lowest[module], number[imported])
        if lowest[module] == number[module]:
            place = path.index(module)
            if len(path) - place > 1:
                found.append(frozenset(path[place:]))
            del path[place:]

    for module in graph:
        if module not in number:
            visit(module)
    return found


def wing(module: str) -> str:
    """The sub-package or module right below its package that a module belongs to; "" for the package itself."""
    return ".".join(module.split(".")[1:2])


def _imported(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from names & known.keys()
            if node.module in known and not names <= known.keys():
                yield node.module
