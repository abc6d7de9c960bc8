// The table, sorted by clicks on its headings.

const lineOf = new Map();

function showTable(rows) {
  const head = document.querySelector("#table thead");
  if (!head.firstChild) head.append(element("tr", {}, ...data.columns.map(heading)));
  for (const cell of head.querySelectorAll("th")) {
    const sorted = cell.dataset.key === state.sort;
    if (sorted) cell.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  }
  document.querySelector("#table tbody").replaceChildren(...rows.map(line));
}

function heading(column) {
  const button = element("button", { type: "button", title: column.title }, column.label);
  button.addEventListener("click", () => {
    const again = state.sort === column.key;
    change({ sort: column.key, descending: again && !state.descending });
  });
  return element("th", { scope: "col", class: column.kind, "data-key": column.key }, button);
}

function line(row) {
  if (lineOf.has(row)) return lineOf.get(row);
  const made = element("tr", { "data-id": value(row, "id") });
  for (const column of data.columns) {
    const given = value(row, column.key);
    let text = valueText(column, given, row);
    if (column.key === "id") {
      text = element("button", { type: "button", class: "link" }, text);
      if (data.errors[row]) made.title = data.errors[row];
    }
    made.append(element("td", { class: column.kind }, text));
  }
  // The button of the id is the way in for keys; a click anywhere on the line does the same.
  made.addEventListener("click", () => {
    if (!getSelection().toString()) openLarge(row);
  });
  if (value(row, "valid") === false) made.classList.add("not-valid");
  lineOf.set(row, made);
  return made;
}
