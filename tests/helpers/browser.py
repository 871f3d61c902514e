"""A headless Chromium for tests: opens a page from a file, with the network off, and tells what it logged and asked for."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

# WebGL in software, as root, and nothing of its own on the network
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-device-scale-factor=1",
)
PHONE = (390, 844)
DESKTOP = (1280, 900)
SECONDS = 60  # WebGL in software on a busy machine takes its time


def browser_programs() -> tuple[str, str] | None:
    """Paths of Chromium and its driver; None where they are not installed."""
    found = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
    return found if all(found) else None


class Browser(webdriver.Chrome):
    """Chromium with what tests ask of it."""

    def resize(self, width: int, height: int, mobile: bool = False) -> None:
        """Set the size of the window's content, in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def theme(self, name: str) -> None:
        """``light`` or ``dark``, as the reader's system says."""
        media = {"features": [{"name": "prefers-color-scheme", "value": name}]}
        self.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def open_file(self, path: Path) -> None:
        """Open a file from disk, in a window of its own past: nothing of earlier pages is in the logs."""
        self.get("about:blank")
        self.get_log("browser"), self.get_log("performance")
        self.get(Path(path).resolve().as_uri())

    def complaints(self) -> list[str]:
        """What the page's console got since the last call: warnings and errors, but those of the software driver."""
        lines = [entry["message"] for entry in self.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")]
        return [line for line in lines if "GL Driver Message (OpenGL, Performance" not in line]

    def requests(self) -> list[str]:
        """Addresses that the page asked for since the last call; data: and blob: lie within it."""
        events = [json.loads(entry["message"])["message"] for entry in self.get_log("performance")]
        asked = [
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in asked if not url.startswith(("data:", "blob:"))]

    def whole_page_png(self) -> bytes:
        """A picture of the whole page, also of what lies below the window."""
        shot = self.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
        return base64.b64decode(shot["data"])


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser with the empty folder `profile` as its profile and without network; closed at the end."""
    binary, driver = browser_programs()
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Browser(options=options, service=Service(driver))
    try:
        browser.set_script_timeout(60)
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        browser.execute_cdp_cmd("Network.enable", {})
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
        browser.resize(*DESKTOP)
        yield browser
    finally:
        browser.quit()


def shown(browser):
    return browser.find_element(By.ID, "viewer-box").get_attribute("data-shown")


def wait(browser, condition):
    return WebDriverWait(browser, SECONDS, poll_frequency=0.1).until(condition)


def canvas_pixels(browser):
    """(H, W, 3) in 0 to 1 of the viewer's canvas, once two pictures in a row are the same."""
    canvas = browser.find_element(By.ID, "viewer-canvas")
    last = b""
    for _ in range(20):
        picture = canvas.screenshot_as_png
        if picture == last:
            break
        last = picture
    return matplotlib.image.imread(io.BytesIO(picture), format="png")[..., :3]


def open_viewer(browser):
    browser.find_element(By.CSS_SELECTOR, "#viewer-box summary").click()
    wait(browser, shown)
    browser.execute_script("document.getElementById('viewer-screen').scrollIntoView({block: 'center'})")
    return canvas_pixels(browser)
