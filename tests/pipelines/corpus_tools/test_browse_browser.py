"""The browse page in a real Chromium: choosing, laying over, searching, the large view, keys, and no request."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.corpus_tools.browse import render_page
from tests.browser import MARKS, browser, find, opened, webdriver, width_at  # noqa: F401 (browser is a fixture)
from tests.pipelines.corpus_tools.sample_page import sample_page

pytestmark = MARKS
LEFT, RIGHT, ESCAPE, ENTER = "\ue012", "\ue014", "\ue00c", "\ue007"


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Any:  # noqa: F811
    return opened(browser, tmp_path / "browse.html", render_page(sample_page()))


def press(page: Any, keys: str) -> None:
    webdriver.ActionChains(page).send_keys(keys).perform()


def shown(page: Any, selector: str) -> list[str]:
    """Alternative texts of the pictures below `selector` that can be seen."""
    pictures = page.find_elements("css selector", f"{selector} img")
    return [picture.get_attribute("alt") for picture in pictures if picture.is_displayed()]


def test_the_page_asks_for_nothing_but_itself_and_reports_no_error(page: Any) -> None:
    press(page, "1")
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    ours = {s["request"]["url"] for s in sent if s["documentURL"] == page.current_url}
    assert [url for url in ours if not url.startswith("data:")] == [page.current_url]
    assert page.get_log("browser") == []


def test_every_picture_is_decoded(page: Any) -> None:
    assert page.execute_script("return [...document.images].every(i => i.complete && i.naturalWidth > 0)")


def test_a_number_shows_one_column_of_all_samples_and_zero_everything(page: Any) -> None:
    assert len(shown(page, ".grid")) == 9
    press(page, "2")
    assert [alt.split(" of ")[0] for alt in shown(page, ".grid")] == ["lines: xdog"] * 3
    press(page, "0")
    assert len(shown(page, ".grid")) == 9


def test_regions_are_laid_over_the_colour_at_the_chosen_opacity(page: Any) -> None:
    find(page, '[data-where="grid"] [data-over="3"]').click()
    assert {alt.split(" of ")[0] for alt in shown(page, ".grid")} == {"colour", "regions"}
    page.execute_script(
        "const r = document.querySelector('[data-where=grid] [data-opacity]'); r.value = 25;"
        "r.dispatchEvent(new Event('input'))"
    )
    style = "return getComputedStyle(document.querySelector('.grid .regions'))"
    assert page.execute_script(f"{style}.opacity") == "0.25"
    colour, regions = (find(page, f".grid img.{role}").rect for role in ("color", "regions"))
    assert colour == regions


def test_words_and_split_choose_samples(page: Any) -> None:
    find(page, "#find").send_keys("SMILE hat")
    assert find(page, "#shown").text == "1 of 3"
    find(page, "#find").clear()
    find(page, "#find").send_keys("bea")
    assert find(page, "#shown").text == "1 of 3"
    find(page, "#split").send_keys("train")
    assert find(page, "#shown").text == "0 of 3"


def test_the_large_view_tells_all_and_arrows_go_through_the_samples(page: Any) -> None:
    find(page, ".card .stack").send_keys(ENTER)
    dialog = find(page, "#large")
    assert dialog.is_displayed()
    assert "0" * 64 in dialog.text
    assert "smile" in dialog.text
    press(page, RIGHT)
    assert "1" * 64 in dialog.text
    press(page, LEFT + LEFT)
    assert "2" * 64 in dialog.text
    press(page, "1")
    assert find(page, "#large img.color").size["height"] > 300
    press(page, ESCAPE)
    assert not dialog.is_displayed()


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_never_scrolls_sideways(page: Any, width: int) -> None:
    assert width_at(page, width) <= width
