"""What the scan asks a callable of a picture, and what becomes of its answer."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataprep.corpus.schema import SCAN_SCHEMA
from dataprep.limits import Limiter, LimitSettings
from dataprep.plan.scan import ListedItem, scan, scan_fingerprint
from dataprep.sources.items import SourceItem
from tests.corpus_pictures import picture, write_broken, write_pictures

LIMITS = LimitSettings(seconds_per_picture=1)


def listed(path: Path) -> ListedItem:
    return ListedItem(path.name, SourceItem(str(path)))


@pytest.fixture
def limiter(tmp_path: Path) -> Limiter:
    return Limiter(LIMITS, str(tmp_path / "faults"))


@pytest.fixture
def drawn(tmp_path: Path) -> ListedItem:
    write_pictures(tmp_path / "source", 1)
    return listed(tmp_path / "source" / "p0000.png")


def test_a_picture_is_shown_decoded_and_the_answer_is_in_its_record(drawn: ListedItem, limiter: Limiter) -> None:
    seen: list[np.ndarray] = []

    def content(rgb: np.ndarray) -> dict[str, float]:
        seen.append(rgb)
        return {"drawing": 0.75, "unsafe": 0.125}

    record = scan(drawn, limiter, content)
    assert (record["drawing"], record["unsafe"]) == (0.75, 0.125)
    np.testing.assert_array_equal(seen, [picture(0)])
    assert record.keys() <= set(SCAN_SCHEMA.names)


def test_the_rest_of_the_record_is_the_same_whether_or_not_anybody_asks(drawn: ListedItem, limiter: Limiter) -> None:
    asked = scan(drawn, limiter, lambda _: {"drawing": 1.0, "unsafe": 0.0})
    assert scan(drawn, limiter) == {name: asked[name] for name in asked if name not in ("drawing", "unsafe")}


def test_a_picture_that_cannot_be_read_is_shown_to_nobody(tmp_path: Path, limiter: Limiter) -> None:
    (tmp_path / "source").mkdir()
    broken = listed(write_broken(tmp_path / "source"))
    assert scan(broken, limiter, lambda _: pytest.fail("it was shown"))["reason"] == "unreadable"


def fails(_: np.ndarray) -> dict[str, float]:
    raise RuntimeError("no such layer")


def hangs(_: np.ndarray) -> dict[str, float]:
    while True:
        pass


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("content", "reason", "message"), [(fails, "raised", "no such layer"), (hangs, "timeout", "1 s")]
)
def test_a_picture_on_which_the_callable_fails_is_a_reject_with_that_reason(
    drawn: ListedItem, limiter: Limiter, content: Callable[[np.ndarray], dict[str, float]], reason: str, message: str
) -> None:
    record = scan(drawn, limiter, content)
    assert record["reason"] == reason
    assert message in record["message"]


def test_the_scans_fingerprint_changes_with_the_network_it_asks() -> None:
    assert len({scan_fingerprint(), scan_fingerprint("weights a"), scan_fingerprint("weights b")}) == 3
    assert scan_fingerprint("weights a") == scan_fingerprint("weights a")
