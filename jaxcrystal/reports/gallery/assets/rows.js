// The rows: what is shown of them, and in which order. The state is kept in the address of the page.

const data = JSON.parse(document.getElementById("data").textContent);
const places = new Map(data.columns.map((column, place) => [column.key, place]));
const START = {
  view: "cards", words: "", formula: "", group: "", valid: false, unique: false, kept: false,
  sort: "", descending: false, open: "", frame: "",
};
const state = { ...START };
const collator = new Intl.Collator("en", { numeric: true });

function value(row, key) {
  return places.has(key) ? data.rows[row][places.get(key)] : null;
}

const rowOf = new Map(data.rows.map((_, row) => [value(row, "id"), row]));
const searched = data.rows.map((_, row) =>
  ["id", "formula", "letters"].map((key) => value(row, key) ?? "").join("\n").toLowerCase()
);

function passes(row, words) {
  if (!words.every((word) => searched[row].includes(word))) return false;
  if (state.formula && value(row, "formula") !== state.formula) return false;
  const groups = [value(row, "requested_group"), value(row, "found_group")];
  if (state.group && !groups.includes(Number(state.group))) return false;
  if (state.valid && value(row, "valid") !== true) return false;
  if (state.unique && value(row, "duplicate_of") !== null) return false;
  return !state.kept || value(row, "kept") === true;
}

/** Compares two values of a column; what is missing comes last, whichever the order. */
function compare(one, other, descending) {
  if (one === null || other === null) return Number(one === null) - Number(other === null);
  const order =
    typeof one === "string" ? collator.compare(one, other) : Number(one) - Number(other);
  return descending ? -order : order;
}

/** The rows that pass the filters, in order. */
function chosenRows() {
  const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = data.rows.map((_, row) => row).filter((row) => passes(row, words));
  if (places.has(state.sort))
    rows.sort((p, q) => compare(value(p, state.sort), value(q, state.sort), state.descending) || p - q);
  return rows;
}

/** Takes the state from the address: #view=table&sort=density&descending=1. */
function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [key, start] of Object.entries(START)) {
    const text = given.get(key);
    state[key] = text === null ? start : typeof start === "boolean" ? text === "1" : text;
  }
}

function writeAddress() {
  const given = new URLSearchParams();
  for (const [key, start] of Object.entries(START))
    if (state[key] !== start) given.set(key, state[key] === true ? "1" : state[key]);
  const address = `#${given}`;
  if (address !== (location.hash || "#")) history.replaceState(null, "", address);
}
