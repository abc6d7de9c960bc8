// Texts as elements. Nothing of the data is ever taken for HTML.

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, text] of Object.entries(attributes)) made.setAttribute(key, text);
  made.append(...children);
  return made;
}

/** BaTiO3 with the number as an index. */
function formulaText(formula) {
  const made = element("span", { class: "formula" });
  for (const part of formula.split(/(\d+(?:\.\d+)?)/))
    if (part) made.append(/^\d/.test(part) ? element("sub", {}, part) : part);
  return made;
}

/** 194 P6₃/mmc; the bar of -3 stands above the number. */
function groupText(group) {
  if (group === 0) return element("span", { class: "group none" }, "none");
  const made = element("span", { class: "group" }, element("b", {}, String(group)), " ");
  const symbol = element("i");
  for (const part of (data.groups[group] ?? "").split(/(-\d|_\d)/))
    if (part.startsWith("-") && part.length > 1) symbol.append(element("span", { class: "over" }, part[1]));
    else if (part.startsWith("_") && part.length > 1) symbol.append(element("sub", {}, part[1]));
    else symbol.append(part);
  made.append(symbol);
  return made;
}

/** A value of a column; an id of another structure opens it. */
function valueText(column, given, row) {
  if (given === null) return element("span", { class: "none" }, column.kind === "id" ? "" : "–");
  if (column.kind === "formula") return formulaText(given);
  if (column.kind === "group") {
    const made = groupText(given);
    const asked = value(row, "requested_group");
    if (column.key === "found_group" && asked !== null && asked !== given) made.classList.add("other");
    return made;
  }
  if (column.kind === "bool") return element("span", { class: given ? "yes" : "no" }, given ? "yes" : "no");
  if (column.kind === "number") return given.toFixed(column.digits);
  if (column.kind === "id" && rowOf.has(given)) {
    const link = element("button", { type: "button", class: "link" }, given);
    link.addEventListener("click", (event) => {
      event.stopPropagation();
      openLarge(rowOf.get(given));
    });
    return link;
  }
  return String(given);
}

function legend(cell) {
  const made = element("span", { class: "elements" });
  for (const symbol of new Set(cell.elements.map(([name]) => name))) {
    const dot = element("span", { class: "dot" });
    dot.style.background = data.elements[symbol].color;
    made.append(element("span", { class: "element" }, dot, symbol));
  }
  return made;
}
