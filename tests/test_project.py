"""What must hold of the project as a whole: who imports whom, what is committed, and that its cluster file is valid."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
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


def committed_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], capture_output=True, cwd=ROOT, check=True).stdout.decode()
    return [ROOT / name for name in listing.split("\0") if name]


def test_every_committed_file_is_below_five_megabytes() -> None:
    files = committed_files()
    assert files
    assert [path for path in files if path.exists() and path.stat().st_size > 5_000_000] == []


def test_the_shipped_pictures_are_below_six_megabytes() -> None:
    pictures = [path for path in (ROOT / "dataprep" / "assets").rglob("*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in pictures) <= 6_000_000


def test_pins_name_versions_and_no_addresses() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert all("==" in pin and "://" not in pin and "@" not in pin for pin in pins)
