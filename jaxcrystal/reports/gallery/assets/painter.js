// Draws a scene on a 2D canvas: far things first, spheres from shaded pictures of them.

const FOG_LEVELS = 5;
const FOG = 0.45;
const BOND_RADIUS = 0.1;
/** Pieces that an edge of the cell is cut into, so that atoms hide the right part of it. */
const EDGE_PIECES = 10;
const AXIS_COLORS = ["#d64545", "#3d9a50", "#4178d4"];

const spheres = new Map();
const theme = { background: [255, 255, 255], line: [0, 0, 0], text: "#000" };

/** Reads the colours of the page; called again when it turns dark or light. */
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  theme.background = parseColor(style.getPropertyValue("--panel").trim());
  theme.line = parseColor(style.getPropertyValue("--edge").trim());
  theme.text = style.getPropertyValue("--text").trim();
  spheres.clear();
}

function parseColor(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

function mix(color, other, share) {
  return color.map((x, k) => Math.round(x + (other[k] - x) * share));
}

function css(color) {
  return `rgb(${color.join(",")})`;
}

/** Returns a picture of a sphere, at least `pixels` wide; nearly all are found ready. */
function sphere(symbol, fog, pixels) {
  const size = pixels <= 32 ? 32 : pixels <= 64 ? 64 : pixels <= 128 ? 128 : 256;
  const key = `${symbol} ${fog} ${size}`;
  if (spheres.has(key)) return spheres.get(key);
  const picture = document.createElement("canvas");
  picture.width = picture.height = size;
  const pen = picture.getContext("2d");
  const color = parseColor(data.elements[symbol].color);
  const far = (shade) => css(mix(shade, theme.background, (FOG * fog) / (FOG_LEVELS - 1)));
  const half = size / 2;
  const light = pen.createRadialGradient(0.68 * half, 0.6 * half, 0.05 * half, 0.9 * half, 0.86 * half, 1.12 * half);
  light.addColorStop(0, far(mix(color, [255, 255, 255], 0.8)));
  light.addColorStop(0.25, far(mix(color, [255, 255, 255], 0.25)));
  light.addColorStop(0.55, far(color));
  light.addColorStop(1, far(mix(color, [0, 0, 0], 0.55)));
  pen.fillStyle = light;
  pen.beginPath();
  pen.arc(half, half, half - size / 64, 0, 2 * Math.PI); // room for its outline
  pen.fill();
  pen.strokeStyle = far(mix(color, [0, 0, 0], 0.6));
  pen.lineWidth = size / 64;
  pen.stroke();
  spheres.set(key, picture);
  return picture;
}

/**
 * Paints a scene.
 *   rotation: 3x3, rows are right, up and towards the viewer in Cartesian coordinates of the crystal;
 *   reach: Å from the middle that fit on the canvas at a zoom of 1.
 * Returns the atoms where they were drawn, nearest last: {index, x, y, radius}, in pixels of the page.
 */
function paint(canvas, scene, { rotation, zoom, reach, axes }) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const scale = (zoom * 0.96 * Math.min(width, height)) / (2 * reach);
  const project = (point) => [
    width / 2 + scale * dot(rotation[0], point),
    height / 2 - scale * dot(rotation[1], point),
    dot(rotation[2], point),
  ];
  const fogOf = (depth) => Math.min(Math.max((reach - depth) / (2 * reach), 0), 1);
  const drawn = [];
  const things = [];
  const ends = scene.atoms.map((atom, index) => {
    const [x, y, depth] = project(atom.position);
    const radius = scale * atom.radius * (atom.ghost ? 0.8 : 1);
    things.push({
      depth,
      draw: () => {
        const picture = sphere(atom.symbol, Math.round(fogOf(depth) * (FOG_LEVELS - 1)), 2 * radius * ratio);
        pen.globalAlpha = atom.ghost ? 0.55 : 1;
        pen.drawImage(picture, x - radius, y - radius, 2 * radius, 2 * radius);
        pen.globalAlpha = 1;
        drawn.push({ index, x, y, radius });
      },
    });
    return [x, y, depth];
  });
  for (const [one, other] of scene.bonds) {
    const middle = ends[one].map((x, k) => (x + ends[other][k]) / 2);
    things.push(halfBond(pen, scene.atoms[one], ends[one], middle, scale, fogOf));
    things.push(halfBond(pen, scene.atoms[other], ends[other], middle, scale, fogOf));
  }
  for (const edge of scene.edges) things.push(...edgePieces(pen, project(edge[0]), project(edge[1]), fogOf));
  things.sort((one, other) => one.depth - other.depth);
  for (const thing of things) thing.draw();
  if (axes) paintAxes(pen, scene.lattice, rotation, height);
  return drawn;
}

function halfBond(pen, atom, from, to, scale, fogOf) {
  // Bonds begin at the surface: from the centre, those towards the viewer would cover their atom.
  const [dx, dy, dz] = [to[0] - from[0], to[1] - from[1], (to[2] - from[2]) * scale];
  const length = Math.hypot(dx, dy, dz) || 1;
  const skip = Math.min((0.92 * atom.radius * scale) / length, 1);
  const start = [from[0] + skip * dx, from[1] + skip * dy];
  const depth = from[2] + ((1 + skip) / 2) * (to[2] - from[2]);
  const width = 2 * BOND_RADIUS * scale * (atom.ghost ? 0.8 : 1);
  const color = mix(parseColor(data.elements[atom.symbol].color), theme.background, FOG * fogOf(depth));
  const draw = () => {
    for (const [share, shade] of [
      [1, mix(color, [0, 0, 0], 0.45)],
      [0.72, mix(color, [0, 0, 0], 0.12)],
      [0.3, mix(color, [255, 255, 255], 0.4)],
    ]) {
      pen.strokeStyle = css(shade);
      pen.lineWidth = share * width;
      pen.beginPath();
      pen.moveTo(...start);
      pen.lineTo(to[0], to[1]);
      pen.stroke();
    }
  };
  return { depth, draw };
}

function edgePieces(pen, from, to, fogOf) {
  return Array.from({ length: EDGE_PIECES }, (_, piece) => {
    const at = (part) => from.map((x, k) => x + ((to[k] - x) * part) / EDGE_PIECES);
    const [start, end] = [at(piece), at(piece + 1)];
    const depth = (start[2] + end[2]) / 2;
    const draw = () => {
      pen.strokeStyle = css(mix(theme.line, theme.background, 0.8 * fogOf(depth)));
      pen.lineWidth = 1.1;
      pen.beginPath();
      pen.moveTo(start[0], start[1]);
      pen.lineTo(end[0], end[1]);
      pen.stroke();
    };
    return { depth, draw };
  });
}

/** Arrows of the three vectors in the lower left corner, the nearest to the viewer last. */
function paintAxes(pen, lattice, rotation, height) {
  const [x, y, size] = [44, height - 44, 28];
  const arrows = lattice.map((vector, k) => {
    const length = Math.hypot(...vector) || 1;
    return { k, end: rotation.map((row) => dot(row, vector) / length) };
  });
  arrows.sort((one, other) => one.end[2] - other.end[2]);
  for (const { k, end } of arrows) {
    pen.strokeStyle = pen.fillStyle = AXIS_COLORS[k];
    pen.lineWidth = 2.5;
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x + size * end[0], y - size * end[1]);
    pen.stroke();
    pen.font = "italic 600 14px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.fillText("abc"[k], x + (size + 10) * end[0], y - (size + 10) * end[1]);
  }
}
