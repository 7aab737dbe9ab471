"""A real Chromium for tests of pages: where there is none, the tests that import this are skipped and say so."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium: apt-get install chromium chromium-driver"),
]
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --force-prefers-reduced-motion --window-size=1280,900"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(browser: Any, file: Path, html: str) -> Any:
    """The browser with this page open; what it logged before is gone."""
    file.write_text(html, encoding="utf-8")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(file.as_uri())
    return browser


def find(page: Any, selector: str) -> Any:
    return page.find_element("css selector", selector)


def width_at(page: Any, width: int) -> int:
    """How wide the page lies when the window is so wide; a narrow window is that of a phone."""
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 700},
    )
    try:
        page.refresh()
        return int(page.execute_script("return document.documentElement.scrollWidth"))
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
