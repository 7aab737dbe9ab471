"""What tests of several packages share, each made once for the whole run and when first asked for: Ray, an S3 server,
a checkpoint and a corpus.
"""

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from tests.faults import Survived
from tests.pipelines.s3_server import s3_environment, s3_server

DRILL_SEED = "IRODORI_DRILL_SEED"
DEAR = {
    "drawn_corpus",
    "opaque_corpus",
    "untrained_checkpoint",
}  # fixtures that take seconds, so that what asks for them does
MARKED_BY = ((DEAR, "seconds"), ({"ray_engine"}, "ray"), ({"s3_bucket"}, "s3"), ({"survived"}, "fault"))
_numbers = itertools.count()
# A family of the suite, registered as a user's own would be: before Ray starts, since its workers inherit this, and so
# that commands which tests start in other folders find it.
os.environ["IRODORI_FAMILIES"] = "tests.families.duel"
os.environ["PYTHONPATH"] = os.pathsep.join(
    path for path in (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")) if path
)


def pytest_configure() -> None:
    """What a test starts can be interrupted, also where the suite itself runs in the background of a script, which has
    SIGINT ignored, and passes that on."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test is marked by what it asks for: a dear fixture makes it `seconds`, Ray `ray`, the S3 server `s3`, and
    `survived` makes it one of the faults that `python -m benchmarks.drills` counts.
    """
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        for fixtures, marker in MARKED_BY:
            if fixtures & asked:
                item.add_marker(marker)


@pytest.fixture(scope="session")
def s3_settings() -> Iterator[None]:
    """The S3 settings of the run in the environment; set before Ray starts, since its workers inherit them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_environment().items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def ray_engine(s3_settings: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray with two CPUs, shared by all tests marked `ray`."""
    from pipelines.execution.ray_session import ray_session

    with ray_session(tmp_path_factory.mktemp("ray") / "ray.log", num_cpus=2):
        yield


@pytest.fixture(scope="session")
def untrained_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny `v1.noisy` checkpoint of 64 x 64 pixels with random weights. Read it; who changes one copies it first."""
    from tests.pipelines.training.untrained import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("untrained") / "checkpoint")


@pytest.fixture(scope="session")
def drawn_corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A corpus of 16 assembled drawings, half of them held out. Read it; who changes one copies it first."""
    from tests.pipelines.training.untrained import write_corpus

    return write_corpus(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="session")
def opaque_corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A corpus of eight pictures of which nothing says where their figure is, half of them held out."""
    from tests.pipelines.training.untrained import write_opaque_corpus

    return write_opaque_corpus(tmp_path_factory.mktemp("opaque"))


@pytest.fixture(scope="session")
def s3_bucket(s3_settings: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a bucket on a SeaweedFS server, shared by all tests marked `s3`."""
    with s3_server(tmp_path_factory.mktemp("s3")) as bucket:
        yield bucket


@pytest.fixture
def s3_prefix(s3_bucket: str) -> str:
    """An address below the bucket that no other test uses."""
    return f"{s3_bucket}/test-{next(_numbers)}"


@pytest.fixture
def drill_random(request: pytest.FixtureRequest) -> np.random.Generator:
    """What a drill draws (who is hit, and when): the same for the same test and seed, which a failing drill prints."""
    seed = int(os.environ.get(DRILL_SEED, "0"))
    print(f"{DRILL_SEED}={seed} repeats this drill")
    return np.random.default_rng([seed, crc32(request.node.nodeid.encode())])


@pytest.fixture
def survived(record_property: Callable[[str, object], None]) -> Survived:
    """Counts what a disturbance did: `survived("worker killed", work="training", tries=1, lost=0, doubled=0)`."""
    return Survived(record_property)
