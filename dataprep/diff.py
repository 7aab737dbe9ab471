"""Which snapshot an address means."""

import re

_AT = re.compile(r"(.+)@(\d+)")


def parse_at(text: str) -> tuple[str, int | None]:
    """("URI", n) of "URI@n", ("URI", None) of an address alone: its newest snapshot."""
    found = _AT.fullmatch(text)
    return (found[1], int(found[2])) if found else (text, None)
