from types import SimpleNamespace

import pytest

from pipelines.execution.ray_data import failure_line


class RayFailure(Exception):
    """An error with what Ray adds to it."""

    def __init__(self, text: str, **known: object) -> None:
        super().__init__(text)
        vars(self).update(known)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RayFailure("Traceback\n  ...\nValueError: no such column\n"), "ValueError: no such column"),
        (RayFailure("a stack", cause=ValueError("s3://a/b is gone\nadded by Ray")), "s3://a/b is gone"),
        (RayFailure("workers failed", worker_failures={1: "Traceback\n  ...\nDataError: row 7"}), "DataError: row 7"),
        (RayFailure("first\nlast", worker_failures={}), "last"),
        (RayFailure("all", worker_failures={0: SimpleNamespace(), 1: " "}), "namespace()"),
    ],
)
def test_the_failure_of_a_worker_becomes_one_line(error: BaseException, line: str) -> None:
    assert failure_line(error) == line
