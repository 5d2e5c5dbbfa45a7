// What went wrong, said in place; what will pass by itself is tried again.

import { keepKey } from "./api.js";
import { element, remark, sentence, visible } from "./text.js";

const RETRY_MS = 2000;

/** The place where a problem is said, and the dialog that asks for the server's key. */
export class ProblemBox {
  constructor(box, dialog) {
    Object.assign(this, { box, dialog });
  }

  /** Take the problem away. */
  clear() {
    this.box.hidden = true;
    clearTimeout(this.timer);
  }

  /** Say a problem; `again()` does once more what failed. */
  show(problem, again) {
    this.clear();
    if (problem.status === 401) {
      this.#askForKey(problem.message, again);
      return;
    }
    this.box.replaceChildren(element("p", {}, sentence(remark(problem.message))));
    this.box.hidden = false;
    if (!problem.passing) return;
    const retry = element("button", { type: "button" }, "Ask again now");
    retry.addEventListener("click", again);
    this.box.append(retry);
    this.timer = setTimeout(again, RETRY_MS);
  }

  #askForKey(words, again) {
    const field = this.dialog.querySelector("input");
    // How programs send the key is of no use to a reader; nor is it, at first, that there is none.
    const wrong = words.startsWith("the key");
    this.dialog.querySelector("p").textContent = wrong ? sentence(visible(words.split(";")[0])) : "Whoever runs the server knows it.";
    field.value = "";
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.querySelector("form").onsubmit = () => {
      keepKey(field.value);
      again();
    };
  }
}
