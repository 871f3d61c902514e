"""The report in a real browser, from a file and without network: it draws, sorts, and reads on a phone, at night, by keyboard."""

from __future__ import annotations

import io
import json

import matplotlib.image
import numpy as np
import pytest
from browser import DESKTOP, PHONE, browser_programs, chromium
from report_files import add_synthetic, small_run, viewer_file, write_report
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.ui import WebDriverWait

from workflow_scripts.reporting.viewer_volumes import ViewedCase, pack

SECONDS = 60  # WebGL in software on a busy machine takes its time


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if browser_programs() is None:
        pytest.skip("no browser (chromium, chromedriver): apt-get install chromium chromium-driver")
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def report(run, tmp_path_factory, preprocessed_cohort):
    """A report of a simulated cohort, with its viewer."""
    cohort = add_synthetic(preprocessed_cohort(tmp_path_factory.mktemp("viewer"), cases=5))
    return write_report(run, "--simulated", "--viewer", str(viewer_file(cohort, cohort / "viewer.json", "--simulated")))


@pytest.fixture
def page(browser, report):
    """The report, just opened, on a desktop and by day."""
    browser.resize(*DESKTOP)
    browser.theme("light")
    browser.open_file(report)
    return browser


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


def test_the_checks_see_a_request_and_an_error(browser, tmp_path):
    """What the next test says is only worth something if the browser tells of what it should not do."""
    (tmp_path / "bad.html").write_text("<img src='http://192.0.2.1/a.png'><script>nothing()</script>")
    browser.open_file(tmp_path / "bad.html")
    assert "http://192.0.2.1/a.png" in browser.requests()
    assert any("nothing is not defined" in line for line in browser.complaints())


def test_it_opens_from_a_file_and_asks_for_nothing_else(page, report):
    assert "How much do synthetic cases help" in page.find_element(By.TAG_NAME, "h1").text
    open_viewer(page)
    assert page.requests() == [report.resolve().as_uri()]
    assert page.complaints() == []


def test_the_viewer_is_unpacked_when_it_is_opened(page):
    assert page.execute_script("return window.niivue === undefined")
    open_viewer(page)
    assert page.execute_script("return window.niivue !== undefined")


def test_the_viewer_draws_and_scrolls(page):
    first = open_viewer(page)
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 100, "many greys and colours"
    assert (first.max(axis=-1) < 0.02).mean() > 0.2, "a black background"
    value = page.find_element(By.ID, "viewer-axial-value")
    before = int(value.text.split(" of ")[0])
    page.find_element(By.ID, "viewer-canvas").send_keys(Keys.ARROW_UP)
    assert int(value.text.split(" of ")[0]) == before + 1
    scrolled = canvas_pixels(page)
    third = first.shape[1] // 3
    assert (np.abs(scrolled - first)[:, :third].max(axis=-1) > 0.05).mean() > 0.02, "another axial slice"
    page.find_element(By.ID, "viewer-sagittal").send_keys(Keys.ARROW_RIGHT)
    assert (np.abs(canvas_pixels(page) - scrolled)[:, 2 * third :].max(axis=-1) > 0.05).mean() > 0.02


def test_masks_come_and_go(page):
    def coloured(pixels):
        red, _, blue = np.moveaxis(pixels, -1, 0)
        return int((red - blue > 0.15).sum())  # yellow, orange and red; the crosshair is blue

    drawn = coloured(open_viewer(page))
    assert drawn > 500
    page.find_element(By.ID, "viewer-mask").click()
    assert coloured(canvas_pixels(page)) == 0
    page.find_element(By.ID, "viewer-mask").send_keys(Keys.SPACE)
    assert coloured(canvas_pixels(page)) == drawn
    page.find_element(By.ID, "viewer-opacity").send_keys(Keys.HOME)
    assert coloured(canvas_pixels(page)) < drawn / 2, "nearly transparent"


def test_cases_and_modalities_are_chosen(page):
    pictures = [open_viewer(page)]
    cases = Select(page.find_element(By.ID, "viewer-case"))
    names = [option.text for option in cases.options]
    assert [name.rsplit(" ", 1)[0] for name in names] == ["simulated patient"] * 2 + ["synthetic, of synthetic:"] * 2
    Select(page.find_element(By.ID, "viewer-modality")).select_by_visible_text("t2f")
    wait(page, lambda browser: shown(browser) == "0 t2f")
    pictures.append(canvas_pixels(page))
    cases.select_by_index(3)
    wait(page, lambda browser: shown(browser) == "3 t2f")
    pictures.append(canvas_pixels(page))
    assert names[3] in page.find_element(By.ID, "viewer-status").text
    for one, other in ((0, 1), (1, 2)):
        assert (np.abs(pictures[one] - pictures[other]).max(axis=-1) > 0.05).mean() > 0.05


def test_right_is_left_and_front_is_up_as_in_the_figures(browser, run, tmp_path):
    """Bright in the patient's right, anterior, superior eighth: in each view at the top left."""
    image = np.full((24, 24, 24), 90, dtype=np.uint8)  # depth up, height to anterior, width to the patient's right
    image[12:, 12:, 12:] = 255
    affine = np.diag([4.0, 4, 4, 1])
    case = ViewedCase("SliceAug-00000-000", "synthetic", "slice_ldm", {"t1c": image}, np.zeros_like(image), affine)
    packed = {"n_real": 3, "modalities": ["t1c"], "regions": ["whole_tumor"], "viewer_megabytes": 1}
    (tmp_path / "viewer.json").write_text(json.dumps(packed | pack([case], 10**6)))
    browser.resize(*DESKTOP)
    browser.open_file(write_report(run, "--viewer", str(tmp_path / "viewer.json")))
    open_viewer(browser)
    for plane in ("axial", "coronal", "sagittal"):  # into the bright eighth
        browser.find_element(By.ID, f"viewer-{plane}").send_keys(*[Keys.ARROW_RIGHT] * 4)
    grey = canvas_pixels(browser).mean(axis=-1)
    for index in range(3):
        tile = grey[:, index * grey.shape[1] // 3 : (index + 1) * grey.shape[1] // 3]
        rows, columns = (np.flatnonzero((tile > 0.2).mean(axis=axis) > 0.3) for axis in (1, 0))
        tile = tile[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        top, left = (n // 2 for n in tile.shape)
        quarters = [tile[:top, :left], tile[:top, left:], tile[top:, :left], tile[top:, left:]]
        quarters = [float(np.median(quarter)) for quarter in quarters]
        assert quarters[0] > 0.9 and max(quarters[1:]) < 0.5, (index, quarters)


def test_without_webgl2_it_says_so(browser, report):
    script = "HTMLCanvasElement.prototype.getContext = () => null"
    made = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    try:
        browser.open_file(report)
        browser.find_element(By.CSS_SELECTOR, "#viewer-box summary").click()
        said = browser.find_element(By.ID, "viewer-status")
        wait(browser, lambda _: "no WebGL2" in said.text)
        assert browser.complaints() == []
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", made)


def column(browser, table, number):
    """Text of a column's cells, a list a group of rows."""
    script = """return [...arguments[0].tBodies].map((body) => [...body.rows]
        .filter((row) => !row.classList.contains("group")).map((row) => row.cells[arguments[1]].textContent))"""
    return browser.execute_script(script, table, number)


def test_tables_sort_by_mouse_and_by_keyboard(page):
    table = page.find_element(By.CSS_SELECTOR, "#ratios table")
    headings = table.find_elements(By.CSS_SELECTOR, "thead th")
    names = [heading.text for heading in headings]
    dice, difference = names.index("Dice"), names.index("Dice minus real only")
    made = column(page, table, dice)
    headings[dice].find_element(By.TAG_NAME, "button").click()
    assert headings[dice].get_attribute("aria-sort") == "ascending"
    assert column(page, table, dice) == [sorted(group, key=float) for group in made], "within each region"
    assert made != column(page, table, dice)
    button = headings[dice].find_element(By.TAG_NAME, "button")
    button.send_keys(Keys.ENTER)
    assert headings[dice].get_attribute("aria-sort") == "descending"
    assert column(page, table, dice) == [sorted(group, key=float, reverse=True) for group in made]
    headings[difference].find_element(By.TAG_NAME, "button").send_keys(Keys.SPACE)
    assert headings[dice].get_attribute("aria-sort") is None
    for group in column(page, table, difference):
        assert group[-1] == "reference", "what is no number stays at the end"
        numbers = [float(cell.split()[0]) for cell in group[:-1]]
        assert numbers == sorted(numbers) and numbers[0] < 0 < numbers[-1]


def test_a_phone_shows_it_without_scrolling_sideways(page):
    page.resize(*PHONE, mobile=True)
    page.execute_script("for (const box of document.querySelectorAll('details')) box.open = true")
    wait(page, shown)
    name = "synthetic, of a_system_with_a_rather_long_name: SliceAug-00000-000"
    page.execute_script("document.querySelector('#viewer-case option').textContent = arguments[0]", name)
    width = page.execute_script("return [document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]")
    assert width == [PHONE[0]] * 3
    assert page.execute_script("return document.querySelector('#ratios .wide').scrollWidth") > PHONE[0]


CONTRAST = """
const light = (colour) => {
  const [r, g, b] = colour.map((part) => part / 255).map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const parts = (text) => text.match(/[\\d.]+/g).map(Number);
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = parts(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour.slice(0, 3);
  }
  return [255, 255, 255];
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const found = [];
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !element.checkVisibility() || element.closest("script")) continue;
  const [one, other] = [parts(getComputedStyle(element).color), behind(element)].map(light);
  found.push([(Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05), element.outerHTML.slice(0, 90)]);
}
return found;
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_by_day_and_by_night(page, theme):
    page.theme(theme)
    page.execute_script("for (const box of document.querySelectorAll('details')) box.open = true")
    found = page.execute_script(CONTRAST)
    assert len(found) > 200
    assert [text for ratio, text in found if ratio < 4.5] == []  # WCAG 2.2, success criterion 1.4.3
    paper = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (theme == "light")


def test_everything_is_reached_by_keyboard(page):
    page.find_element(By.CSS_SELECTOR, "#viewer-box summary").send_keys(Keys.ENTER)
    wait(page, shown)
    page.execute_script("document.querySelector('.skip').focus()")
    script = """return [...document.querySelectorAll("a, button, select, input, summary, canvas, [tabindex='0']")]
        .filter((element) => element.checkVisibility()).length"""
    expected, reached = page.execute_script(script), []
    where = """const at = document.activeElement, style = getComputedStyle(at);
        at.dataset.met = at.dataset.met || String(arguments[0]);
        return [at.tagName, at.dataset.met, style.outlineStyle, parseFloat(style.outlineWidth)]"""
    for step in range(expected + 5):
        tag, met, outline, width = page.execute_script(where, step)
        if tag == "BODY" or met != str(step):
            break
        assert outline != "none" and width >= 2, f"{tag} does not show that it has the focus"
        reached.append(tag)
        ActionChains(page).send_keys(Keys.TAB).perform()
    assert len(reached) == expected, "in a ring, and no trap on the way"
    assert reached[0] == "A" and {"BUTTON", "SELECT", "INPUT", "SUMMARY", "CANVAS"} <= set(reached)


def test_the_first_tab_skips_to_the_answer(page):
    ActionChains(page).send_keys(Keys.TAB).perform()
    link = page.switch_to.active_element
    assert link.text == "Skip to the answer" and link.rect["x"] >= 0
    link.send_keys(Keys.ENTER)
    assert page.execute_script("return document.activeElement.id") == "main"
