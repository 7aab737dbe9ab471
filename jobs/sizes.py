"""Sizes of pictures as a call names them."""

import re

from pipelines.common.overrides import SettingsError


def parse_size(text: str | None) -> tuple[int, int] | None:
    """(width, height) of "WxH"; None of None. Raises SettingsError for another text, or sides that no model makes."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)
    if found is None:
        raise SettingsError(f"--size is WxH, such as 512x512, not {text!r}")
    width, height = int(found[1]), int(found[2])
    if width % 8 or height % 8 or not width or not height:
        raise SettingsError(f"--size: both sides are multiples of 8, not {text}")
    return width, height
