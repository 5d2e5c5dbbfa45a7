// The map of a word's occurrences: a canvas of points, coloured as the lines are.

import { visible } from "./text.js";

const MARGIN = 14;
const REACH = 12;
const LABEL = 13;

/** Draws points, says which is pointed at, and shows one that is pointed at elsewhere. */
export class SenseMap {
  /** `said` shows a point in words; `pointed(point)` and `chosen(point)` tell the page. */
  constructor(canvas, said, { pointed, chosen }) {
    Object.assign(this, { canvas, said, pointed, chosen, points: [], current: null, picture: null });
    canvas.addEventListener("pointermove", (event) => this.#show(this.#near(event), true));
    canvas.addEventListener("pointerleave", () => this.#show(null, true));
    canvas.addEventListener("click", (event) => {
      const point = this.#near(event);
      if (point) chosen(point);
    });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /** Show other points: x, y, sense, vector_id, left, node, right. */
  fill(points, label) {
    this.points = points;
    // By x and then y: the arrow keys go from left to right.
    this.order = [...points].sort((a, b) => a.x - b.x || a.y - b.y);
    this.current = null;
    this.said.textContent = "";
    this.canvas.setAttribute("aria-label", label);
    this.#draw();
  }

  /** Ring the point of a line that is pointed at in the list; null for none. */
  point(vectorId) {
    this.#show(this.points.find((point) => point.vector_id === vectorId) ?? null, false);
  }

  #show(point, tell) {
    if (point === this.current) return;
    this.current = point;
    this.said.textContent = point ? visible(`${point.left}${point.node}${point.right} — ${point.doc_id}`) : "";
    if (tell) this.pointed(point);
    this.#ring();
  }

  #key(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter" && this.current) {
      event.preventDefault(); // or the button that is focused now would be pressed by the same key
      this.chosen(this.current);
    }
    if (!step || !this.points.length) return;
    event.preventDefault();
    const at = this.current ? this.order.indexOf(this.current) : step > 0 ? -1 : 0;
    this.#show(this.order[(at + step + this.order.length) % this.order.length], true);
  }

  #near(event) {
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = null;
    let least = REACH ** 2;
    for (const point of this.points) {
      const distance = (point.px - x) ** 2 + (point.py - y) ** 2;
      if (distance < least) [best, least] = [point, distance];
    }
    return best;
  }

  #place(width, height) {
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const { x, y } of this.points) {
      [left, right] = [Math.min(left, x), Math.max(right, x)];
      [low, high] = [Math.min(low, y), Math.max(high, y)];
    }
    for (const point of this.points) {
      point.px = MARGIN + ((point.x - left) / (right - left || 1)) * (width - 2 * MARGIN);
      point.py = height - MARGIN - ((point.y - low) / (high - low || 1)) * (height - 2 * MARGIN);
    }
  }

  get #size() {
    return this.points.length > 1500 ? 2.5 : 4;
  }

  /** Draw all points; they are kept as a picture, so that pointing at one need not draw the others. */
  #draw() {
    const { canvas } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    this.picture = new OffscreenCanvas(canvas.width, canvas.height);
    const pen = this.picture.getContext("2d");
    pen.scale(ratio, ratio);
    this.#place(width, height);
    const style = getComputedStyle(canvas);
    const colours = [1, 2, 3, 4, 5, 6].map((number) => style.getPropertyValue(`--point-${number}`));
    pen.globalAlpha = 0.75;
    for (const point of this.points) {
      pen.fillStyle = colours[(point.sense - 1) % colours.length];
      pen.beginPath();
      pen.arc(point.px, point.py, this.#size, 0, 2 * Math.PI);
      pen.fill();
    }
    this.#number(pen, style);
    this.#ring();
  }

  /** Write the number of each sense amid its points, where there are several. */
  #number(pen, style) {
    const senses = [...new Set(this.points.map((point) => point.sense))].sort();
    if (senses.length < 2) return;
    Object.assign(pen, { textAlign: "center", textBaseline: "middle", lineWidth: 2 });
    pen.font = `bold ${LABEL}px ${style.fontFamily}`;
    for (const sense of senses) {
      const mine = this.points.filter((point) => point.sense === sense);
      const [x, y] = [median(mine.map(({ px }) => px)), median(mine.map(({ py }) => py))];
      pen.beginPath();
      pen.arc(x, y, LABEL * 0.8, 0, 2 * Math.PI);
      pen.globalAlpha = 0.8; // points below stay in sight
      pen.fillStyle = style.backgroundColor;
      pen.fill();
      pen.globalAlpha = 1;
      pen.strokeStyle = pen.fillStyle = style.getPropertyValue(`--s${((sense - 1) % 6) + 1}`);
      pen.stroke();
      pen.fillText(String(sense), x, y + 1);
    }
  }

  /** Show the picture, and a ring around the point that is pointed at. */
  #ring() {
    if (!this.picture) return;
    const { canvas } = this;
    const pen = canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(this.picture, 0, 0);
    if (!this.current) return;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineWidth = 2.5;
    pen.beginPath();
    pen.arc(this.current.px, this.current.py, this.#size + 4, 0, 2 * Math.PI);
    pen.stroke();
  }
}

function median(numbers) {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
}
