"""The pictures that ship with the project, as sources of a corpus (credits: docs/CREDITS.md)."""

from pathlib import Path

import dataprep

PICTURES = Path(dataprep.__file__).parent / "assets" / "pictures"
ASSEMBLED = str(PICTURES / "assembled")
SHIPPED_SOURCES = tuple(str(PICTURES / name) for name in ("assembled", "sprites", "openmoji", "damaged"))
DRAWINGS = PICTURES / "drawings"  # by illustrators, line art alone: no source of a corpus, but sketches to colour
SPRITES = PICTURES / "sprites"
