"""The report in a real browser, from a file and without network: it draws, sorts, and reads on a phone, at night, by keyboard."""

from __future__ import annotations

import pytest
from browser import PHONE, open_viewer, shown, wait
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys


def test_the_checks_see_a_request_and_an_error(browser, tmp_path):
    """What the next test says is only worth something if the browser tells of what it should not do."""
    (tmp_path / "bad.html").write_text("<img src='http://192.0.2.1/a.png'><script>nothing()</script>")
    browser.open_file(tmp_path / "bad.html")
    assert "http://192.0.2.1/a.png" in browser.requests()
    assert any("nothing is not defined" in line for line in browser.complaints())


def test_every_section_is_there_and_every_picture_is_drawn(page):
    ids = page.execute_script("return [...document.querySelectorAll('main > section')].map((section) => section.id)")
    assert ids == ["answer", "results", "exchange", "systems", "cases", "viewer", "images", "reconstruction", "control", "masks",
                   "memorisation", "compute", "cost", "gate", "cohort", "provenance"]  # fmt: skip
    widths = page.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert len(widths) == 5 and min(widths) > 400


def test_it_opens_from_a_file_and_asks_for_nothing_else(page, whole_report):
    assert "How much do synthetic cases help" in page.find_element(By.TAG_NAME, "h1").text
    open_viewer(page)
    assert page.requests() == [whole_report.resolve().as_uri()]
    assert page.complaints() == []


def column(browser, table, number):
    """Text of a column's cells, a list a group of rows."""
    script = """return [...arguments[0].tBodies].map((body) => [...body.rows]
        .filter((row) => !row.classList.contains("group")).map((row) => row.cells[arguments[1]].textContent))"""
    return browser.execute_script(script, table, number)


def test_tables_sort_by_mouse_and_by_keyboard(page):
    table = page.find_element(By.CSS_SELECTOR, "#results table")
    headings = table.find_elements(By.CSS_SELECTOR, "thead th")
    names = [heading.text for heading in headings]
    dice, difference = names.index("Dice"), names.index("minus real only")
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
        assert group[-1] == "-", "what is no number stays at the end"
        numbers = [float(cell.split()[0]) for cell in group[:-1]]
        assert numbers == sorted(numbers) and numbers[0] < 0 < numbers[-1]


SORT_ALL = """
const number = (text) => parseFloat(text.replaceAll(",", "").replace(/^[<>]\\s*/, ""));
const bad = [];
let count = 0;
for (const table of document.querySelectorAll("table")) {
  const rows = () => [...table.tBodies].map((body) => [...body.rows].filter((row) => !row.classList.contains("group")));
  const inWords = () => rows().map((group) => group.map((row) => row.textContent).sort().join()).join();
  const before = inWords();
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    heading.querySelector("button").click();
    const name = table.caption.textContent + ": " + heading.textContent;
    if (heading.ariaSort !== "ascending" || inWords() !== before) bad.push(name);
    if (!heading.classList.contains("number")) return;
    count += 1;
    for (const group of rows()) {
      const values = group.map((row) => number(row.cells[column].textContent.trim())).filter((value) => !isNaN(value));
      if (values.some((value, place) => place && value < values[place - 1])) bad.push(name);
    }
  });
}
return [count, bad];
"""


def test_every_table_sorts_by_every_column(page):
    count, bad = page.execute_script(SORT_ALL)
    assert count > 60 and bad == []
    assert page.complaints() == []


def test_run_yaml_is_saved_as_it_is_printed(page):
    link = page.find_element(By.CSS_SELECTOR, "a[download]")
    assert (link.text, link.get_attribute("download")) == ("run.yaml", "run.yaml")
    script = "return fetch(arguments[0].href).then((answer) => answer.text())"
    printed = page.execute_script("return document.querySelector('#provenance pre').textContent")
    assert page.execute_script(script, link) == printed and "run: demo" in printed


def test_a_phone_shows_it_without_scrolling_sideways(page):
    page.resize(*PHONE, mobile=True)
    page.execute_script("for (const box of document.querySelectorAll('details')) box.open = true")
    wait(page, shown)
    for table in page.find_elements(By.CSS_SELECTOR, "table.narrow"):
        box = page.execute_script(
            "return [arguments[0].parentNode.scrollWidth, arguments[0].parentNode.clientWidth]", table
        )
        assert box[0] == box[1], "the table that everybody reads fits"
    name = "synthetic, of a_system_with_a_rather_long_name: SliceAug-00000-000"
    page.execute_script("document.querySelector('#viewer-case option').textContent = arguments[0]", name)
    width = page.execute_script("return [document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]")
    assert width == [PHONE[0]] * 3
    assert page.execute_script("return document.querySelector('#systems .wide').scrollWidth") > PHONE[0]


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
