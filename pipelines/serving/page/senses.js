// The senses of a word: folded below the lines, and in a panel with their prototypes.

import { counted, element, visible } from "./text.js";

// Characters to the left and right of a word that show its sense.
const NEAR = 60;

/** The words typical of a sense. */
export function labels(sense) {
  return sense.labels.map(visible).join(", ") || "no typical words";
}

/** How frequent a sense is, in words: occurrences, share, per million tokens of the corpus. */
export function frequency(sense, corpusTokens) {
  const perMillion = corpusTokens ? (1e6 * sense.size) / corpusTokens : 0;
  const rate = perMillion.toLocaleString("en", { maximumFractionDigits: perMillion >= 10 ? 0 : 1 });
  return `${counted(sense.size, "occurrence")} (${Math.round(100 * sense.share)} %), ${rate} per million`;
}

/** A sense's number on its colour. */
export function chip(number) {
  return element("span", { className: `chip s${number}` }, element("span", { className: "visually-hidden" }, "sense "), String(number));
}

/**
 * Make a folded sense; when it is opened, `load(sense)` returns the element to show in it.
 * `toggled(number, open)` is told of both.
 */
export function makeFold(sense, corpusTokens, open, load, toggled) {
  const inside = element("div", { className: "fold-lines" });
  const fold = element(
    "details",
    { className: "fold", "data-sense": sense.number },
    element(
      "summary",
      {},
      chip(sense.number),
      element("span", { className: "labels" }, element("bdi", {}, labels(sense))),
      element("span", { className: "frequency" }, frequency(sense, corpusTokens)),
    ),
    inside,
  );
  const fill = async () => {
    if (inside.childNodes.length) return;
    inside.append(element("p", {}, "Searching…"));
    inside.replaceChildren(await load(sense));
  };
  fold.addEventListener("toggle", () => {
    toggled(sense.number, fold.open);
    if (fold.open) fill();
  });
  fold.open = open;
  return fold;
}

// Whole words only; what is cut shows that it is.
function cutLeft(text) {
  return text.length <= NEAR ? text : `…${text.slice(-NEAR).replace(/^\S*/u, "")}`;
}

function cutRight(text) {
  return text.length <= NEAR ? text : `${text.slice(0, NEAR).replace(/\S*$/u, "").trimEnd()} …`;
}

/** Fill the panel's list: a sense with its label words, counts, and lines that show it best. */
export function fillList(box, senses, corpusTokens, actions) {
  box.replaceChildren(...senses.map((sense) => {
    const lines = sense.lines.map((hit) => {
      const button = element(
        "button",
        { type: "button", className: "prototype", title: `${visible(hit.doc_id)}: open the document`, dir: "auto" },
        visible(cutLeft(hit.left)),
        element("b", {}, visible(hit.node)),
        visible(cutRight(hit.right)),
      );
      button.addEventListener("click", () => actions.open(hit));
      return element("li", {}, button);
    });
    const only = element("button", { type: "button" }, `Only sense ${sense.number}`);
    only.addEventListener("click", () => actions.restrict(sense.number));
    return element(
      "section",
      { className: "sense" },
      element("h3", {}, chip(sense.number), " ", element("bdi", {}, labels(sense))),
      element("p", { className: "frequency" }, frequency(sense, corpusTokens)),
      element("ul", { className: "prototypes" }, lines),
      senses.length > 1 ? only : null,
    );
  }));
}
