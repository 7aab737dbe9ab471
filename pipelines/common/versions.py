"""Which code made a result: the package version, and the commit where the checkout has one."""

import subprocess
from functools import lru_cache
from pathlib import Path

VERSION = "0.1.0"


@lru_cache(maxsize=1)
def code_version() -> str:
    """For example `0.1.0+1a2b3c4` or `0.1.0+1a2b3c4.dirty`; without git, the package version alone."""
    commit = _git("rev-parse", "--short", "HEAD")
    if commit is None:
        return VERSION
    return f"{VERSION}+{commit}" + (".dirty" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
