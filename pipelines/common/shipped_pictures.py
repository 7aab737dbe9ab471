"""The pictures that ship with the project, as sources of a corpus (credits: docs/CREDITS.md)."""

from pathlib import Path

import dataprep

PICTURES = Path(dataprep.__file__).parent / "assets" / "pictures"
ASSEMBLED = str(PICTURES / "assembled")
SHIPPED_SOURCES = tuple(str(PICTURES / name) for name in ("assembled", "sprites", "openmoji", "damaged"))
