"""The token of a Ray engine lies in a file that nobody else may read, and no call goes without it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.execution.access_token import MODE, TOKEN, TOKEN_PATH, private_token


@pytest.fixture
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without a token; the file that would hold it."""
    for name in (MODE, TOKEN, TOKEN_PATH):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".ray" / "auth_token"


def test_a_token_is_made_for_this_user_alone(no_token: Path) -> None:
    private_token()
    made = no_token.read_text()
    assert len(made) == 64
    assert no_token.stat().st_mode & 0o777 == 0o600
    private_token()
    assert no_token.read_text() == made


def test_a_token_that_others_could_read_is_closed_to_them(no_token: Path) -> None:
    no_token.parent.mkdir()
    no_token.write_text("as Ray writes it")
    no_token.chmod(0o644)
    private_token()
    assert no_token.stat().st_mode & 0o777 == 0o600
    assert no_token.read_text() == "as Ray writes it"


def test_where_no_file_can_be_written_the_token_is_one_of_this_process(
    no_token: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".ray").write_text("a file where the folder would be")
    monkeypatch.setitem(os.environ, TOKEN, "")
    private_token()
    assert len(os.environ[TOKEN]) == 64


def test_tokens_that_were_switched_off_stay_off(no_token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODE, "disabled")
    private_token()
    assert not no_token.exists()


@pytest.mark.ray
@pytest.mark.seconds
def test_a_call_without_the_token_is_refused(ray_engine: None, tmp_path: Path) -> None:
    import ray

    call = "import sys; from ray._raylet import GcsClient; print(GcsClient(sys.argv[1]).internal_kv_keys(b'', None))"
    address = ray.get_runtime_context().gcs_address
    other = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {"HOME": str(tmp_path)}
    for mode, answers in (({"RAY_AUTH_MODE": "disabled"}, False), ({"RAY_AUTH_MODE": "token", TOKEN: "0" * 64}, False)):
        done = subprocess.run(
            [sys.executable, "-c", call, address], env=other | mode, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode == 0) is answers, done.stdout
        assert "nauthenticated" in done.stderr or "Authentication" in done.stderr, done.stderr[-500:]
    ours = subprocess.run([sys.executable, "-c", call, address], capture_output=True, text=True, timeout=60, check=True)
    assert ours.stdout.startswith("[")


def test_a_user_without_any_home_has_a_token_of_this_process(no_token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setitem(os.environ, TOKEN, "")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # as in a container whose user is a number alone
    private_token()
    assert len(os.environ[TOKEN]) == 64
    assert not no_token.exists()
