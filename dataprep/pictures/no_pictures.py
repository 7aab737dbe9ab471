"""What a file is that is no picture: named by its first bytes, so that a reject says what came instead."""

import re

_START = 4096  # bytes that are looked at

# First bytes -> what that is. Of media files, which share the first bytes, the brand says more (`_BRANDS`).
_SIGNATURES = (
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer: the picture itself was not fetched (git lfs pull)",
    ),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"SQLite format 3\x00", "a database"),
    (b"PAR1", "a Parquet table"),
    (b"\x1aE\xdf\xa3", "a film"),
    (b"OggS", "a film or sound"),
)
_PICTURES = (
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    (b"gimp xcf", "a GIMP document"),
    (b"CSFCHUNK", "a Clip Studio document"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
)
_BRANDS = {
    b"heic": "a HEIC picture",
    b"heix": "a HEIC picture",
    b"hevc": "a HEIC picture",
    b"mif1": "a HEIF picture",
    b"msf1": "a HEIF picture",
}
_HTML = re.compile(rb"<(!doctype\s+html|html|head|body)[\s>]", re.IGNORECASE)


def looks_like_html(data: bytes) -> bool:
    """Whether a document begins as a web page does: an error page under a picture's name, as downloads leave them."""
    start = data[:_START].lstrip(b"\xef\xbb\xbf \t\r\n")
    found = _HTML.search(start) if start.startswith(b"<") else None
    return found is not None and b"<svg" not in start[: found.start()]


def what_it_is(data: bytes) -> str | None:
    """Why bytes that are no picture of ours are none, where they are something that we know."""
    start = data[:_START]
    if not start.strip(b"\0"):
        return "nothing but zeros, not a picture"
    for signature, name in _SIGNATURES:
        if start.startswith(signature):
            return f"{name}, not a picture"
    for signature, name in _PICTURES:
        if start.startswith(signature):
            return f"{name}, which is not read"
    if start[4:8] == b"ftyp":
        brand = _BRANDS.get(start[8:12])
        return f"{brand}, which is not read" if brand else "a film, not a picture"
    if looks_like_html(data):
        return "an HTML page, not a picture"
    kind = _kind_of_text(data)
    return f"{kind}, not a picture" if kind else None


def _kind_of_text(data: bytes) -> str | None:
    start = data[:_START].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start or any(byte < 32 and byte not in b"\t\r\n" for byte in start):
        return None
    if start[:1] in b"{[":
        return "a JSON document"
    if re.match(rb"<[?!A-Za-z]", start):
        return "an XML document"
    return "a text"
