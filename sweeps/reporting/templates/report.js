"use strict";
// A click on a heading sorts its table; a second click sorts the other way.
function sortTable(table, column, falling) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const key = (row) => {
    const cell = row.cells[column];
    const order = cell.dataset.order;
    return order === undefined ? cell.textContent : Number(order);
  };
  const compare = (a, b) => {
    const x = key(a), y = key(b);
    // An empty cell goes last, whichever way.
    if (x === "" || y === "") return (x === "") - (y === "");
    const least = typeof x === "number" && typeof y === "number"
      ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
    return falling ? -least : least;
  };
  body.append(...[...body.rows].sort(compare));
  headings.forEach((other) => other.removeAttribute("aria-sort"));
  headings[column].setAttribute("aria-sort", falling ? "descending" : "ascending");
}
document.addEventListener("click", (event) => {
  const heading = event.target.closest("table.sortable thead th");
  if (heading === null) return;
  const falling = heading.getAttribute("aria-sort") === "ascending";
  sortTable(heading.closest("table"), heading.cellIndex, falling);
});
