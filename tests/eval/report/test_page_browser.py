"""The page in a real Chromium: sliders, keyboard, enlarged view, copy, phone width, and no request to anywhere."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval.report.page import ReportSheet, SheetRow, render_report
from eval.report.tables import ReportTable, TableRow
from tests.browser import MARKS, browser, find, opened, webdriver, width_at  # noqa: F401 (browser is a fixture)
from tests.eval.report.sample_report import sample_report

pytestmark = MARKS


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Any:  # noqa: F811
    return opened(browser, tmp_path / "report.html", render_report(sample_report()))


def covered(page: Any) -> str:
    """The part of the first slider's upper picture that is cut away."""
    return page.execute_script("return getComputedStyle(document.querySelector('.compare .over')).clipPath")


def source(page: Any, selector: str) -> str:
    return find(page, selector).get_attribute("src")


def test_the_page_asks_for_nothing_but_itself_and_reports_no_error(page: Any) -> None:
    find(page, ".comparison figcaption button:last-child").click()
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    ours = {s["request"]["url"] for s in sent if s["documentURL"] == page.current_url}  # not Chromium's own start page
    assert [url for url in ours if not url.startswith("data:")] == [page.current_url]
    assert page.get_log("browser") == []


def test_every_picture_is_decoded(page: Any) -> None:
    widths = page.execute_script(
        "return [...document.querySelectorAll('.zoom img, .compare img')].map(i => i.naturalWidth)"
    )
    assert set(widths) == {128}


def test_the_slider_follows_the_mouse_and_the_keyboard(page: Any) -> None:
    slider = find(page, ".compare input")
    before = covered(page)
    webdriver.ActionChains(page).move_to_element_with_offset(slider, 60, 0).click().perform()
    clicked = covered(page)
    assert clicked != before
    slider.send_keys("\ue010")  # End
    assert slider.get_attribute("value") == "100"
    assert covered(page) != clicked
    assert slider.get_attribute("aria-valuetext") == "100 % result"


def test_the_slider_can_lay_the_sketch_over_the_result(page: Any) -> None:
    assert source(page, ".compare .under") == source(page, '[data-kind="truth"] img')
    find(page, ".comparison figcaption button:last-child").click()
    assert source(page, ".compare .over") == source(page, '[data-kind="sketch"] img')
    assert source(page, ".compare .under") == source(page, '[data-kind="result"] img')
    assert find(page, ".compare .left").text == "sketch"
    assert find(page, ".compare input").get_attribute("aria-valuetext") == "50 % sketch"


def test_a_picture_enlarges_and_escape_closes_it(page: Any) -> None:
    find(page, '[data-kind="result"]').send_keys("\ue007")  # Enter
    dialog = find(page, "#large")
    assert dialog.is_displayed()
    assert source(page, "#large img") == source(page, '[data-kind="result"] img')
    assert dialog.find_element("css selector", "img").size["width"] > 400
    webdriver.ActionChains(page).send_keys("\ue00c").perform()
    assert not dialog.is_displayed()


def test_the_copy_button_answers(page: Any) -> None:
    find(page, ".pair summary").click()
    find(page, ".pair .copy").click()
    assert page.execute_async_script("setTimeout(() => arguments[0](document.getElementById('said').textContent), 200)")


@pytest.mark.parametrize("width", [360, 400, 768, 1280])
def test_the_page_never_scrolls_sideways(page: Any, width: int) -> None:
    assert width_at(page, width) <= width


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_wide_tables_scroll_by_themselves_and_sheets_fit(browser: Any, tmp_path: Path, width: int) -> None:  # noqa: F811
    columns = tuple(f"psnr_{number} of a region" for number in range(12))
    cells = tuple("21.34 [20.12, 22.56]" for _ in columns)
    rows = (TableRow("ControlNet + IP-Adapter", cells, published=True), TableRow("v1 guidance_scale=5.0", cells))
    picture = sample_report().pictures[0]
    pictures = tuple((f"{number} steps=20", picture.result) for number in range(9))
    report = replace(
        sample_report(),
        tables=(ReportTable("Table 1", columns, rows, "A note."),),
        sheets=(ReportSheet("Best by PSNR", (SheetRow("a pair", pictures, (("psnr", "21.3"),)),)),),
    )
    page = opened(browser, tmp_path / "report.html", render_report(report))
    assert width_at(page, width) <= width
    assert page.execute_script("return document.querySelector('.ranking tbody th').offsetWidth") > 100
    drawn = "return [...document.querySelectorAll('.sheet img')].map(i => i.complete && i.naturalWidth > 0)"
    assert page.execute_script(drawn) == [True] * len(pictures)
