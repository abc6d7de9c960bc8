// A card for each structure. Only those on the screen have a canvas.

/** Figures below the formula, those that there are: key, unit, digits. */
const FACTS = [
  ["e_above_hull", "eV/atom above the hull", 3], ["lowest_frequency", "THz lowest", 2],
  ["shortest_distance", "Å", 2], ["volume_per_atom", "Å³/atom", 2],
];
const cardOf = new Map();
const cardViewers = new Map();
const rotations = new Map();
const near = new IntersectionObserver(
  (changes) => {
    for (const { target, isIntersecting } of changes) {
      if (isIntersecting) fill(target);
      else empty(target);
    }
  },
  { rootMargin: "300px" }
);
let cardsDrawn = 0;

function showCards(rows) {
  const box = document.getElementById("cards");
  for (const card of box.children) if (cardViewers.has(card)) empty(card);
  near.disconnect();
  box.replaceChildren(...rows.map(card));
  for (const shown of box.children) near.observe(shown);
}

function hideCards() {
  near.disconnect();
  for (const shown of [...cardViewers.keys()]) empty(shown);
}

function card(row) {
  if (cardOf.has(row)) return cardOf.get(row);
  const cell = data.cells[row];
  const formula = value(row, "formula");
  const name = element("button", { type: "button", class: "link name" }, formula ? formulaText(formula) : "no structure");
  name.setAttribute("aria-label", `Enlarge ${formula ?? ""} ${value(row, "id")}`);
  name.addEventListener("click", () => openLarge(row));
  const made = element("article", { class: "card" }, element("div", { class: "window" }));
  const group = value(row, "requested_group") ?? value(row, "found_group");
  made.append(element("div", { class: "head" }, name, group === null ? "" : groupText(group)));
  const facts = [];
  for (const [key, unit, digits] of FACTS) {
    const number = value(row, key);
    if (number !== null) facts.push(`${number.toFixed(digits)} ${unit}`);
  }
  made.append(element("div", { class: "figures" }, cell ? legend(cell) : "", element("span", {}, facts.join(" · "))));
  made.append(element("div", { class: "id", title: value(row, "id") }, value(row, "id")));
  made.append(marks(row));
  made.row = row;
  cardOf.set(row, made);
  return made;
}

/** What stands out: not valid, another group than asked for, a duplicate, flags, frames. */
function marks(row) {
  const made = element("div", { class: "marks" });
  const mark = (kind, text) => made.append(element("span", { class: `mark ${kind}` }, text));
  if (value(row, "valid") === false) mark("bad", "not valid");
  const [asked, found] = [value(row, "requested_group"), value(row, "found_group")];
  if (asked !== null && found !== null && asked !== found) mark("odd", found ? `found ${found}` : "no group found");
  if (value(row, "duplicate_of") !== null) mark("odd", "duplicate");
  if (value(row, "known_as") !== null) mark("plain", "known");
  if (value(row, "flags") !== null) mark("odd", value(row, "flags"));
  if (framesOf(row)) mark("plain", "▶ denoising");
  return made;
}

function fill(shown) {
  const { row } = shown;
  if (cardViewers.has(shown)) return;
  const box = shown.querySelector(".window");
  if (!data.cells[row]) {
    box.replaceChildren(element("p", { class: "error" }, data.errors[row]));
    return;
  }
  const canvas = element("canvas", { "aria-hidden": "true", title: "drag to turn, click to enlarge" });
  box.replaceChildren(canvas);
  const viewer = new Viewer(canvas, {
    onclick: () => openLarge(row),
    onpaint: () => rotations.set(row, viewer.rotation),
  });
  if (rotations.has(row)) viewer.rotation = rotations.get(row);
  viewer.show(makeScene(data.cells[row]));
  cardViewers.set(shown, viewer);
  document.documentElement.dataset.drawn = String(++cardsDrawn);
}

function empty(shown) {
  cardViewers.delete(shown);
  shown.querySelector(".window").replaceChildren();
}
