// The large view of one structure: its cell, its data, and its denoising.

const FRAME_MS = 160;
const large = document.getElementById("large");
const stage = new Viewer(document.getElementById("stage"), { axes: true });
let opened = null;
let cells = [];
let scenes = [];
let reach = 1;
let timer = 0;

/** Cells of the denoising, noise first and the structure itself last; null if there is none. */
function framesOf(row) {
  const id = value(row, "id");
  return Object.hasOwn(data.frames, id) ? [...data.frames[id], data.cells[row]].filter(Boolean) : null;
}

function openLarge(row) {
  change({ open: String(row), frame: "" });
}

/** Brings the dialog to what the state says; called whenever that changes. */
function showLarge(rows) {
  const row = state.open === "" ? -1 : Number(state.open);
  if (!Object.hasOwn(data.rows, row)) {
    stop();
    if (large.open) large.close();
    opened = null;
    return;
  }
  if (!large.open) large.showModal();
  if (row !== opened) {
    stop();
    opened = row;
    stage.home();
    describe(row);
    rebuild();
  } else showFrame();
  const place = rows.indexOf(row);
  document.getElementById("previous").disabled = place <= 0;
  document.getElementById("next").disabled = place < 0 || place === rows.length - 1;
}

function checked(id) {
  return document.getElementById(id).checked;
}

/** Takes the cell, or all frames, anew; they are drawn to one scale. */
function rebuild() {
  cells = framesOf(opened) ?? [data.cells[opened]].filter(Boolean);
  scenes = cells.map(() => null);
  const last = cells.length - 1;
  document.getElementById("frame").max = Math.max(last, 0);
  document.getElementById("player").hidden = last < 1;
  document.getElementById("stage").hidden = last < 0;
  if (last >= 0) reach = Math.max(sceneOf(last).reach, ...cells.map((cell) => reachOf(cell, repeats())));
  showFrame();
}

function repeats() {
  return checked("double") ? 2 : 1;
}

/** The scene of a frame, made when it is first looked at: noise can have hundreds of atoms. */
function sceneOf(frame) {
  const options = { repeat: repeats(), bonds: checked("bonds"), beyond: checked("beyond") };
  return (scenes[frame] ??= makeScene(cells[frame], options));
}

function frameShown() {
  const last = cells.length - 1;
  return state.frame === "" ? last : Math.min(Math.max(Math.trunc(Number(state.frame)) || 0, 0), last);
}

function showFrame() {
  if (!cells.length) return;
  const frame = frameShown();
  stage.show(sceneOf(frame), reach);
  document.getElementById("under").textContent = "";
  if (cells.length < 2) return;
  document.getElementById("frame").value = frame;
  const last = frame === cells.length - 1;
  const [a, b, c] = cells[frame].lattice.map((length) => length.toFixed(2));
  document.getElementById("frame-text").textContent =
    (last ? "finished structure" : `frame ${frame + 1} of ${cells.length - 1}`) + ` · ${a} × ${b} × ${c} Å`;
}

function play() {
  if (timer) return stop();
  if (frameShown() === cells.length - 1) change({ frame: "0" });
  timer = setInterval(() => {
    const next = frameShown() + 1;
    change({ frame: next >= cells.length - 1 ? "" : String(next) });
    if (next >= cells.length - 1) stop();
  }, FRAME_MS);
  document.getElementById("play").textContent = "❚❚";
}

function stop() {
  clearInterval(timer);
  timer = 0;
  document.getElementById("play").textContent = "▶";
}

function describe(row) {
  const [cell, formula] = [data.cells[row], value(row, "formula")];
  document.getElementById("large-title").replaceChildren(
    formula ? formulaText(formula) : "no structure",
    element("span", { class: "id" }, value(row, "id"))
  );
  document.getElementById("stage").setAttribute("aria-label", `Cell of ${formula ?? ""}; arrow keys turn it`);
  document.getElementById("stage-legend").replaceChildren(...(cell ? [legend(cell)] : []));
  const facts = document.getElementById("facts");
  facts.replaceChildren();
  const fact = (name, text, title = "") => facts.append(element("dt", { title }, name), element("dd", {}, text));
  for (const column of data.columns) {
    const given = value(row, column.key);
    if (given !== null && column.key !== "formula") fact(column.label, valueText(column, given, row), column.title);
  }
  if (cell) {
    const [a, b, c, alpha, beta, gamma] = cell.lattice;
    fact("a, b, c, Å", [a, b, c].map((x) => x.toFixed(4)).join("  "), "edges of the conventional cell");
    fact("α, β, γ, °", [alpha, beta, gamma].map((x) => x.toFixed(2)).join("  "), "angles of the conventional cell");
    const counts = new Map();
    for (const [symbol, count] of cell.elements) counts.set(symbol, (counts.get(symbol) ?? 0) + count);
    fact("in the cell", [...counts].map(([symbol, count]) => `${count} ${symbol}`).join(", "));
  }
  for (const [name, text] of Object.entries(data.more[row])) fact(name, text);
  if (data.errors[row]) fact("error", data.errors[row]);
}

/** What is near an atom: O at 0.5 0.5 0 · Ti 2.01 ×2, Ba 2.84 ×4. */
function neighborhood({ symbol, atom }) {
  const scene = stage.scene;
  const place = scene.frac[atom].map((x) => String(Number(((x + 1) % 1).toFixed(4)))).join(" ");
  const shells = [];
  for (const neighbor of scene.neighbors[atom]) {
    const name = scene.symbols[neighbor.atom];
    const shell = shells.find((s) => s.name === name && Math.abs(s.distance - neighbor.distance) < 0.01);
    if (shell) shell.count++;
    else shells.push({ name, distance: neighbor.distance, count: 1 });
  }
  const first = shells.slice(0, 5).map((s) => `${s.name} ${s.distance.toFixed(2)} Å ×${s.count}`);
  return `${symbol} at ${place}${first.length ? " · " : ""}${first.join(", ")}`;
}

function step(by) {
  const rows = chosenRows();
  const next = rows[rows.indexOf(opened) + by];
  if (next !== undefined && rows.includes(opened)) openLarge(next);
}

function savePicture() {
  const link = element("a", { download: `${value(opened, "id").replace(/[^\w.-]+/g, "_")}.png` });
  document.getElementById("stage").toBlob((blob) => {
    link.href = URL.createObjectURL(blob);
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

function wireLarge() {
  const on = (id, name, listener) => document.getElementById(id).addEventListener(name, listener);
  stage.takeKeys();
  const close = () => state.open && change({ open: "", frame: "" });
  large.addEventListener("close", close); // by Esc, say
  large.addEventListener("click", (event) => event.target === large && close());
  large.addEventListener("keydown", (event) => {
    if (event.key !== "PageUp" && event.key !== "PageDown") return;
    event.preventDefault();
    step(event.key === "PageUp" ? -1 : 1);
  });
  on("close", "click", close);
  on("previous", "click", () => step(-1));
  on("next", "click", () => step(1));
  on("home", "click", () => stage.home());
  on("nearer", "click", () => stage.zoomBy(ZOOM_STEP));
  on("farther", "click", () => stage.zoomBy(1 / ZOOM_STEP));
  on("picture", "click", savePicture);
  on("play", "click", play);
  on("frame", "input", (event) => {
    stop();
    const last = cells.length - 1;
    change({ frame: Number(event.target.value) === last ? "" : event.target.value });
  });
  for (const id of ["bonds", "beyond", "double"]) on(id, "change", rebuild);
  for (const button of document.querySelectorAll("[data-axis]"))
    button.addEventListener("click", () => stage.lookAlong(Number(button.dataset.axis)));
  on("stage", "pointermove", (event) => {
    if (event.buttons) return;
    const atom = stage.atomAt(event.offsetX, event.offsetY);
    document.getElementById("under").textContent = atom ? neighborhood(atom) : "";
  });
}
