// What the page shows, all of it in its address: a view can be sent, and Back goes back.

const DEFAULTS = {
  q: "",
  like: [],
  unlike: [],
  k: 20,
  sense: null,
  sort: "score",
  width: "s",
  sample: null,
  min: null,
  forms: "",
  name: null,
  shade: false,
  panel: false,
  open: [],
  doc: null,
  sentence: 0,
  token: null,
};

/** Read a state from an address's query. */
export function readState(search) {
  const given = new URLSearchParams(search);
  const number = (name) => {
    const value = given.get(name);
    return value !== null && value !== "" && Number.isFinite(Number(value)) ? Number(value) : null;
  };
  const state = { ...DEFAULTS, filters: {} };
  for (const name of ["q", "sort", "width", "forms", "name", "doc"]) state[name] = given.get(name) ?? DEFAULTS[name];
  for (const name of ["sense", "sample", "min", "token"]) state[name] = number(name);
  for (const name of ["like", "unlike"]) state[name] = given.getAll(name);
  state.k = number("k") ?? DEFAULTS.k;
  state.sentence = number("sentence") ?? 0;
  state.shade = given.get("shade") === "1";
  state.panel = given.get("panel") === "1";
  state.open = given.getAll("open").map(Number).filter(Number.isInteger);
  for (const pair of given.getAll("filter")) {
    const equals = pair.indexOf("=");
    if (equals > 0) state.filters[pair.slice(0, equals)] = pair.slice(equals + 1);
  }
  return state;
}

/** Write a state as an address's query; what is as it always is, is left out. */
export function writeState(state) {
  const pairs = [];
  for (const [name, value] of Object.entries(DEFAULTS)) {
    const mine = state[name];
    if (Array.isArray(value)) pairs.push(...mine.map((one) => [name, one]));
    else if (name === "sentence") { if (state.doc !== null) pairs.push([name, mine]); }
    else if (mine !== value) pairs.push([name, mine === true ? "1" : mine]);
  }
  for (const [key, value] of Object.entries(state.filters)) pairs.push(["filter", `${key}=${value}`]);
  return `?${new URLSearchParams(pairs)}`;
}

/** The parameters of GET /v1/search for a state; `changes` are for one of several requests. */
export function searchPairs(state, changes = {}) {
  const chosen = { ...state, ...changes };
  const pairs = chosen.like.length
    ? [...chosen.like.map((id) => ["like", id]), ...chosen.unlike.map((id) => ["unlike", id])]
    : [["q", chosen.q]];
  pairs.push(["k", chosen.k]);
  if (chosen.sort !== "score") pairs.push(["sort", chosen.sort]);
  if (chosen.sense !== null) pairs.push(["sense", chosen.sense]);
  if (chosen.sample !== null) pairs.push(["sample", chosen.sample]);
  if (chosen.min !== null) pairs.push(["min_score", chosen.min]);
  pairs.push(...formPairs(chosen));
  for (const [key, value] of Object.entries(chosen.filters)) pairs.push(["filter", `${key}=${value}`]);
  return pairs;
}

/** The parameters that say which forms count as a word. */
export function formPairs({ forms }) {
  const names = { fold: "fold_case", infl: "inflections", any: "any_word" };
  return names[forms] ? [[names[forms], "true"]] : [];
}
