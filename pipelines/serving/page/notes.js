// What a reader should know of an answer, with the forms nearest to a word that never occurs.

import { writeState } from "./state.js";
import { element, marked, parseQuery, remark, sentence, visible } from "./text.js";

/** Show the notes of an answer in a list; a link to a nearest form calls `search(q)`. */
export function showNotes(list, answer, state, search) {
  const near = Object.entries(answer.nearest);
  const notes = answer.notes.map((note) => element("li", {}, sentence(remark(note))));
  if (near.length) {
    // The note names the nearest forms in words; here they are links.
    notes.pop();
    const links = nearestLinks(near, state, search);
    notes.push(element("li", {}, `“${visible(answer.word)}” never occurs in this corpus. `, ...links));
  }
  list.replaceChildren(...notes);
}

function nearestLinks(near, state, search) {
  const { text, node } = parseQuery(state.q);
  const links = near.map(([form, count]) => {
    const replaced = node ? text.slice(0, node[0]) + form + text.slice(node[1]) : form;
    const start = node ? node[0] : 0;
    const q = marked(replaced, start, start + form.length);
    const link = element("a", { href: writeState({ ...state, q, sense: null, open: [] }) }, visible(form));
    link.addEventListener("click", (event) => {
      event.preventDefault();
      search(q);
    });
    return [link, ` (${count.toLocaleString("en")}) `];
  });
  return ["Nearest forms: ", ...links.flat()];
}
