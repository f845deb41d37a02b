"use strict";
// Sorts the table by the column whose head is clicked; cells without a value stay at the end.
(() => {
  const table = document.getElementById("table");
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const count = document.getElementById("count");
  const summary = count.textContent;
  const opposite = { ascending: "descending", descending: "ascending" };

  function sortBy(head) {
    const order = opposite[head.getAttribute("aria-sort")] || head.dataset.first;
    const sign = order === "ascending" ? 1 : -1;
    const isText = head.dataset.kind === "text";
    const value = (row) => row.cells[head.cellIndex].dataset.value;
    const rows = [...body.rows].sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      if (isText) return sign * a.localeCompare(b, "en", { numeric: true });
      const [x, y] = [Number(a), Number(b)];
      return x === y ? 0 : sign * (x < y ? -1 : 1);
    });
    body.append(...rows);
    for (const other of heads) other.setAttribute("aria-sort", other === head ? order : "none");
    count.textContent = `${summary}; sorted by ${head.dataset.title}, ${order}`;
  }

  for (const head of heads) {
    head.querySelector("button").addEventListener("click", () => sortBy(head));
  }
})();
