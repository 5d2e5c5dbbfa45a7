// Concordance lines: a native table, the node in the middle, details below the chosen line.

import { counted, element, marked, placeTokens, visible } from "./text.js";

const SHADES = 7;
// A text whose first letter is of a script that runs from right to left.
const RIGHT_TO_LEFT = /^\P{L}*[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;
// Characters as wide as they are high.
const WIDE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;

/**
 * Make a table of lines.
 *
 * `view` says how: width ("s" or words), name (the metadata that names a document, "" for its id);
 * `actions` what happens: search(query), like(hit), unlike(hit), open(hit), restrict(hit),
 * point(hit or null).
 */
export function makeTable(hits, caption, view, actions) {
  const byWord = hits.some((hit) => hit.token_index !== null);
  const heads = byWord ? ["Score", "Before", "Word", "After", "Document"] : ["Score", "Sentence", "Document"];
  const classes = byWord ? ["score", "left", "node", "right", "doc"] : ["score", "whole", "doc"];
  const body = element("tbody");
  for (const hit of hits) body.append(...makeLine(hit, view, actions, byWord));
  const fromRight = hits.filter((hit) => RIGHT_TO_LEFT.test(hit.left + hit.node + hit.right)).length;
  const table = element(
    "table",
    { className: `lines ${byWord ? "kwic" : "sentences"}`, dir: 2 * fromRight > hits.length ? "rtl" : "ltr" },
    element("caption", { className: "visually-hidden" }, caption),
    element("thead", {}, element("tr", {}, heads.map((head, i) => element("th", { scope: "col", className: classes[i] }, head)))),
    body,
  );
  const longest = Math.max(...hits.map((hit) => widthOf(hit.node)), 4);
  table.style.setProperty("--node", `${Math.min(longest, 24)}ch`);
  return table;
}

/** The width of a word in Latin characters, about. */
function widthOf(word) {
  return [...word].reduce((width, character) => width + (WIDE.test(character) ? 2 : 1), 0);
}

function makeLine(hit, view, actions, byWord) {
  const detailId = `detail-${hit.vector_id}`;
  const sense = hit.sense === null ? "" : ` s${hit.sense}`;
  const button = element(
    "button",
    { type: "button", className: `pick${sense}`, "aria-expanded": "false", "aria-controls": detailId },
    hit.score.toFixed(3),
    hit.sense === null ? null : element("span", { className: "visually-hidden" }, `, sense ${hit.sense}`),
    element("span", { className: "visually-hidden" }, ": details of the line"),
  );
  const row = element("tr", { className: `line${sense}`, "data-id": hit.vector_id });
  row.append(element("td", { className: "score" }, button));
  const pieces = cut(hit, view.width);
  if (byWord) {
    row.append(
      textCell("left", pieces.left),
      textCell("node", pieces.node),
      textCell("right", pieces.right),
    );
  } else {
    row.append(textCell("whole", pieces.node));
  }
  const times = hit.copies > 1 ? element("span", { className: "times", title: "lines that read the same" }, ` ×${hit.copies}`) : null;
  row.append(element("td", { className: "doc", title: visible(hit.doc_id) }, element("bdi", {}, visible(shortName(hit, view.name))), times));
  const detail = element("tr", { className: "detail", id: detailId, hidden: true }, element("td", { colSpan: byWord ? 5 : 3 }));
  const line = { hit, row, detail, button };
  row.addEventListener("click", (event) => clickLine(event, line, actions));
  row.addEventListener("mouseenter", () => actions.point(hit));
  row.addEventListener("mouseleave", () => actions.point(null));
  button.addEventListener("focus", () => actions.point(hit));
  row.lineOf = line;
  row.toggle = (open) => toggleDetail(line, actions, open);
  return [row, detail];
}

/** What a document is called: its metadata of this name, or its id where it has none. */
export function documentName({ doc_id: id, metadata }, name) {
  return metadata[name] || id;
}

/** The same in a narrow column: of a long id, the end tells more than the middle. */
function shortName(hit, name) {
  const long = documentName(hit, name);
  return long !== hit.doc_id || long.length <= 26 ? long : `${long.slice(0, 7)}…${long.slice(-16)}`;
}

function clickLine(event, line, actions) {
  const word = event.target.closest(".word");
  if (word && !line.button.contains(event.target)) actions.search(wordQuery(line.hit, Number(word.dataset.token)));
  else if (!window.getSelection().toString()) line.row.toggle();
}

/** The query for the sense that a word has in a line. */
export function wordQuery(hit, index) {
  const text = hit.left + hit.node + hit.right;
  const place = placeTokens(text, hit.tokens)[index];
  return place === null ? text : marked(text, ...place);
}

/** Cut a hit's text into pieces of words and what stands between: {left, node, right}. */
function cut(hit, width) {
  const text = hit.left + hit.node + hit.right;
  const places = placeTokens(text, hit.tokens);
  const spans = [];
  let at = 0;
  places.forEach((place, index) => {
    if (place === null) return;
    if (place[0] > at) spans.push({ text: text.slice(at, place[0]), index: null, start: at });
    spans.push({ text: text.slice(...place), index, start: place[0] });
    at = place[1];
  });
  if (at < text.length) spans.push({ text: text.slice(at), index: null, start: at });
  if (hit.token_index === null) return { left: [], node: spans, right: [] };
  const from = hit.left.length;
  const to = from + hit.node.length;
  const limit = width === "s" ? Infinity : Number(width);
  const near = (span, distance) => span.index === null || distance(span.index) <= limit;
  const left = spans.filter((span) => span.start < from && near(span, (i) => hit.token_index - i));
  const right = spans.filter((span) => span.start >= to && near(span, (i) => i - hit.token_index));
  return {
    left: trimGaps(left, true),
    node: spans.filter((span) => span.start >= from && span.start < to),
    right: trimGaps(right, false),
  };
}

/** Leave out what stands between words that are not shown. */
function trimGaps(spans, fromStart) {
  const first = spans.findIndex((span) => span.index !== null);
  const last = spans.findLastIndex((span) => span.index !== null);
  if (first < 0) return spans;
  return fromStart ? spans.slice(first) : spans.slice(0, last + 1);
}

function textCell(name, spans) {
  return element("td", { className: name }, element("div", {}, element("bdi", {}, spans.map(spanOf))));
}

function spanOf(span) {
  if (span.index === null) return visible(span.text);
  return element("span", { className: "word", "data-token": span.index }, visible(span.text));
}

/** How dark a word is, 0 to SHADES, by its weight relative to the largest of its sentence. */
export function shadeLevel(weights, index) {
  const largest = Math.max(...weights, 1e-9);
  return Math.round((SHADES * weights[index]) / largest);
}

/** Shade the words of the lines below an element, or take the shades away. */
export function shadeLines(root, on) {
  for (const row of root.querySelectorAll("tr.line")) shadeLine(row.lineOf, on);
}

function shadeLine({ hit: { attention: weights }, row, detail }, on) {
  for (const word of [...row.querySelectorAll(".word"), ...detail.querySelectorAll(".word-button")]) {
    word.classList.remove(...Array.from({ length: SHADES }, (_, i) => `w${i + 1}`));
    const level = on ? shadeLevel(weights, Number(word.dataset.token)) : 0;
    if (level) word.classList.add(`w${level}`);
    if (word.matches(".word")) word.title = on ? `${(100 * weights[Number(word.dataset.token)]).toFixed(1)} %` : "";
  }
}

function toggleDetail(line, actions, open = line.detail.hidden) {
  if (open && !line.detail.firstChild.childNodes.length) {
    line.detail.firstChild.append(makeDetail(line, actions));
    shadeLine(line, actions.shaded());
  }
  line.detail.hidden = !open;
  line.button.setAttribute("aria-expanded", String(open));
  line.row.classList.toggle("open", open);
}

function makeDetail({ hit }, actions) {
  const text = hit.left + hit.node + hit.right;
  const sentence = element("p", { className: "sentence", dir: "auto" });
  let at = 0;
  placeTokens(text, hit.tokens).forEach((place, index) => {
    if (place === null) return;
    sentence.append(visible(text.slice(at, place[0])));
    const word = visible(text.slice(...place));
    const weight = `${(100 * hit.attention[index]).toFixed(1)} %`;
    const node = index === hit.token_index;
    const button = element("button", { type: "button", className: node ? "word-button node" : "word-button", "data-token": index, title: `weight ${weight}; search this word’s sense` }, word);
    button.addEventListener("click", () => actions.search(wordQuery(hit, index)));
    sentence.append(button);
    at = place[1];
  });
  sentence.append(visible(text.slice(at)));
  const copies = hit.copies > 1 ? `the first of ${counted(hit.copies, "line")} that read the same: ` : "";
  const facts = Object.entries(hit.metadata).map(([key, value]) => `${visible(key)}: ${visible(value)}`);
  const buttons = [
    ["Open document", () => actions.open(hit), "o"],
    ["More like this", () => actions.like(hit), "m"],
    ["Less like this", () => actions.unlike(hit), "l"],
    ...(hit.sense !== null && actions.several() ? [[`Only sense ${hit.sense}`, () => actions.restrict(hit.sense), "i"]] : []),
  ];
  return element(
    "div",
    { className: "detail-box" },
    sentence,
    element("p", { className: "facts" }, element("bdi", {}, [`${copies}${visible(hit.doc_id)}`, ...facts].join(" · "))),
    element("p", { className: "tools" }, buttons.map(([label, act, key]) => {
      const made = element("button", { type: "button", "aria-keyshortcuts": key }, label);
      made.addEventListener("click", act);
      return made;
    })),
  );
}
