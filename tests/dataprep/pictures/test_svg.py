"""Drawings as programs save them, and as attackers do."""

import numpy as np
import pytest

from dataprep.pictures.decode import UnreadablePicture, decode

BOX = "<rect x='10' y='10' width='80' height='60' fill='none' stroke='#000' stroke-width='2'/>"
SVG = f"<svg xmlns='http://www.w3.org/2000/svg' width='100' height='80'>{BOX}</svg>"
PLAIN = decode(SVG.encode()).rgb
TEXT = "<text x='10' y='40' font-size='20' font-family='Nowhere Sans'>SFX</text>"


def document(subset: str, body: str = SVG) -> bytes:
    ids = "PUBLIC '-//W3C//DTD SVG 1.1//EN' 'http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd'"
    return f"<?xml version='1.0' encoding='utf-8'?><!DOCTYPE svg {ids} [{subset}]>{body}".encode()


@pytest.mark.parametrize("encoding", ["iso-8859-1", "windows-1252", "shift_jis", "euc-jp", "utf-8", "utf-16", "koi8-r"])
def test_a_drawing_is_read_in_the_encoding_that_it_declares(encoding: str) -> None:
    word = {"shift_jis": "線画", "euc-jp": "線画", "koi8-r": "линия"}.get(encoding, "café")
    text = f"<?xml version='1.0' encoding='{encoding}'?><!-- {word} -->{SVG}"
    np.testing.assert_array_equal(decode(text.encode(encoding)).rgb, PLAIN)


@pytest.mark.parametrize("encoding", ["utf-8", "hex", "zlib", "no-such-code"])
def test_bytes_that_are_not_what_they_declare_are_refused(encoding: str) -> None:
    with pytest.raises(UnreadablePicture, match="text"):
        decode(f"<?xml version='1.0' encoding='{encoding}'?><!-- \u00e9 -->{SVG}".encode("latin-1"))


def test_entities_as_illustrator_declares_them_are_their_words() -> None:
    names = {"ns_svg": "http://www.w3.org/2000/svg", "ns_extend": "http://ns.adobe.com/Extensibility/1.0/"}
    subset = "\n".join(f'\t<!ENTITY {name} "{value}">' for name, value in names.items())
    subset += "<!-- more -->\n<!ATTLIST svg xmlns:x CDATA #FIXED 'a]>b'>\n"
    body = SVG.replace("http://www.w3.org/2000/svg", "&ns_svg;").replace("<svg ", '<svg xmlns:x="&ns_extend;" ')
    np.testing.assert_array_equal(decode(document(subset, body)).rgb, PLAIN)
    np.testing.assert_array_equal(decode(document("")).rgb, PLAIN)


LAUGHS = "<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {b} '{f'&{a};' * 10}'>" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("subset", "body"),
    [
        (LAUGHS, SVG.replace("<rect", "&i;<rect")),
        ("<!ENTITY a SYSTEM 'file:///etc/hostname'>", SVG.replace("<rect", "&a;<rect")),
        ("<!ENTITY a PUBLIC 'x' 'http://127.0.0.1:9/x'>", SVG.replace("<rect", "&a;<rect")),
        ("<!ENTITY % a SYSTEM 'file:///etc/hostname'> %a;", SVG),
        ("<!ENTITY a '<image href=\"file:///etc/hostname\"/>'>", SVG.replace("<rect", "&a;<rect")),
        ("".join(f"<!ENTITY a{n} 'b'>" for n in range(1000)), SVG),
        ("<!ENTITY a 'b'", SVG),
    ],
    ids=["laughs", "file", "address", "parameter", "markup", "many", "cut"],
)
def test_entities_that_are_more_than_words_are_refused(subset: str, body: str) -> None:
    with pytest.raises(UnreadablePicture, match="XML entities"):
        decode(document(subset, body))


def test_a_word_that_is_repeated_without_end_is_refused() -> None:
    body = SVG.replace("<rect", f"<desc>{'&a;' * 200_000}</desc><rect")
    with pytest.raises(UnreadablePicture, match="entities grow to 200,000,000"):
        decode(document(f"<!ENTITY a '{'b' * 1000}'>", body))


def test_an_entity_behind_the_root_declares_nothing() -> None:
    document = SVG.replace("<rect", "<!DOCTYPE a [<!ENTITY b 'c'>]><rect")
    with pytest.raises(UnreadablePicture, match="out of place"):
        decode(document.encode())


def test_text_is_left_out_of_a_drawing_and_noted() -> None:
    picture = decode(SVG.replace("</svg>", f"{TEXT}</svg>").encode())
    np.testing.assert_array_equal(picture.rgb, PLAIN)
    assert picture.notes == ("svg text",)


def test_a_drawing_of_text_alone_is_drawn_in_a_font_of_ours() -> None:
    picture = decode(SVG.replace(BOX, TEXT).encode())
    assert 0.01 < (picture.rgb < 128).mean() < 0.2
    assert picture.notes == ("svg text",)
    np.testing.assert_array_equal(decode(SVG.replace(BOX, TEXT).encode()).rgb, picture.rgb)


def test_letters_that_no_font_of_ours_has_are_said_to_be_text() -> None:
    text = TEXT.replace("SFX", "\u3042")
    with pytest.raises(UnreadablePicture, match="text alone"):
        decode(SVG.replace(BOX, text).encode())


def test_a_web_page_with_a_drawing_in_it_is_a_web_page() -> None:
    with pytest.raises(UnreadablePicture, match="an HTML page, not a picture"):
        decode(f"<!DOCTYPE html><html><body>{SVG}</body></html>".encode())
