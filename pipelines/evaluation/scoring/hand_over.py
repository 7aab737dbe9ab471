"""Evaluations of another system's pictures: its inputs are handed over as files, and its results read from a folder.

A pair is called by the beginnings of its ids, `<sketch>-<reference>`: `NAME-sketch.png` and `NAME-reference.png` go
out, `NAME.png` (or .jpg, .webp) comes back. So any program that colours files takes part in a comparison.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from dataprep.pictures.guarded import decode
from dataprep.pictures.resize import resize_color
from dataprep.storage.store import list_folder, read_bytes
from eval.protocols.pairing import Pair
from eval.protocols.protocol import Bytes
from pipelines.common.errors import PipelineError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
_ID = 12  # characters of each id in a name


def name_of(pair: Pair) -> str:
    """What the files of a pair are called."""
    return f"{pair.sketch_id[:_ID]}-{pair.reference_id[:_ID]}"


def pictures_in(folder: str, pairs: Sequence[Pair]) -> tuple[dict[str, str], str]:
    """Name -> address of each pair's result in a folder, and a hash of the names and sizes of these files.

    Raises PipelineError that says how many are missing.
    """
    _, files = list_folder(folder)
    there = {Path(entry.uri).stem: entry for entry in files if entry.uri.lower().endswith(ENDINGS)}
    wanted = dict.fromkeys(map(name_of, pairs))
    if missing := [name for name in wanted if name not in there]:
        raise PipelineError(
            f"{folder} has no picture of {len(missing)} of {len(wanted)} pairs, such as {missing[0]}.png; what each is "
            "made of is written by --write-pairs"
        )
    sizes = [[name, there[name].size] for name in wanted]
    return {name: there[name].uri for name in wanted}, hashlib.sha256(json.dumps(sizes).encode()).hexdigest()


def read_picture(uri: str, width: int, height: int) -> Bytes:
    """A result, (height, width, 3) uint8; squashed where it has another size."""
    rgb = decode(read_bytes(uri)).rgb
    return rgb if rgb.shape[:2] == (height, width) else resize_color(rgb, width, height)
