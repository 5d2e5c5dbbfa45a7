// Keys: what they are called in the help, and what they do.

export const KEYS = [
  ["/", "go to the query"],
  ["j", "next line"],
  ["k", "previous line"],
  ["Enter", "show or hide the details of a line"],
  ["o", "open the document of the line"],
  ["m", "more like the line"],
  ["l", "less like the line"],
  ["i", "only the sense of the line; again: all senses"],
  ["s", "senses and their map"],
  ["w", "shade words by their weight"],
  ["n", "more lines"],
  ["?", "this help"],
  ["Esc", "close what is open"],
];

/** Call actions[key] for keys pressed outside of fields; the actions' names are the keys. */
export function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    const typing = target.matches("input:not([type=checkbox]), select, textarea");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const act = actions[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
