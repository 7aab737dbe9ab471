"""Evaluations of another system's pictures: its inputs are handed over as files, and its results read from a folder.

A pair is called by the beginnings of its ids and its seed, `<sketch>-<reference>-<seed>`, since a seed may bend the
reference: `NAME-sketch.png` and `NAME-reference.png` go out, `NAME.png` (or .jpg, .webp) comes back. So any program
that colours files takes part in a comparison.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from dataprep.pictures.guarded import decode
from dataprep.pictures.resize import resize_color
from dataprep.storage.store import FileEntry, list_folder, read_bytes
from eval.protocols.pairing import Pair
from eval.protocols.protocol import Bytes
from pipelines.common.errors import PipelineError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
_ID = 12  # characters of each id in a name


def name_of(pair: Pair) -> str:
    """What the files of a pair are called."""
    return f"{pair.sketch_id[:_ID]}-{pair.reference_id[:_ID]}-{pair.seed}"


def pictures_in(folder: str) -> dict[str, str]:
    """Name -> address of every picture that lies in a folder."""
    return {name: entry.uri for name, entry in _files(folder).items()}


def checked_pictures(folder: str, pairs: Sequence[Pair]) -> str:
    """A hash of the names and sizes of the results of these pairs in a folder.

    Raises PipelineError that says how many are missing.
    """
    there, wanted = _files(folder), dict.fromkeys(map(name_of, pairs))
    if missing := [name for name in wanted if name not in there]:
        raise PipelineError(
            f"{folder} has no picture of {len(missing)} of {len(wanted)} pairs, such as {missing[0]}.png; what each is "
            "made of is written by --write-pairs"
        )
    sizes = [[name, there[name].size] for name in wanted]
    return hashlib.sha256(json.dumps(sizes).encode()).hexdigest()


def _files(folder: str) -> dict[str, FileEntry]:
    _, files = list_folder(folder)
    return {Path(entry.uri).stem: entry for entry in files if entry.uri.lower().endswith(ENDINGS)}


def read_picture(uri: str, width: int, height: int) -> Bytes:
    """A result, (height, width, 3) uint8; squashed where it has another size."""
    rgb = decode(read_bytes(uri)).rgb
    return rgb if rgb.shape[:2] == (height, width) else resize_color(rgb, width, height)
