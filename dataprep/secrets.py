"""Passwords, keys and tokens out of what is written or shown: in addresses, and wherever a known one turns up."""

import os
import re

HIDDEN = "***"
# Environment variables whose value is a secret itself; those that may hold one within an address are cut by form.
SECRET_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "DATABRICKS_TOKEN",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
)
_LEAST = 6  # characters: a shorter value turns up in text that means something else
_USER = re.compile(r"(?<=://)([^/@\s:'\"]*):([^/@\s'\"]+(?:@[^/@\s'\"]+)*)@")
_TOKEN = re.compile(r"(?<=https://)[^/@\s:'\"]+@|(?<=http://)[^/@\s:'\"]+@")
_NAMES = "password|passwd|pwd|secret|token|signature|credential|api_?key"
_QUERY = re.compile(rf"([?&;](?:[\w.-]*(?:{_NAMES}))=)[^&;\s'\"]+", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """The text, with `***` for passwords and tokens of addresses, and for the values of SECRET_VARIABLES."""
    text = _USER.sub(rf"\1:{HIDDEN}@", text)
    text = _TOKEN.sub(f"{HIDDEN}@", text)
    text = _QUERY.sub(rf"\1{HIDDEN}", text)
    for name in SECRET_VARIABLES:
        value = os.environ.get(name, "")
        if len(value) >= _LEAST:
            text = text.replace(value, HIDDEN)
    return text
