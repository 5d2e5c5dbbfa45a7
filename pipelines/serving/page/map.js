// The map of a word's occurrences: a canvas of points, coloured as the lines are.

import { visible } from "./text.js";

const MARGIN = 14;
const REACH = 12;

/** Draws points, says which is pointed at, and shows one that is pointed at elsewhere. */
export class SenseMap {
  /** `said` shows a point in words; `pointed(point)` and `chosen(point)` tell the page. */
  constructor(canvas, said, { pointed, chosen }) {
    Object.assign(this, { canvas, said, pointed, chosen, points: [], current: null });
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
    this.#draw();
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
    const xs = this.points.map((point) => point.x);
    const ys = this.points.map((point) => point.y);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    for (const point of this.points) {
      point.px = MARGIN + ((point.x - left) / (right - left || 1)) * (width - 2 * MARGIN);
      point.py = height - MARGIN - ((point.y - low) / (high - low || 1)) * (height - 2 * MARGIN);
    }
  }

  #draw() {
    const { canvas } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    this.#place(width, height);
    const style = getComputedStyle(canvas);
    const size = this.points.length > 1500 ? 2.5 : 4;
    pen.globalAlpha = 0.75;
    for (const point of this.points) {
      pen.fillStyle = style.getPropertyValue(`--point-${1 + ((point.sense - 1) % 6)}`);
      pen.beginPath();
      pen.arc(point.px, point.py, size, 0, 2 * Math.PI);
      pen.fill();
    }
    if (!this.current) return;
    pen.globalAlpha = 1;
    pen.strokeStyle = style.color;
    pen.lineWidth = 2.5;
    pen.beginPath();
    pen.arc(this.current.px, this.current.py, size + 4, 0, 2 * Math.PI);
    pen.stroke();
  }
}
