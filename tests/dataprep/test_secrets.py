"""Passwords, keys and tokens are cut out of whatever is written."""

import pytest

from dataprep.secrets import SECRET_VARIABLES, without_secrets

SECRET = "marked-s3cret"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"postgresql://me:{SECRET}@host:5432/db", "postgresql://me:***@host:5432/db"),
        (f"postgresql+psycopg2://me:{SECRET}@h@host/db", "postgresql+psycopg2://me:***@host/db"),
        (f"https://{SECRET}@host/path", "https://***@host/path"),
        (f"http://:{SECRET}@host", "http://:***@host"),
        (f"mysql://host/db?user=me&password={SECRET}&x=1", "mysql://host/db?user=me&password=***&x=1"),
        (f"https://b/k?X-Amz-Signature={SECRET}", "https://b/k?X-Amz-Signature=***"),
        (f"cannot reach 'https://me:{SECRET}@host': no", "cannot reach 'https://me:***@host': no"),
        ("s3://bucket/a@b/c:d", "s3://bucket/a@b/c:d"),
        ("corpus@2 and http://host:80/x@y", "corpus@2 and http://host:80/x@y"),
    ],
)
def test_secrets_of_addresses_are_hidden(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize("name", SECRET_VARIABLES)
def test_the_values_of_secret_variables_are_hidden(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, SECRET)
    assert without_secrets(f"Authorization: {SECRET}!") == "Authorization: ***!"
    monkeypatch.setenv(name, "1")
    assert without_secrets("row 1") == "row 1"
