// Brings the page to what the state says, whenever that changes.

let shownAs = "";

function change(changes) {
  Object.assign(state, changes);
  update();
}

function update() {
  writeAddress();
  const rows = chosenRows();
  const table = state.view === "table";
  // Opening a structure, or another frame of it, leaves the rows as they are.
  const { open, frame, ...filters } = state;
  if (JSON.stringify(filters) !== shownAs) {
    shownAs = JSON.stringify(filters);
    showControls(rows.length);
    document.getElementById("cards").hidden = table;
    document.getElementById("scroller").hidden = !table;
    document.getElementById("nothing").hidden = rows.length > 0;
    if (table) {
      hideCards();
      showTable(rows);
    } else showCards(rows);
  }
  showLarge(rows);
  document.documentElement.dataset.shown = String(rows.length);
}

function showControls(count) {
  const field = (id) => document.getElementById(id);
  field("show-cards").setAttribute("aria-pressed", String(state.view !== "table"));
  field("show-table").setAttribute("aria-pressed", String(state.view === "table"));
  if (field("words").value !== state.words) field("words").value = state.words;
  for (const key of ["formula", "group", "sort"]) field(key).value = state[key];
  field("only-valid").checked = state.valid;
  field("no-duplicates").checked = state.unique;
  field("only-kept").checked = state.kept;
  field("direction").textContent = state.descending ? "↓" : "↑";
  field("direction").disabled = !state.sort;
  field("count").textContent = `${count} of ${data.rows.length} shown`;
}

/** Options of a choice with the number of rows each has, commonest first. */
function options(id, everything, values, label) {
  const counts = new Map();
  for (const given of values.flat()) if (given !== null) counts.set(given, (counts.get(given) ?? 0) + 1);
  const sorted = [...counts].sort((p, q) => q[1] - p[1] || collator.compare(String(p[0]), String(q[0])));
  document.getElementById(id).append(
    element("option", { value: "" }, everything),
    ...sorted.map(([given, count]) => element("option", { value: given }, `${label(given)} (${count})`))
  );
}

function fillControls() {
  const all = data.rows.map((_, row) => row);
  options("formula", "every formula", all.map((row) => value(row, "formula")), (formula) => formula);
  const groupsOf = (row) => [...new Set([value(row, "requested_group"), value(row, "found_group")])];
  const label = (group) => `${group} ${data.groups[group]}`;
  options("group", "every group", all.map((row) => groupsOf(row).filter(Boolean)), label);
  document.getElementById("for-duplicates").hidden = !places.has("duplicate_of");
  document.getElementById("for-kept").hidden = !places.has("kept");
  document.getElementById("sort").append(
    element("option", { value: "" }, "given order"),
    ...data.columns.map((column) => element("option", { value: column.key }, column.label))
  );
}

function wireControls() {
  const on = (id, name, listener) => document.getElementById(id).addEventListener(name, listener);
  on("show-cards", "click", () => change({ view: "cards" }));
  on("show-table", "click", () => change({ view: "table" }));
  on("words", "input", (event) => change({ words: event.target.value }));
  for (const key of ["formula", "group", "sort"]) on(key, "change", (event) => change({ [key]: event.target.value }));
  on("only-valid", "change", (event) => change({ valid: event.target.checked }));
  on("no-duplicates", "change", (event) => change({ unique: event.target.checked }));
  on("only-kept", "change", (event) => change({ kept: event.target.checked }));
  on("direction", "click", () => change({ descending: !state.descending }));
  on("controls", "submit", (event) => event.preventDefault());
  on("controls", "reset", (event) => {
    event.preventDefault();
    change({ ...START, view: state.view });
  });
}

function showTotals() {
  const count = (test) => data.rows.filter((_, row) => test(row)).length;
  const several = (number, name) => `${number} ${name}${number === 1 ? "" : "s"}`;
  const parts = [several(data.rows.length, "structure")];
  if (data.leftOut) parts[0] = `the first ${data.rows.length} of ${several(data.rows.length + data.leftOut, "structure")}`;
  if (places.has("valid")) parts.push(`${count((row) => value(row, "valid") === true)} valid`);
  if (places.has("requested_group"))
    parts.push(`${count((row) => value(row, "requested_group") === value(row, "found_group"))} in the group asked for`);
  if (places.has("duplicate_of"))
    parts.push(several(count((row) => value(row, "duplicate_of") !== null), "duplicate"));
  if (places.has("kept")) parts.push(`${count((row) => value(row, "kept") === true)} kept`);
  document.getElementById("totals").textContent = parts.join(" · ");
  const denoisings = document.getElementById("denoisings");
  for (const id of Object.keys(data.frames)) {
    const button = element("button", { type: "button", class: "chip" }, `▶ ${id}`);
    button.addEventListener("click", () => {
      change({ open: String(rowOf.get(id)), frame: "0" });
      play();
    });
    denoisings.append(" ", button);
    denoisings.hidden = false;
  }
}

function repaintAll() {
  readTheme();
  stage.repaint();
  for (const viewer of cardViewers.values()) viewer.repaint();
}

const root = document.documentElement;
root.dataset.errors = "0";
window.addEventListener("error", (event) => {
  root.dataset.errors = String(Number(root.dataset.errors) + 1);
  const alarm = document.getElementById("alarm");
  alarm.hidden = false;
  alarm.textContent = `This page went wrong: ${event.message}`;
});
root.dataset.rows = String(data.rows.length);
root.dataset.drawn = "0";
readTheme();
fillControls();
wireControls();
wireLarge();
showTotals();
readAddress();
update();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaintAll);
window.addEventListener("resize", repaintAll);
window.addEventListener("hashchange", () => {
  readAddress();
  update();
});
root.dataset.ready = "1";
