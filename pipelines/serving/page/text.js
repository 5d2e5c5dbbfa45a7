// Text as it is shown: always as text, never as markup; what could confuse a reader is made visible.

/** Make control characters and overrides of direction visible; any white space is one space. */
export function visible(text) {
  // Joiners are letters' own affair in many scripts, and stay.
  return text.replace(/\s/gu, " ").replace(/(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}]/gu, "\ufffd");
}

/** Make an element: properties, or with a dash attributes; children are nodes or text. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.includes("-") || key === "role" || key === "list") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

// The server speaks of the command's options; here they have other names.
const OPTION_NAMES = {
  "--fold-case": "“any capitals” under Options",
  "--inflections": "“inflections too” under Options",
  "--any-word": "“all words” under Options",
  "--filter": "a filter",
  "--sense": "the sense",
  "--sort": "the order",
  "--min-score": "the lowest score",
};

// What the parameters of the API are called on the page, where a message begins with one.
const PARAMETERS = {
  k: "the number of lines",
  q: "the query",
  sample: "the sample",
  min_score: "the lowest score",
  sense: "the sense",
  sort: "the order",
};

/** A remark of the server in the words of this page. */
export function remark(text) {
  const named = text.replace(/^(k|q|sample|min_score|sense|sort)(?= (?:is|has) )/u, (name) => PARAMETERS[name]);
  const plain = named.replace(/; see: sensegrep .*$/u, ""); // a command is of no use here
  return visible(plain.replace(/--(?:fold-case|inflections|any-word|filter|sense|sort|min-score)/gu, (name) => OPTION_NAMES[name]));
}

/** A message as a sentence of its own: a capital first, a stop last. */
export function sentence(message) {
  const [first, ...rest] = message;
  const whole = (first ?? "").toUpperCase() + rest.join("");
  return /[.?!…]$/u.test(whole) ? whole : `${whole}.`;
}

/** A number with its noun, as in "1 line" or "2,000 lines". */
export function counted(number, noun, plural = `${noun}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? noun : plural}`;
}

/** Put a backslash before characters that a query would read as brackets. */
export function escaped(text) {
  return text.replace(/[\\[\]]/gu, "\\$&");
}

/** The query that marks the stretch [start, end) of a text (UTF-16 units). */
export function marked(text, start, end) {
  return `${escaped(text.slice(0, start))}[${escaped(text.slice(start, end))}]${escaped(text.slice(end))}`;
}

/**
 * Read a query: its text without brackets, and where its marked word is.
 * Where the brackets make no sense, `node` is null and the text is as typed: the server says why.
 */
export function parseQuery(query) {
  let text = "";
  let start = null;
  let end = null;
  for (let i = 0; i < query.length; i += 1) {
    const character = query[i];
    if (character === "\\" && "[]\\".includes(query[i + 1] ?? " ")) {
      text += query[i + 1];
      i += 1;
    } else if (character === "[") {
      if (start !== null) return { text: query, node: null };
      start = text.length;
    } else if (character === "]") {
      if (start === null || end !== null) return { text: query, node: null };
      end = text.length;
    } else {
      text += character;
    }
  }
  return { text, node: start !== null && end !== null ? [start, end] : null };
}

/** Turn places counted in code points, as the server counts, into UTF-16 units. */
export function toUnits(text, places) {
  const starts = [0];
  for (const character of text) starts.push(starts[starts.length - 1] + character.length);
  return places.map(({ start, end }) => [starts[start], starts[end]]);
}

/** Find where each token stands in a text, in order; null for one that is not there. */
export function placeTokens(text, tokens) {
  let from = 0;
  return tokens.map((token) => {
    const start = text.indexOf(token, from);
    if (start < 0) return null;
    from = start + token.length;
    return [start, from];
  });
}
