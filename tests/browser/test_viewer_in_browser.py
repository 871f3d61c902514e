"""The viewer of the report in a real browser: it draws volumes and masks, scrolls, and says where it cannot."""

from __future__ import annotations

import json

import numpy as np
from browser import DESKTOP, canvas_pixels, open_viewer, shown, wait
from report_files import write_report
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from workflow_scripts.reporting.report.viewer_volumes import ViewedCase, pack


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
    Select(page.find_element(By.ID, "viewer-modality")).select_by_visible_text("t1c")
    wait(page, lambda browser: shown(browser) == "0 t1c")
    pictures.append(canvas_pixels(page))
    cases.select_by_index(3)
    wait(page, lambda browser: shown(browser) == "3 t1c")
    pictures.append(canvas_pixels(page))
    assert names[3] in page.find_element(By.ID, "viewer-status").text
    for one, other in ((0, 1), (1, 2)):
        assert (np.abs(pictures[one] - pictures[other]).max(axis=-1) > 0.05).mean() > 0.05


def test_right_is_left_and_front_is_up_as_in_the_figures(browser, whole_run, tmp_path):
    """Bright in the patient's right, anterior, superior eighth: in each view at the top left."""
    image = np.full((24, 24, 24), 90, dtype=np.uint8)  # depth up, height to anterior, width to the patient's right
    image[12:, 12:, 12:] = 255
    affine = np.diag([4.0, 4, 4, 1])
    case = ViewedCase("SliceAug-00000-000", "synthetic", "slice_ldm", {"t1c": image}, np.zeros_like(image), affine)
    packed = {"n_real": 3, "modalities": ["t1c"], "regions": ["whole_tumor"], "viewer_megabytes": 1}
    (tmp_path / "viewer.json").write_text(json.dumps(packed | pack([case], 10**6)))
    browser.resize(*DESKTOP)
    write_report(whole_run, "--viewer", str(tmp_path / "viewer.json"), "--out", str(tmp_path / "report.html"))
    browser.open_file(tmp_path / "report.html")
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


def test_without_webgl2_it_says_so(browser, whole_report):
    script = "HTMLCanvasElement.prototype.getContext = () => null"
    made = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    try:
        browser.open_file(whole_report)
        browser.find_element(By.CSS_SELECTOR, "#viewer-box summary").click()
        said = browser.find_element(By.ID, "viewer-status")
        wait(browser, lambda _: "no WebGL2" in said.text)
        assert browser.complaints() == []
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", made)
