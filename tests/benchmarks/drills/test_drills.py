"""The table of faults survived is made of what tests recorded, and of nothing else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.drills.__main__ import BEGIN, END, read_report, table, write_between_marks
from tests.faults import Fault, Survived

pytest_plugins = ["pytester"]

TESTS = Path(__file__).parents[2]
SISTER = "the same kill is counted by a test beside it; this one holds the message or the numbers"
COMPARED = "disturbs nothing: whole trainings that must agree, too long for `make test`"
NOT_COUNTED = {  # drills after which there is no work to compare with work that nothing disturbed
    "test_no_failure_shows_or_writes_a_secret": "disturbs nothing, it searches",
    "test_a_build_writes_no_secret_anywhere_its_engines_logs_included": "disturbs nothing, it searches",
    "test_a_command_on_an_engine_ends_in_order": "ends the work on purpose and looks for what it left running",
    "test_more_gpus_than_the_node_types_have_are_refused_with_their_names": "a refusal: no work begins",
    "test_training_brings_a_gpu_node_up_and_never_computes_on_its_cpus": "stand-in GPUs: right is that nothing is made",
    "test_an_evaluation_asks_for_a_gpu_and_never_computes_on_cpus": "stand-in GPUs: right is that nothing is made",
    "test_networks_of_a_build_ask_for_a_gpu_and_never_run_on_cpus": "stand-in GPUs: right is that nothing is made",
    "test_where_all_states_are_damaged_it_says_so_before_an_engine_starts": "a refusal: no work begins",
    "test_a_driver_that_was_killed_after_the_last_step_only_has_to_put_things_in_place": SISTER,
    "test_a_run_may_go_on_with_another_number_of_workers": SISTER,
    "test_with_average_offset_noise_and_min_snr_stopping_and_another_number_of_workers_change_nothing": SISTER,
    "test_work_that_waits_in_a_call_of_rays_own_is_interrupted": SISTER,
    "test_a_cluster_that_is_lost_is_a_message_and_the_same_command_goes_on_elsewhere": SISTER,
    "test_the_phases_follow_one_another_and_each_trains_its_part": SISTER,
    "test_a_stopped_stage_goes_on_in_its_phase_with_the_same_result": SISTER,
    "test_a_refined_parent_skips_what_it_has_been_through": SISTER,
    "test_a_phase_that_stopped_goes_on_calmer_and_the_finished_ones_stay": SISTER,
    "test_a_phase_may_be_trained_alone": SISTER,
    "test_random_sizes_on_two_workers_with_threads_equal_one_worker_with_ray_tasks": COMPARED,
    "test_a_class_token_stage_trains_samples_and_is_loaded_as_what_it_is": COMPARED,
}


def drills(source: str) -> Iterator[tuple[str, bool]]:
    """Each test of a module that is marked `drill`, and whether it asks for `survived`, by itself or by a fixture."""
    tree = ast.parse(source)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    counting = {"survived"}
    for function in functions:  # a fixture stands before what uses it
        if asked_by(function) & counting and not function.name.startswith("test_"):
            counting.add(function.name)
    marks = [ast.unparse(node.value) for node in tree.body if isinstance(node, ast.Assign) and _is_mark(node)]
    for function in functions:
        if function.name.startswith("test_"):
            own = [ast.unparse(decorator) for decorator in function.decorator_list]
            if any("mark.drill" in mark for mark in [*marks, *own]):
                yield function.name, bool(asked_by(function) & counting)


def asked_by(function: ast.FunctionDef) -> set[str]:
    return {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)}


def _is_mark(node: ast.Assign) -> bool:
    return [ast.unparse(target) for target in node.targets] == ["pytestmark"]


def test_every_drill_counts_what_it_cost_or_is_named_with_the_reason_why_not() -> None:
    found = {
        name: counts
        for path in TESTS.rglob("test_*.py")
        if "mark.drill" in (source := path.read_text(encoding="utf-8"))
        for name, counts in drills(source)
    }
    assert {name for name, counts in found.items() if not counts} <= NOT_COUNTED.keys()
    assert NOT_COUNTED.keys() <= found.keys()


def test_drills_are_found_by_their_marks_and_by_those_of_their_module() -> None:
    counted = "@pytest.fixture\ndef check(survived): ...\n\n@pytest.mark.drill\ndef test_a(check): ...\n\n"
    assert list(drills(counted + "def test_b(): ...\n")) == [("test_a", True)]
    assert list(drills("pytestmark = [pytest.mark.drill]\ndef test_a(): ...\n")) == [("test_a", False)]


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
