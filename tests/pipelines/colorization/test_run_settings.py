"""How a call runs: its document keeps the names that scripts read, and a batch holds at least one picture."""

import pytest

from pipelines.colorization.run_settings import RunSettings


def test_the_document_has_the_names_that_scripts_read() -> None:
    assert list(RunSettings(provenance=False).document().items()) == [
        ("device", "auto"),
        ("batch_size", 4),
        ("compile", False),
        ("layers", False),
        ("masks", False),
        ("told", False),
        ("overwrite", False),
        ("again", False),
    ]


def test_a_batch_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size=0 is not a finite number of at least 1"):
        RunSettings(batch_size=0)
