// Lines that are on the page: which can be seen, which one has the focus, from one to the next.

const results = () => document.getElementById("results");

/** The lines that can be seen: those of closed folds cannot. */
export function seenRows() {
  return [...results().querySelectorAll("tr.line")].filter((row) => row.closest("details")?.open ?? true);
}

/** The line of an occurrence, or null. */
export function rowOf(id) {
  return document.querySelector(`tr.line[data-id="${id}"]`);
}

/** The line that has the focus, or whose details have it; null for none. */
export function currentRow() {
  const row = document.activeElement.closest("tr");
  if (!row || !results().contains(row)) return null;
  return row.classList.contains("detail") ? row.previousElementSibling : row;
}

/** Focus a line. */
export function goTo(row) {
  row.lineOf.button.focus();
  row.scrollIntoView({ block: "nearest" });
}

/**
 * Remember which line has the focus and which are open; the function that is returned puts both back
 * on the lines that came in their place.
 */
export function keepPlace() {
  const focused = currentRow()?.dataset.id;
  const open = [...results().querySelectorAll("tr.line.open")].map((row) => row.dataset.id);
  return () => {
    for (const id of open) rowOf(id)?.toggle(true);
    if (focused === undefined) return;
    const row = rowOf(focused);
    if (row) goTo(row);
    else document.getElementById("results-title").focus();
  };
}

/** Go some lines down, or up; from nowhere to the first, or the last. */
export function step(by) {
  const rows = seenRows();
  const current = currentRow();
  const at = current ? rows.indexOf(current) + by : by > 0 ? 0 : rows.length - 1;
  const row = rows[Math.max(0, Math.min(rows.length - 1, at))];
  if (row) goTo(row);
}
