"""What a hostile pickle holds."""

import os
from pathlib import Path
from typing import Any


class Runs:
    """Unpickling this makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)
