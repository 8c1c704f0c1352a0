"use strict";
// Long tables get a field that filters their rows. Tables that are wider than the
// window say that they scroll. Without this script a page only lacks the two.
for (const box of document.querySelectorAll(".scroll")) {
  const rows = [...box.querySelectorAll("tbody tr")];
  new ResizeObserver(() => box.classList.toggle("over", box.scrollWidth > box.clientWidth + 1)).observe(box);
  if (12 > rows.length) continue;
  const label = document.createElement("label"), input = document.createElement("input"), count = document.createElement("output");
  input.type = "search";
  input.setAttribute("aria-label", "Filter: " + box.getAttribute("aria-label"));
  label.className = "tools";
  label.append("Filter", input, count);
  box.before(label);
  const texts = rows.map(row => [...row.cells].map(cell => cell.textContent).join(" ").toLowerCase());
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(word => word);
    rows.forEach((row, i) => { row.hidden = !words.every(word => texts[i].includes(word)); });
    count.textContent = words.length ? rows.filter(row => !row.hidden).length + " of " + rows.length + " rows" : "";
  });
}
