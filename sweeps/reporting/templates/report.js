"use strict";
// A click on a heading sorts its table; a second click sorts the other way.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.addEventListener("click", () => {
      const falling = heading.getAttribute("aria-sort") === "ascending";
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
      heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
    });
  });
}
