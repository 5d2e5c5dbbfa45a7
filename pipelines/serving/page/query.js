// The query: a field, and below it its words as buttons; one of them may be marked.

import { ask } from "./api.js";
import { element, marked, parseQuery, toUnits } from "./text.js";
import { shadeLevel } from "./lines.js";

const PAUSE_MS = 150;

/** Keeps field, buttons and hint together. `submit(query)` is called when a word is marked. */
export class QueryField {
  constructor(field, words, hint, submit) {
    Object.assign(this, { field, words, hint, submit, places: [], weights: null, text: "" });
    field.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.refresh(), PAUSE_MS);
    });
  }

  /** Show another query. */
  set(query) {
    if (this.field.value !== query) this.field.value = query;
    return this.refresh();
  }

  /** Shade the query's words by these weights, in the order of its tokens; null for no shades. */
  shade(weights) {
    this.weights = weights;
    this.#show();
  }

  /** Ask where the words of the query are, and show them. */
  async refresh() {
    const { text } = parseQuery(this.field.value);
    if (text !== this.text) {
      this.text = text;
      this.weights = null;
      this.places = [];
      if (text.trim()) {
        try {
          const { tokens } = await ask("v1/tokens", [["q", text]]);
          if (text !== this.text) return;
          this.places = toUnits(text, tokens);
        } catch {
          // The search itself will say what is wrong.
        }
      }
    }
    this.#show();
  }

  #show() {
    const { node } = parseQuery(this.field.value);
    const focused = [...this.words.children].indexOf(document.activeElement);
    const wordy = /[\p{L}\p{N}]/u;
    this.words.replaceChildren(...this.places.map((place, index) => {
      const word = this.text.slice(...place);
      const pressed = node !== null && place[0] < node[1] && place[1] > node[0];
      const weight = this.weights?.[index];
      const level = weight === undefined ? 0 : shadeLevel(this.weights, index);
      const button = element(
        "button",
        { type: "button", "aria-pressed": String(pressed), className: level ? `w${level}` : "", disabled: !wordy.test(word) },
        word,
        weight === undefined ? null : element("small", {}, `${(100 * weight).toFixed(0)} %`),
      );
      button.addEventListener("click", () => this.#mark(place, pressed));
      return button;
    }));
    if (focused >= 0) this.words.children[focused]?.focus();
    this.hint.textContent = this.places.length && node === null ? "Click a word to search by its sense." : "";
  }

  #mark(place, pressed) {
    const plain = marked(this.text, 0, 0).slice(2);
    this.field.value = pressed ? plain : marked(this.text, ...place);
    this.#show();
    this.submit(this.field.value);
  }
}
