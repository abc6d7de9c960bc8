// Crystals as things to draw. Lengths in Å; a runs along x, b lies in the xy plane.

const COORD_UNIT = 1e-4;
/** Atoms this near to a face, as a fraction of the edge, are drawn on the opposite face too. */
const NEAR_FACE = 0.02;
const BOND_RADII = 1.25;
const BOND_NEAREST = 1.3;
/** In cells with more atoms than this, neighbours are not looked for. */
const MAX_BONDED = 400;
/** Images of the cell that neighbours are looked for in, each way; cells flatter than that are wrecks. */
const MAX_IMAGES = 4;

/** Rows are the vectors of a cell of three lengths and three angles (degrees). */
function latticeOf([a, b, c, alpha, beta, gamma]) {
  const [ca, cb, cg] = [alpha, beta, gamma].map((angle) => Math.cos((angle * Math.PI) / 180));
  const sg = Math.sqrt(Math.max(1 - cg * cg, 1e-12));
  const y = (ca - cb * cg) / sg;
  return [
    [a, 0, 0],
    [b * cg, b * sg, 0],
    [c * cb, c * y, c * Math.sqrt(Math.max(1 - cb * cb - y * y, 0))],
  ];
}

function toCartesian(lattice, [x, y, z]) {
  return [0, 1, 2].map((k) => x * lattice[0][k] + y * lattice[1][k] + z * lattice[2][k]);
}

function cross(u, v) {
  return [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
}

function dot(u, v) {
  return u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
}

/** Distances between opposite faces. */
function heightsOf(lattice) {
  const volume = Math.abs(dot(lattice[0], cross(lattice[1], lattice[2])));
  return [0, 1, 2].map((k) => volume / Math.hypot(...cross(lattice[(k + 1) % 3], lattice[(k + 2) % 3])));
}

/** Unpacks a cell: symbols, and fractional coordinates from just below 0 to just below 1. */
function unpack(cell) {
  const symbols = cell.elements.flatMap(([symbol, count]) => Array(count).fill(symbol));
  const frac = symbols.map((_, atom) =>
    [0, 1, 2].map((k) => {
      const x = cell.coords[3 * atom + k] * COORD_UNIT;
      return x > 1 - NEAR_FACE ? x - 1 : x;
    })
  );
  return { symbols, frac, lattice: latticeOf(cell.lattice) };
}

/** For every atom its neighbours in the infinite crystal, nearest first: {atom, shift, distance}. */
function findNeighbors({ symbols, frac, lattice }) {
  const radii = symbols.map((symbol) => data.elements[symbol].radius);
  const found = symbols.map(() => []);
  if (symbols.length > MAX_BONDED) return found;
  const reach = 2 * BOND_RADII * Math.max(...radii);
  const images = heightsOf(lattice).map((height) => Math.min(Math.floor(reach / height + 0.5), MAX_IMAGES));
  const shifts = [];
  for (let i = -images[0]; i <= images[0]; i++)
    for (let j = -images[1]; j <= images[1]; j++)
      for (let k = -images[2]; k <= images[2]; k++) shifts.push([[i, j, k], toCartesian(lattice, [i, j, k])]);
  for (let p = 0; p < frac.length; p++)
    for (let q = p; q < frac.length; q++) {
      const whole = [0, 1, 2].map((k) => -Math.round(frac[q][k] - frac[p][k]));
      const [x, y, z] = toCartesian(lattice, [0, 1, 2].map((k) => frac[q][k] - frac[p][k] + whole[k]));
      for (const [shift, [sx, sy, sz]] of shifts) {
        const squared = (x + sx) ** 2 + (y + sy) ** 2 + (z + sz) ** 2;
        if (squared > reach * reach) continue;
        const steps = [0, 1, 2].map((k) => whole[k] + shift[k]);
        if (p === q && !steps.some((step) => step !== 0)) continue;
        const distance = Math.sqrt(squared);
        found[p].push({ atom: q, shift: steps, distance });
        if (p !== q) found[q].push({ atom: p, shift: steps.map((step) => -step), distance });
      }
    }
  for (const list of found) list.sort((u, v) => u.distance - v.distance);
  return found;
}

function isBond(radii, neighbors, p, { atom, distance }) {
  return (
    distance <= BOND_RADII * (radii[p] + radii[atom]) &&
    distance <= BOND_NEAREST * neighbors[p][0].distance &&
    distance <= BOND_NEAREST * neighbors[atom][0].distance
  );
}

/** The places of a coordinate in `repeat` cells, both outer faces included. */
function placesOf(x, repeat) {
  const places = [];
  for (let step = 0; x + step <= repeat + NEAR_FACE; step++) places.push(step);
  return places;
}

/**
 * Returns what is drawn of a cell: atoms, bonds and edges about the middle of the cell.
 * atoms: {symbol, atom, position, radius, ghost}; bonds: pairs of indices of atoms;
 * edges: pairs of positions, what lies inside atoms cut away; reach: radius of the sphere around all of it.
 */
function makeScene(cell, { repeat = 1, bonds = true, beyond = false } = {}) {
  const crystal = unpack(cell);
  const { symbols, frac, lattice } = crystal;
  const middle = toCartesian(lattice, [repeat / 2, repeat / 2, repeat / 2]);
  const neighbors = findNeighbors(crystal);
  const radii = symbols.map((symbol) => data.elements[symbol].radius);
  const atoms = [];
  const where = new Map();
  const place = (atom, step, ghost) => {
    const position = toCartesian(lattice, frac[atom].map((x, k) => x + step[k])).map((x, k) => x - middle[k]);
    where.set(`${atom},${step}`, atoms.length);
    atoms.push({ symbol: symbols[atom], atom, step, position, radius: 0.2 + 0.26 * radii[atom], ghost });
  };
  frac.forEach((x, atom) => {
    for (const i of placesOf(x[0], repeat))
      for (const j of placesOf(x[1], repeat))
        for (const k of placesOf(x[2], repeat)) place(atom, [i, j, k], false);
  });
  const pairs = [];
  const inside = atoms.length;
  for (let one = 0; bonds && one < inside; one++)
    for (const neighbor of neighbors[atoms[one].atom]) {
      if (!isBond(radii, neighbors, atoms[one].atom, neighbor)) continue;
      const step = neighbor.shift.map((x, k) => x + atoms[one].step[k]);
      const key = `${neighbor.atom},${step}`;
      if (!where.has(key) && beyond) place(neighbor.atom, step, true);
      const other = where.get(key);
      if (other !== undefined && (other > one || other >= inside)) pairs.push([one, other]);
    }
  const whole = edgesOf(lattice, repeat).map((ends) => ends.map((end) => end.map((x, k) => x - middle[k])));
  const edges = whole.flatMap((edge) => outsideOf(edge, atoms));
  const reach = Math.max(
    reachOf(cell, repeat),
    ...atoms.map((atom) => Math.hypot(...atom.position) + atom.radius)
  );
  return { atoms, bonds: pairs, edges, reach, lattice, neighbors, symbols, frac };
}

/** Radius of the sphere around the corners of a cell, or of several. */
function reachOf(cell, repeat) {
  const lattice = latticeOf(cell.lattice);
  const corners = [[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]];
  return Math.max(...corners.map((corner) => (repeat / 2) * Math.hypot(...toCartesian(lattice, corner))));
}

function edgesOf(lattice, repeat) {
  const edges = [];
  for (let axis = 0; axis < 3; axis++)
    for (let i = 0; i <= repeat; i++)
      for (let j = 0; j <= repeat; j++) {
        const start = [0, 0, 0];
        start[(axis + 1) % 3] = i;
        start[(axis + 2) % 3] = j;
        const end = [...start];
        end[axis] = repeat;
        edges.push([toCartesian(lattice, start), toCartesian(lattice, end)]);
      }
  return edges;
}

/** The parts of a line that lie in no atom, as pairs of ends: from within, they would cover their atom. */
function outsideOf([start, end], atoms) {
  const line = end.map((x, k) => x - start[k]);
  const length = Math.hypot(...line) || 1;
  const covered = [];
  for (const { position, radius } of atoms) {
    const offset = position.map((x, k) => x - start[k]);
    const foot = dot(offset, line) / length;
    const squared = radius * radius - (dot(offset, offset) - foot * foot);
    if (squared > 0) covered.push([(foot - Math.sqrt(squared)) / length, (foot + Math.sqrt(squared)) / length]);
  }
  covered.sort((one, other) => one[0] - other[0]);
  const at = (part) => start.map((x, k) => x + part * line[k]);
  const left = [];
  let from = 0;
  for (const [enter, leave] of [...covered, [1, 1]]) {
    if (enter > from) left.push([at(from), at(Math.min(enter, 1))]);
    from = Math.max(from, leave);
    if (from >= 1) break;
  }
  return left;
}
