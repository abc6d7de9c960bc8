// A canvas that shows a scene and can be turned: by dragging, touching, keys and buttons.

/** Rows: b to the right, c up, a towards the viewer; then a little from the left and from above. */
const HOME = turned(turned([[0, 1, 0], [0, 0, 1], [1, 0, 0]], 1, 0.4), 0, 0.24);
const TURN_PER_PIXEL = 0.011;
const KEY_TURN = 0.12;
const ZOOM_STEP = 1.2;
const ZOOM_RANGE = [0.3, 8];

/** Turns a rotation about an axis of the screen (0: to the right, 1: up), radians. */
function turned(rotation, axis, angle) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const turn = axis === 0 ? [[1, 0, 0], [0, c, -s], [0, s, c]] : [[c, 0, s], [0, 1, 0], [-s, 0, c]];
  return turn.map((row) => [0, 1, 2].map((k) => row.reduce((sum, x, j) => sum + x * rotation[j][k], 0)));
}

/** The rotation that looks along a lattice vector from its end, the next but one vector up. */
function along(lattice, axis) {
  const unit = (v) => v.map((x) => x / (Math.hypot(...v) || 1));
  const towards = unit(lattice[axis]);
  const other = lattice[axis === 2 ? 1 : 2];
  const up = unit(other.map((x, k) => x - dot(other, towards) * towards[k]));
  return [cross(up, towards), up, towards];
}

class Viewer {
  /** onclick: called for a press without a drag; options: {axes, wheel}. */
  constructor(canvas, { axes = false, onclick = null, onpaint = null } = {}) {
    this.canvas = canvas;
    this.axes = axes;
    this.onpaint = onpaint;
    this.onclick = onclick;
    this.scene = null;
    this.reach = 1;
    this.drawn = [];
    this.waiting = 0;
    this.home();
    canvas.addEventListener("pointerdown", (event) => this.press(event));
  }

  show(scene, reach = scene.reach) {
    this.scene = scene;
    this.reach = reach;
    this.repaint();
  }

  home() {
    this.rotation = HOME;
    this.zoom = 1;
    this.repaint();
  }

  lookAlong(axis) {
    if (this.scene) this.rotation = along(this.scene.lattice, axis);
    this.repaint();
  }

  turn(right, up) {
    this.rotation = turned(turned(this.rotation, 1, right), 0, up);
    this.repaint();
  }

  zoomBy(factor) {
    this.zoom = Math.min(Math.max(this.zoom * factor, ZOOM_RANGE[0]), ZOOM_RANGE[1]);
    this.repaint();
  }

  /** Paints at the next frame of the screen, once however often it is asked to. */
  repaint() {
    if (!this.waiting && this.scene) this.waiting = requestAnimationFrame(() => this.paint());
  }

  paint() {
    this.waiting = 0;
    if (!this.scene || !this.canvas.clientWidth) return;
    this.drawn = paint(this.canvas, this.scene, this);
    if (this.onpaint) this.onpaint();
  }

  /** The atom at a point of the canvas, if any. */
  atomAt(x, y) {
    const hit = this.drawn.findLast((atom) => Math.hypot(atom.x - x, atom.y - y) <= atom.radius);
    return hit && this.scene ? this.scene.atoms[hit.index] : null;
  }

  press(event) {
    if (event.button !== 0) return;
    const start = [event.clientX, event.clientY];
    let [last, moved] = [start, false];
    const move = (next) => {
      if (next.pointerId !== event.pointerId) return;
      const point = [next.clientX, next.clientY];
      moved ||= Math.hypot(point[0] - start[0], point[1] - start[1]) > 4;
      if (moved) this.turn((point[0] - last[0]) * TURN_PER_PIXEL, (point[1] - last[1]) * TURN_PER_PIXEL);
      last = point;
    };
    const end = (next) => {
      if (next.pointerId !== event.pointerId) return;
      for (const [name, listener] of listeners) window.removeEventListener(name, listener);
      if (next.type === "pointerup" && !moved && this.onclick) this.onclick(next);
    };
    const listeners = [["pointermove", move], ["pointerup", end], ["pointercancel", end]];
    for (const [name, listener] of listeners) window.addEventListener(name, listener);
  }

  /** Wheel and keys, for the one canvas that has the page to itself. */
  takeKeys() {
    this.canvas.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        this.zoomBy(Math.exp(-0.0025 * event.deltaY));
      },
      { passive: false }
    );
    const keys = {
      ArrowLeft: () => this.turn(-KEY_TURN, 0),
      ArrowRight: () => this.turn(KEY_TURN, 0),
      ArrowUp: () => this.turn(0, -KEY_TURN),
      ArrowDown: () => this.turn(0, KEY_TURN),
      "+": () => this.zoomBy(ZOOM_STEP),
      "=": () => this.zoomBy(ZOOM_STEP),
      "-": () => this.zoomBy(1 / ZOOM_STEP),
      0: () => this.home(),
    };
    this.canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
      event.preventDefault();
      keys[event.key]();
    });
  }
}
