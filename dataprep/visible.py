"""Text from elsewhere with its control characters made visible, for terminals and pages.

File names, tags, captions and addresses are whoever's made them. An escape sequence in one moves a terminal's cursor,
sets its title or hides what stands before it; an override of the direction of writing makes `gnp.exe` of `exe.png`.
They are shown as JSON writes them (`\\u001b`), so that a JSON document stays one. Names of the characters: Unicode
UAX #9 (directional formatting), ISO/IEC 6429 (controls).
"""

import re

# Controls but for tab and newline, C1 controls, embeddings and overrides, isolates, other line ends, half characters.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]")


def visible(text: str) -> str:
    """The text, in which what would act on a terminal or turn a line around is an escape; lines stay lines."""
    return _HIDDEN.sub(_escape, text)


def one_line(text: object) -> str:
    """The same of what stands within a line, a name or a value: its newlines and tabs are escapes too."""
    return visible(str(text)).replace("\n", "\\n").replace("\t", "\\t")


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
