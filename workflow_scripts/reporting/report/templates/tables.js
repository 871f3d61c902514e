// Tables sort by their headings: a button in each, aria-sort on the column that is sorted. Without this they are plain.
"use strict";
(() => {
  // The leading number of a cell: "+0.021 [...]", "1,234", "2 of 16"; NaN where the cell is words.
  const numberOf = (text) => parseFloat(text.replaceAll(",", "").replace("\u2212", "-").replace(/^[<>]\s*/, ""));

  // Cells without a value, as "not measured", stay at the end either way.
  function compare(one, other, numbers, sign) {
    if (!numbers) return sign * one.localeCompare(other, "en", { numeric: true });
    const [left, right] = [numberOf(one), numberOf(other)];
    if (Number.isNaN(left) || Number.isNaN(right)) return Number.isNaN(left) - Number.isNaN(right);
    return sign * (left - right);
  }

  function sort(table, heading) {
    const column = [...heading.parentNode.children].indexOf(heading);
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
      const text = new Map(rows.map((row) => [row, row.cells[column].textContent.trim()]));
      const numbers = heading.classList.contains("number") && rows.some((row) => !Number.isNaN(numberOf(text.get(row))));
      rows.sort((one, other) => compare(text.get(one), text.get(other), numbers, sign));
      body.append(...rows);
    }
  }

  // On paper nothing opens on demand.
  addEventListener("beforeprint", () => {
    for (const box of document.querySelectorAll("details:not(#viewer-box)")) box.open = true;
  });

  for (const table of document.querySelectorAll("table")) {
    for (const heading of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(table, heading));
      heading.append(button);
    }
  }
})();
