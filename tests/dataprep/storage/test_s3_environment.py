"""The S3 settings of the environment where they are nearly right: the word that names the remedy."""

import pytest

from dataprep.errors import DataError
from dataprep.storage import s3, store


@pytest.mark.parametrize("endpoint", ["localhost:8333", "me:word@host:1", "//host"])
def test_an_endpoint_without_scheme_is_told_what_to_write(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(DataError, match=r"has no scheme: write http://(localhost:8333|host)") as refused:
        store.exists("s3://bucket/key")
    assert "word" not in str(refused.value)


def test_a_password_in_the_endpoint_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:word@host:1")
    assert s3.endpoint_name() == "http://me:***@host:1"


def test_a_proxy_in_the_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://host:1")
    assert s3.proxy() is None
    monkeypatch.setenv("HTTP_PROXY", "http://me:word@proxy:3128")
    assert s3.proxy() == "HTTP_PROXY"
    monkeypatch.setenv("no_proxy", "host")
    assert s3.proxy() is None
