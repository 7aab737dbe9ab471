"""The token without which a Ray engine takes no call, in a file that nobody else may read.

Ray asks for one by default where it starts on this machine, and writes it with the permissions of any file: who may log
in here could read it and run code as this user. So it is made here before Ray looks for it.
"""

import os
import secrets
import stat
from pathlib import Path

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"  # Ray's own variables
BYTES = 32  # as Ray's are
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def private_token() -> None:
    """See to it that the token of this user is there and its file has mode 600.

    Where no file can be written (a home that is missing or read-only) the token is one of this process alone, which its
    workers inherit. Nothing is done where the environment holds one, or switches tokens off.
    """
    if os.environ.get(MODE, "token").lower() != "token" or os.environ.get(TOKEN):
        return
    given = os.environ.get(TOKEN_PATH)
    try:
        path = Path(given) if given else Path.home() / ".ray" / "auth_token"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(secrets.token_hex(BYTES))
        elif path.stat().st_mode & OTHERS and path.stat().st_uid == os.getuid():
            path.chmod(0o600)
    except (OSError, RuntimeError):  # RuntimeError: this user has no home at all
        os.environ[TOKEN] = secrets.token_hex(BYTES)
