"""Small made-up sources: pictures as bytes, tars and zips from lists of members."""

import io
import json
import tarfile
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dataprep.plan.scan import ListedItem, item_of
from dataprep.sources import Selection, SourceItem, list_batches, list_items
from dataprep.sources.notes import Notes


def png(seed: int = 0, size: int = 8) -> bytes:
    """A small picture that differs with its seed."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def json_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def tar_bytes(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_bytes(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def items(source: Path | str, selection: Selection | None = None) -> list[SourceItem]:
    return list(list_items(str(source), selection or Selection()))


def listed(source: Path | str, selection: Selection | None = None) -> list[ListedItem]:
    batches = list_batches(str(source), selection or Selection())
    return [ListedItem(row["key"], item_of(row)) for batch in batches for row in batch.to_pylist()]


def counts(source: Path | str, selection: Selection | None = None) -> dict[str, int]:
    """What is not taken, by reason."""
    counted: Counter[str] = Counter()
    for _ in list_batches(str(source), selection or Selection(), counted):
        pass
    return {word: count for word, count in counted.items() if count}


def notes(source: Path | str, selection: Selection | None = None) -> Notes:
    """What the source was read as, and which facts could not be read."""
    found = Notes()
    for _ in list_batches(str(source), selection or Selection(), None, found):
        pass
    return found


def refusals_of(source: Path | str) -> dict[str, str]:
    """Address below the source's folder -> why, of the items that become rejects."""
    folder = source if Path(source).is_dir() else Path(source).parent
    details = {item.uri.removeprefix(f"{folder}/"): item.detail for item in items(source)}
    return {uri: json.loads(detail)["refused"] for uri, detail in details.items() if "refused" in detail}


def short(found: Sequence[SourceItem]) -> list[str]:
    """The last part of each address."""
    return [item.uri.rpartition("/")[2] for item in found]
