// A search as the page makes it: the same sense first; lines at once, where senses take longer.

import { ask } from "./api.js";
import { searchPairs } from "./state.js";
import { parseQuery } from "./text.js";

// Senses that the server knows are here sooner; then nothing is shown twice.
const PATIENCE_MS = 150;

/** Search; where several senses are found, fill up with the sense of the best line. */
export async function searchSameSense(state, signal) {
  const answer = await ask("v1/search", searchPairs(state), { signal });
  const senses = answer.senses ?? [];
  answer.primary = null;
  if (senses.length < 2 || !answer.hits.length) return answer;
  const best = answer.hits.reduce((one, other) => (other.score > one.score ? other : one));
  answer.primary = state.sense ?? best.sense;
  if (answer.primary && state.sense === null && answer.hits.some((hit) => hit.sense !== answer.primary)) {
    const same = await ask("v1/search", searchPairs(state, { sense: answer.primary }), { signal });
    answer.hits = same.hits;
  }
  return answer;
}

/**
 * The lines without their senses, if `found`, the whole answer, is not there soon: the first search
 * of a word finds its senses, which can take a second. Null if there is nothing to show sooner.
 */
export async function linesFirst(state, found, signal) {
  if (state.sense !== null || state.like.length || parseQuery(state.q).node === null) return null;
  const settled = found.then(() => true, () => true);
  const patience = new Promise((resolve) => { setTimeout(resolve, PATIENCE_MS, false); });
  if (await Promise.race([settled, patience])) return null;
  const pairs = [...searchPairs(state), ["no_senses", "true"]];
  // The whole answer says what is wrong, if anything is; once it is there, these are of no use.
  const asked = ask("v1/search", pairs, { signal }).catch(() => null);
  const lines = await Promise.race([asked, settled.then(() => null)]);
  return lines?.hits.length ? { ...lines, primary: null, early: true } : null;
}
