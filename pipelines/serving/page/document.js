// A document around a line, in a dialog; a word of it searches that word's sense.

import { ask } from "./api.js";
import { documentName } from "./lines.js";
import { element, marked, placeTokens, visible } from "./text.js";

const STEP = 10;

/** Shows documents. `search(query)` is called for a word that is clicked, `closed()` at the end. */
export class DocumentView {
  constructor(dialog, { search, closed, failed }) {
    Object.assign(this, { dialog, search, failed, window: STEP });
    this.title = dialog.querySelector("#document-title");
    this.facts = dialog.querySelector("#document-metadata");
    this.text = dialog.querySelector("#document-text");
    this.before = dialog.querySelector("#document-before");
    this.after = dialog.querySelector("#document-after");
    for (const button of [this.before, this.after]) button.addEventListener("click", () => this.#widen());
    dialog.addEventListener("close", closed);
  }

  /** Open a document around a sentence, of which a token may be marked, under a name of its metadata. */
  async open(docId, sentence, token, name) {
    Object.assign(this, { docId, sentence, token, name, window: STEP });
    try {
      await this.#load();
    } catch (problem) {
      this.failed(problem);
      return;
    }
    if (!this.dialog.open) this.dialog.showModal();
    this.text.querySelector("[aria-current]")?.scrollIntoView({ block: "center" });
  }

  async #widen() {
    this.window += STEP;
    await this.#load();
  }

  async #load() {
    const found = await ask("v1/document", [["doc_id", this.docId], ["sentence_index", this.sentence], ["window", this.window]]);
    this.title.textContent = visible(documentName(found, this.name));
    const facts = [...(documentName(found, this.name) === found.doc_id ? [] : [["id", found.doc_id]]), ...Object.entries(found.metadata)];
    this.facts.replaceChildren(...facts.flatMap(([key, value]) => [
      element("dt", {}, visible(key)),
      element("dd", { dir: "auto" }, visible(value)),
    ]));
    this.text.replaceChildren(...found.sentences.map((sentence) => this.#paragraph(sentence)));
    const shown = found.sentences.map((sentence) => sentence.sentence_index);
    this.before.hidden = !shown.length || shown[0] <= found.first;
    this.after.hidden = !shown.length || shown.at(-1) >= found.last;
  }

  #paragraph({ sentence_index: index, text, tokens }) {
    const current = index === this.sentence;
    const paragraph = element("p", { "aria-current": current ? "true" : null });
    let at = 0;
    for (const [number, place] of placeTokens(text, tokens).entries()) {
      if (place === null) continue;
      paragraph.append(visible(text.slice(at, place[0])));
      // Only the line itself has buttons: a page of them would be a long way by keyboard.
      const word = element(current ? "button" : "span", { className: current ? "word-button" : "word" }, visible(text.slice(...place)));
      if (current) word.type = "button";
      if (current && number === this.token) word.classList.add("node");
      word.addEventListener("click", () => {
        this.dialog.close();
        this.search(marked(text, ...place));
      });
      paragraph.append(word);
      at = place[1];
    }
    paragraph.append(visible(text.slice(at)));
    return paragraph;
  }
}
