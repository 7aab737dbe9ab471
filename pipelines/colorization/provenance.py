"""How a coloured picture was made, recorded inside its PNG: one iTXt chunk that holds JSON.

Any tool that shows the text chunks of a PNG shows it (exiftool, identify -verbose, PIL's `image.text`). What is read
back is as untrusted as any file: bounded, checked, and every failure is one clear line. PNG: ISO/IEC 15948, 11.3.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypedDict

from dataprep.documents import DocumentError, checked, parse_json
from dataprep.pictures.png_chunks import HEADER_END, behind_header, png_chunk
from dataprep.storage.store import read_range
from pipelines.colorization.picture_settings import MOST_SEED, PictureSettings, picture_settings
from pipelines.colorization.roles import pop_roles, role_entries
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError

KEYWORD = "irodori"
FORMAT = 6
MOST_SIDE = 1 << 16  # pixels
MOST_CHUNK_BYTES = 1 << 16  # of a text chunk, with the JSON in it
_SINCE = {"codec_sha256": 2, "image_encoder_sha256": 2, "prediction_type": 3}  # the format that first recorded it
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_HEAD = HEADER_END + MOST_CHUNK_BYTES + 12  # a chunk is its body and 12 bytes


@dataclass(frozen=True)
class Source:
    """A file that went in: its address, and the sha256 of its bytes."""

    address: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The checkpoint: its address, the sha256 of its weights, and its metadata.

    codec_sha256, image_encoder_sha256: of the frozen networks' weights; "" where they ship, so that the id is enough.
    prediction_type: what the network predicts, which its weights do not show. These three are None in a picture of an
    older format, which did not record them; noise_schedule: under which it does, and older ones had but one.
    extractor_sha256: of the networks that drew the line art (`PictureSettings.extract`), "" where none did.
    """

    address: str
    sha256: str
    stage: str
    size: str
    codec: str
    image_encoder: str
    codec_sha256: str | None = None
    image_encoder_sha256: str | None = None
    extractor_sha256: str = ""
    prediction_type: str | None = None
    noise_schedule: str = "stable-diffusion"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """All that is needed to make a picture again; width and height of the network's picture, in pixels.

    references: the file of each reference by its role. layer: which of a picture's layers this file is, "" for the
    picture itself. masks: `masks.hash_of` of what parted figure from ground, by role; nothing where nothing did. device
    ("cpu", "cuda") and code_version do not decide the picture but explain last bits that differ.
    """

    checkpoint: Weights
    sketch: Source
    references: Mapping[str, Source] = field(hash=False)
    seed: int
    settings: PictureSettings
    width: int
    height: int
    device: str
    code_version: str
    layer: str = ""
    masks: Mapping[str, str] = field(default_factory=dict, hash=False)

    def decisive(self) -> "Provenance":
        """What decides the picture, to compare: addresses, device and code version are left out."""
        return replace(
            self,
            checkpoint=replace(self.checkpoint, address=""),
            sketch=replace(self.sketch, address=""),
            references={role: replace(source, address="") for role, source in self.references.items()},
            device="",
            code_version="",
        )

    def document(self) -> dict[str, Any]:
        """As JSON takes it."""
        references = {role: asdict(source) for role, source in self.references.items()}
        return {
            "format": FORMAT if self.masks else FORMAT - 1,  # what older versions can read stays what they read
            "checkpoint": asdict(self.checkpoint),
            "sketch": asdict(self.sketch),
            **role_entries(references),
            "seed": self.seed,
            "settings": self.settings.document(),
            "width": self.width,
            "height": self.height,
            "device": self.device,
            "code_version": self.code_version,
            "layer": self.layer,
            **({"masks": dict(self.masks)} if self.masks else {}),
        }


def sha256_of(data: bytes) -> str:
    """Of a file's bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def embed(png: bytes, provenance: Provenance) -> bytes:
    """The PNG with the provenance in it; its pixels are untouched."""
    text = _encoded(provenance.document())
    body = KEYWORD.encode() + b"\0\0\0\0\0" + text  # not compressed, no language, no translated keyword
    return behind_header(png, png_chunk(b"iTXt", body))


def _encoded(document: dict[str, Any]) -> bytes:
    """JSON in UTF-8; a file name that is none stands in it escaped, as Python reads it from the disk."""
    try:
        return json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(document).encode()


def extract(data: bytes, name: str) -> Provenance:
    """The provenance in a PNG; PipelineError, with `name` in it, where there is none or none that can be understood."""
    text = next((body for kind, body in _chunks(data) if kind == b"iTXt" and body.startswith(_PREFIX)), None)
    if text is None:
        raise PipelineError(f"{name}: no picture that `irodori colorize` made: it does not say how it was made")
    try:
        return _parsed(parse_json(text[len(_PREFIX) :], KEYWORD, file_names=True))
    except (SettingsError, DocumentError, ValueError) as error:
        reason = str(error).removeprefix(f"{KEYWORD}: ")
        raise PipelineError(f"{name}: what it says of how it was made cannot be used: {reason}") from error


def recorded_provenance(address: str) -> Provenance | None:
    """The provenance of the picture at an address, None where none can be understood. Reads only the file's head."""
    try:
        return extract(read_range(address, 0, _MOST_HEAD), address)
    except PipelineError:
        return None


_PREFIX = KEYWORD.encode() + b"\0\0\0\0\0"


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, body) of each small, undamaged chunk of a PNG."""
    at = len(_SIGNATURE) if data.startswith(_SIGNATURE) else len(data)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if length <= MOST_CHUNK_BYTES and end <= len(data):
            checked = data[at + 4 : end - 4]
            if zlib.crc32(checked) == struct.unpack_from(">I", data, end - 4)[0]:
                yield checked[:4], checked[4:]
        at = end


class _Opening(TypedDict):
    """What says how the rest is read: an older format has less of `checkpoint` (`_SINCE`)."""

    format: int
    checkpoint: dict[str, Any]
    settings: dict[str, Any]


def _parsed(document: Any) -> Provenance:
    """The provenance of a parsed text. Raises DocumentError, SettingsError or ValueError."""
    opening = checked(document, _Opening, KEYWORD)
    if (version := opening["format"]) not in range(1, FORMAT + 1):
        raise ValueError(f"it is of format {version}, formats 1 to {FORMAT} are read here")
    values: dict[str, Any] = {name: value for name, value in document.items() if name != "format"}
    try:
        references = pop_roles(values)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no references that can be read ({error})") from error
    unrecorded = {name: None for name, since in _SINCE.items() if version < since}
    others = {"checkpoint": opening["checkpoint"] | unrecorded, "references": references, "settings": {}}
    found = checked(values | others, Provenance, KEYWORD)
    if absent := [name for name in _SINCE if name not in unrecorded and getattr(found.checkpoint, name) is None]:
        raise ValueError(f"checkpoint has no {absent[0]}")
    for name, least, most in (("seed", 0, MOST_SEED), ("width", 1, MOST_SIDE), ("height", 1, MOST_SIDE)):
        if not least <= (number := getattr(found, name)) <= most:
            raise ValueError(f"{name} {number} is not within {least}..{most}")
    return replace(found, settings=picture_settings(opening["settings"]))
