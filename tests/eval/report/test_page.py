"""The page as text: complete, escaped, offline."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from eval.report.page import Credit, Report, ReportScore, render_report
from tests.eval.report.sample_report import sample_report


class Elements(HTMLParser):
    """Every start tag with its attributes, and the open elements left at the end."""

    VOID = frozenset({"meta", "link", "img", "input", "br", "line", "polyline"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report() -> Report:
    return sample_report()


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return render_report(report)


def test_the_page_is_well_formed(page: str) -> None:
    assert Elements(page).open == []


def test_every_picture_is_embedded_byte_for_byte(page: str, report: Report) -> None:
    for picture in report.pictures:
        for data in (picture.sketch, picture.reference, picture.result, picture.truth):
            assert data is not None
            assert base64.b64encode(data).decode() in page
    for frame in report.strips[0].frames:
        assert base64.b64encode(frame.picture).decode() in page


def test_the_page_loads_nothing_and_forbids_loading(page: str) -> None:
    tags = Elements(page).tags
    sources = [value for _, a in tags for key in ("src", "srcset", "data", "poster") if (value := a.get(key))]
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert {tag for tag, _ in tags} & {"iframe", "object", "embed"} == set()
    assert not re.search(r"@import|url\(", page)
    policy = next(a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy


def test_every_shown_picture_has_a_description_and_ids_are_unique(page: str) -> None:
    tags = Elements(page).tags
    embedded = [a for tag, a in tags if tag == "img" and a.get("src")]
    assert embedded
    assert all(a["alt"] for a in embedded)
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_hostile_text_is_shown_and_never_run() -> None:
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    report = sample_report(hostile)
    picture = replace(
        report.pictures[0],
        title=hostile,
        caption=hostile,
        command=hostile,
        truth_note=hostile,
        numbers=((hostile,) * 2,),
    )
    curve = replace(report.curves[0], stage=hostile)
    report = replace(report, summary=hostile, pictures=(picture,), curves=(curve,), commands=((hostile,) * 2,))
    elements = Elements(render_report(report))
    assert sum(tag == "script" for tag, _ in elements.tags) == 1
    assert not any(key.startswith("on") for _, attributes in elements.tags for key in attributes)


def test_a_link_that_is_not_http_is_left_out(report: Report) -> None:
    page = render_report(replace(report, credits=(Credit("a", "b", "c", "javascript:alert(1)"),)))
    assert "javascript:" not in page


def test_a_score_shows_its_value_with_its_unit_or_the_reason(page: str) -> None:
    assert "18.62 dB" in page
    assert "0.816 to 0.91" in page
    assert "not scored: 64 samples; 321 are needed" in page
    with pytest.raises(ValueError, match="neither a value nor a reason"):
        ReportScore("psnr", None)


def test_images_seen_stand_under_each_picture_of_the_strip(page: str, report: Report) -> None:
    for frame in report.strips[0].frames:
        assert f"<figcaption>{frame.images_seen:,} <small>{frame.stage}</small></figcaption>" in page


def test_a_report_of_pictures_alone_has_no_empty_sections(report: Report) -> None:
    page = render_report(Report("t", "s", (replace(report.pictures[0], truth=None),)))
    assert re.findall(r'<section id="(\w+)"', page) == ["pictures"]
    assert 'data-under="truth"' not in page


def test_bytes_that_are_no_picture_are_refused(report: Report) -> None:
    with pytest.raises(ValueError, match="not a PNG"):
        render_report(replace(report, pictures=(replace(report.pictures[0], result=b"<svg/>"),)))
