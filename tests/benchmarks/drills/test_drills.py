"""The table of faults survived is made of what tests recorded, and of nothing else."""

from pathlib import Path

import pytest

from benchmarks.drills.__main__ import BEGIN, END, read_report, table, write_between_marks
from tests.faults import Fault, Survived

pytest_plugins = ["pytester"]


def test_counts_of_one_kind_are_added_up() -> None:
    faults = [
        Fault("worker killed", "training", 1, 0, 0),
        Fault("worker killed", "training", 2, 1, 0),
        Fault("disk full", "corpus build", 1, 0, 3),
    ]
    assert table(faults)[2:] == ["| corpus build | disk full | 1 | 0 | 3 |", "| training | worker killed | 3 | 1 | 0 |"]


def test_a_report_of_pytest_gives_faults_and_failures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from tests.faults import Survived

        @pytest.fixture
        def survived(record_property):
            return Survived(record_property)

        def test_survives(survived):
            survived("node gone", work="corpus build", lost=0, doubled=2)

        def test_fails():
            assert 1 == 2
        """
    )
    pytester.runpytest("--junitxml=report.xml", "-o", "junit_family=xunit1", "-p", "no:cacheprovider")
    drills = read_report(pytester.path / "report.xml")
    assert drills.faults == (Fault("node gone", "corpus build", 1, 0, 2),)
    assert [name.split("::")[1] for name in drills.failed] == ["test_fails"]


def test_the_table_replaces_what_stands_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_between_marks(page, ["| new |"])
    write_between_marks(page, ["| newer |"])
    assert page.read_text() == f"before\n{BEGIN}\n\n| newer |\n\n{END}\nafter\n"
    page.write_text("none")
    with pytest.raises(SystemExit, match="has no table"):
        write_between_marks(page, [])


def test_a_count_is_recorded_as_a_property() -> None:
    recorded: list[tuple[str, object]] = []
    Survived(lambda name, value: recorded.append((name, value)))("disk full", work="training", lost=1, doubled=0)
    assert [name for name, _ in recorded] == ["survived"]
