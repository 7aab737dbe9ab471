"""What came instead of a picture is named."""

import pytest

from dataprep.pictures.decode import UnreadablePicture, decode


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (bytes(500), "nothing but zeros, not a picture"),
        (b"\n<!DOCTYPE html>\n<html><title>403</title>", "an HTML page, not a picture"),
        (b"\xef\xbb\xbf<html lang='en'><body>", "an HTML page, not a picture"),
        (b'{"error": "rate limit"}', "a JSON document, not a picture"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document, not a picture"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n", "a Git LFS pointer"),
        (b"PK\x03\x04" + bytes(40), "a zip archive, not a picture"),
        (b"%PDF-1.7\n", "a PDF document, not a picture"),
        (b"404: Not Found", "a text, not a picture"),
        (b"\0\0\0\x18ftypheic" + bytes(16), "a HEIC picture, which is not read"),
        (b"\xff\x0a" + bytes(50), "a JPEG XL picture, which is not read"),
        (b"\0\0\0\x18ftypisom" + bytes(16), "a film, not a picture"),
        (b"\x01\x02\x03\x04" * 20, "not a picture of a kind that is read .PNG, JPEG"),
    ],
)
def test_bytes_that_are_no_picture_say_what_they_are(data: bytes, said: str) -> None:
    with pytest.raises(UnreadablePicture, match="^" + said):
        decode(data)
