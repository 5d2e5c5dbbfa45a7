// The page: a state in its address, a search made of it, and what is shown of the answer.

import { ask } from "./api.js";
import { DocumentView } from "./document.js";
import { download, toCsv } from "./export.js";
import { KEYS, listenToKeys } from "./keyboard.js";
import { makeTable, shadeLines } from "./lines.js";
import { SenseMap } from "./map.js";
import { showNotes } from "./notes.js";
import { nameField, readOptions, showFilters, showOptions } from "./options.js";
import { ProblemBox } from "./problems.js";
import { QueryField } from "./query.js";
import { currentRow, goTo, keepPlace, rowOf, seenRows, step } from "./rows.js";
import { linesFirst, searchSameSense } from "./search.js";
import { chip, fillList, labels, makeFold } from "./senses.js";
import { formPairs, readState, searchPairs, writeState } from "./state.js";
import { counted, element, parseQuery, visible } from "./text.js";

const MORE = 20;
const MAP_POINTS = 3000;
const $ = (id) => document.getElementById(id);

let state = readState(location.search);
let corpus = null;
let shown = null; // the answer that is on the page
let running = null; // AbortController of the search under way

// --- state and address ----------------------------------------------------------------------

/** Change the state and the address; a new entry of the history unless it is a matter of looks. */
function change(changes, { replace = false } = {}) {
  state = { ...state, ...changes };
  history[replace ? "replaceState" : "pushState"](null, "", writeState(state));
}

/** Search for something else: what was chosen about the old lines goes. */
function searchFor(changes) {
  change({ like: [], unlike: [], sense: null, k: MORE, open: [], doc: null, token: null, ...changes });
  return run({ focus: true });
}

// --- search ---------------------------------------------------------------------------------

/** Search for what the state says, and show it. */
async function run({ focus = false } = {}) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  showOptions(state);
  query.set(state.q);
  const asked = state.q.trim() !== "" || state.like.length > 0;
  $("welcome").hidden = asked;
  problems.clear();
  if (!asked) {
    shown = null;
    $("results").hidden = true;
    closePanel();
    $("status").textContent = "";
    document.title = "sensegrep";
    return;
  }
  $("status").textContent = "Searching…";
  $("results").setAttribute("aria-busy", "true");
  try {
    await describeCorpus();
    const found = searchSameSense(state, signal);
    const early = showEarly(found, signal, focus);
    const answer = await found;
    if (signal.aborted) return;
    const putBack = (await early) ? keepPlace() : null;
    await show(answer);
    $("status").textContent = "";
    if (putBack) putBack();
    else if (focus) $("results-title").focus();
  } catch (problem) {
    if (problem.name === "AbortError") return;
    $("status").textContent = "";
    showProblem(problem, () => run({ focus }));
  } finally {
    if (!signal.aborted) $("results").removeAttribute("aria-busy");
  }
}

/** Show the lines while their senses are being found; tells whether it did. */
async function showEarly(found, signal, focus) {
  const answer = await linesFirst(state, found, signal);
  if (!answer || signal.aborted) return false;
  await show(answer);
  $("status").textContent = `Finding the senses of “${visible(answer.word)}”…`;
  if (focus) $("results-title").focus();
  return true;
}

async function show(answer) {
  shown = answer;
  const word = answer.word === null ? null : visible(answer.word);
  $("results-title").replaceChildren(answer.hits.length ? counted(answer.hits.length, "line") : "No lines");
  if (answer.primary) {
    const sense = answer.senses.find((one) => one.number === answer.primary);
    if (sense) $("results-title").append(" in ", chip(sense.number), " ", element("bdi", { className: "labels" }, labels(sense)));
  }
  const compared = `${answer.compared.toLocaleString("en")} compared`;
  if (answer.hits.length) {
    $("results-title").append(element("span", { className: "compared" }, answer.primary ? compared : ` of ${compared}`));
  }
  for (const id of ["export-csv", "export-json"]) $(id).disabled = !answer.hits.length;
  const text = state.like.length ? "more like a line" : parseQuery(state.q).text;
  document.title = `${visible(text).slice(0, 60)} — sensegrep`;
  $("results").hidden = false;
  $("results").classList.remove("stale");
  $("results").classList.toggle("early", Boolean(answer.early));
  showRestriction();
  showNotes($("notes"), answer, state, (q) => searchFor({ q }));
  showLines(answer);
  showFolds(answer);
  const weights = answer.query_tokens.length === query.places.length ? answer.query_attention : null;
  query.shade(state.shade ? weights : null);
  const occurs = word !== null && !Object.keys(answer.nearest).length;
  $("senses-button").hidden = !occurs;
  if (answer.early) return showShades();
  if (state.panel && occurs) await openPanel();
  else closePanel();
  showShades();
}

function showLines(answer) {
  $("lines").replaceChildren();
  if (answer.hits.length) {
    const caption = answer.word === null ? "Sentences most like the query" : `Lines of ${visible(answer.word)}, the nearest first`;
    $("lines").append(makeTable(answer.hits, caption, view(), actions));
  }
  const limit = Math.min(corpus?.limits.k ?? Infinity, answer.compared);
  $("more").hidden = answer.hits.length < state.k || state.k >= limit || state.sample !== null;
}

function view() {
  return { width: state.width, name: nameField(state) };
}

function showRestriction() {
  const parts = [];
  if (state.like.length) {
    const less = state.unlike.length ? `, and less like ${counted(state.unlike.length, "other")}` : "";
    parts.push(element("span", {}, `More like ${counted(state.like.length, "line")} you chose${less}.`));
    if (state.q) parts.push(button("Back to the query", () => searchFor({})));
  }
  if (state.sense !== null) {
    parts.push(element("span", {}, `Only sense ${state.sense}.`), button("All senses", () => restrict(null)));
  }
  $("restriction").replaceChildren(...parts);
  $("restriction").hidden = !parts.length;
}

function showFolds(answer) {
  const box = $("other-senses");
  box.replaceChildren();
  const others = (answer.senses ?? []).filter((sense) => sense.number !== answer.primary && sense.size);
  if (answer.primary === null || state.sense !== null || !others.length) return;
  box.append(element("h2", {}, others.length === 1 ? "The other sense" : "Other senses"));
  for (const sense of others) {
    box.append(makeFold(sense, corpus.tokens, state.open.includes(sense.number), loadFold, (number, open) => {
      const list = state.open.filter((one) => one !== number);
      const next = open ? [...list, number].sort() : list;
      if (String(next) !== String(state.open)) change({ open: next }, { replace: true });
    }));
  }
}

async function loadFold(sense) {
  try {
    const answer = await ask("v1/search", searchPairs(state, { sense: sense.number }));
    if (!answer.hits.length) return element("p", {}, "No lines pass the filters.");
    const table = makeTable(answer.hits, `Lines of sense ${sense.number}`, view(), actions);
    const only = button(`Only sense ${sense.number}`, () => restrict(sense.number));
    const box = element("div", {}, table, element("p", {}, only));
    shadeLines(box, state.shade);
    return box;
  } catch (problem) {
    return element("p", { className: "problem" }, visible(problem.message));
  }
}

function showShades() {
  shadeLines($("results"), state.shade);
  $("legend").hidden = !state.shade;
}

function restrict(sense) {
  const again = state.sense === sense ? null : sense;
  change({ sense: again, k: MORE, open: [] });
  return run({ focus: true });
}

// --- what can be done with a line -----------------------------------------------------------

const actions = {
  search: (text) => searchFor({ q: text }),
  like: (hit) => searchFor({ like: [hit.vector_id], q: state.q }),
  unlike(hit) {
    const like = state.like.length ? state.like : (shown?.hits ?? []).filter((one) => one !== hit).slice(0, 1).map((one) => one.vector_id);
    if (like.length) searchFor({ like, unlike: [...state.unlike, hit.vector_id], q: state.q });
  },
  open(hit) {
    change({ doc: hit.doc_id, sentence: hit.sentence_index, token: hit.token_index ?? null });
    openDocument();
  },
  restrict,
  shaded: () => state.shade,
  several: () => (shown?.senses ?? []).length > 1,
  point: (hit) => senseMap.point(hit?.vector_id ?? null),
};

const problems = new ProblemBox($("problem"), $("key-dialog"));
const query = new QueryField($("query"), $("words"), $("mark-hint"), (text) => searchFor({ q: text }));
const documents = new DocumentView($("document"), {
  search: (text) => searchFor({ q: text }),
  closed: () => { if (state.doc !== null) change({ doc: null, sentence: 0, token: null }, { replace: true }); },
  failed: (problem) => showProblem(problem, openDocument),
});

function openDocument() {
  return documents.open(state.doc, state.sentence, state.token, nameField(state));
}

const senseMap = new SenseMap($("map"), $("map-line"), {
  pointed(point) {
    for (const row of document.querySelectorAll("tr.pointed")) row.classList.remove("pointed");
    if (point) rowOf(point.vector_id)?.classList.add("pointed");
  },
  chosen(point) {
    const row = rowOf(point.vector_id);
    if (!row) return actions.open(point);
    row.toggle(true);
    goTo(row);
  },
});

// --- senses ---------------------------------------------------------------------------------

async function openPanel() {
  $("senses-panel").hidden = false;
  $("senses-button").setAttribute("aria-expanded", "true");
  document.body.classList.add("with-panel");
  const pairs = [["word", shown.word], ...formPairs({ forms: state.forms === "any" ? "" : state.forms })];
  $("senses-title").textContent = `Senses of ${visible(shown.word)}`;
  $("sense-list").replaceChildren(element("p", {}, "Loading…"));
  try {
    const [found, map] = await Promise.all([ask("v1/senses", pairs), ask("v1/senses/map", [...pairs, ["points", MAP_POINTS]])]);
    senseMap.fill(map.points, `Map of ${counted(map.points.length, "occurrence")} of ${map.word}: near points are used alike; arrow keys go from point to point`);
    $("map-box").hidden = map.points.length < 3;
    fillList($("sense-list"), found.senses, corpus.tokens, actions);
  } catch (problem) {
    $("map-box").hidden = true;
    $("sense-list").replaceChildren(element("p", { className: "problem" }, visible(problem.message)));
  }
}

function closePanel() {
  $("senses-panel").hidden = true;
  $("senses-button").setAttribute("aria-expanded", "false");
  document.body.classList.remove("with-panel");
}

async function togglePanel() {
  if (!shown || shown.word === null) return;
  change({ panel: !state.panel }, { replace: true });
  if (state.panel) {
    await openPanel();
    $("senses-title").focus();
  } else {
    closePanel();
    $("senses-button").focus();
  }
}

// --- the corpus, and what goes wrong --------------------------------------------------------

async function describeCorpus() {
  if (corpus) return;
  corpus = await ask("v1/corpus");
  const parts = [counted(corpus.documents, "document"), counted(corpus.sentences, "sentence"), counted(corpus.tokens, "token"), corpus.model.name.split("/").at(-1)];
  $("corpus-facts").textContent = parts.join(" · ");
  $("k").max = corpus.limits.k;
  $("query").maxLength = corpus.limits.query_chars;
  if (!corpus.token_vectors) $("mark-hint").textContent = "This corpus has sentences only: words cannot be marked.";
  $("example").hidden = corpus.language !== "en" || !corpus.token_vectors;
  showFilters(corpus.metadata);
  showOptions(state);
}

/** Say what went wrong, where the results would be; what will pass is tried again. */
function showProblem(problem, again) {
  problems.show(problem, again);
  $("results").classList.add("stale"); // of another query, or of an earlier moment
  $("results").classList.remove("early");
  if (problem.passing || problem.status === 401) return;
  const focused = document.activeElement;
  $("results").hidden = true;
  closePanel();
  // What had the focus is gone; the words say why.
  if ($("results").contains(focused) || $("senses-panel").contains(focused)) $("problem").focus();
}

function button(label, act) {
  const made = element("button", { type: "button" }, label);
  made.addEventListener("click", act);
  return made;
}

// --- events ---------------------------------------------------------------------------------

$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("query").value;
  const same = text === state.q && !state.like.length;
  change({ ...readOptions(MORE), q: text, like: [], unlike: [], open: same ? state.open : [], sense: same ? state.sense : null });
  run({ focus: true });
});
$("options").addEventListener("change", () => {
  change(readOptions(MORE));
  run();
});
$("shade").addEventListener("change", () => setShade($("shade").checked));
$("more").addEventListener("click", moreLines);
$("senses-button").addEventListener("click", togglePanel);
$("export-csv").addEventListener("click", () => download("sensegrep.csv", "text/csv", toCsv(seenRows().map((row) => row.lineOf.hit))));
$("export-json").addEventListener("click", () => {
  const answer = { ...shown, hits: seenRows().map((row) => row.lineOf.hit) };
  delete answer.primary;
  delete answer.early;
  download("sensegrep.json", "application/json", JSON.stringify(answer, null, 1));
});
$("help-button").addEventListener("click", showHelp);
$("home").addEventListener("click", (event) => {
  event.preventDefault();
  searchFor({ ...readState(""), shade: state.shade });
  $("query").focus();
});
for (const close of document.querySelectorAll("[data-close]")) {
  close.addEventListener("click", () => close.closest("dialog").close());
}
window.addEventListener("popstate", start);

function setShade(on) {
  change({ shade: on }, { replace: true });
  $("shade").checked = on;
  if (!shown) return;
  query.shade(on && shown.query_tokens.length === query.places.length ? shown.query_attention : null);
  showShades();
}

async function moreLines() {
  const count = $("lines").querySelectorAll("tr.line").length;
  change({ k: Math.min(state.k + MORE, corpus.limits.k) }, { replace: true });
  await run();
  const row = $("lines").querySelectorAll("tr.line")[count];
  if (row) row.lineOf.button.focus();
}

function showHelp() {
  $("help-keys").replaceChildren(...KEYS.map(([key, does]) => element("tr", {}, element("td", {}, element("kbd", {}, key)), element("td", {}, does))));
  $("help").showModal();
}

const onLine = (act) => () => {
  const row = currentRow();
  if (row) act(row.lineOf.hit);
  else $("status").textContent = "Choose a line first: j goes to the first.";
};

listenToKeys({
  "/": () => { $("query").focus(); $("query").select(); },
  j: () => step(1),
  k: () => step(-1),
  o: onLine(actions.open),
  m: onLine(actions.like),
  l: onLine(actions.unlike),
  i: () => (state.sense === null ? onLine((hit) => hit.sense !== null && actions.several() && restrict(hit.sense))() : restrict(null)),
  s: togglePanel,
  w: () => setShade(!state.shade),
  n: () => { if (!$("more").hidden) moreLines(); },
  "?": showHelp,
});

/** Show what the address says. */
async function start() {
  state = readState(location.search);
  $("document").close();
  try {
    await describeCorpus();
  } catch (problem) {
    showProblem(problem, start);
    return;
  }
  await query.set(state.q);
  await run();
  if (state.doc !== null) openDocument();
}

start();
