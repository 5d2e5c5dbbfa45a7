// Requests to the server, and what can go wrong with them, in words.

const KEY_NAME = "sensegrep-key";
const BUSY_TRIES = 4;

/** A request that was not answered as hoped; `kind` is the server's type of error, or "offline". */
export class Problem extends Error {
  constructor(message, { status = 0, kind = "offline", nearest = {} } = {}) {
    super(message);
    Object.assign(this, { status, kind, nearest });
  }

  /** Whether the same request may be answered later. */
  get passing() {
    return this.kind === "offline" || this.kind === "loading" || this.kind === "busy";
  }
}

/** Keep the server's key for this tab. */
export function keepKey(key) {
  sessionStorage.setItem(KEY_NAME, key);
}

/** GET a JSON answer; parameters are [name, value] pairs. */
export async function ask(path, pairs = [], { signal } = {}) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await once(path, pairs, signal);
    } catch (problem) {
      if (problem.kind !== "busy" || tries === BUSY_TRIES) throw problem;
      await new Promise((resolve) => setTimeout(resolve, 500 * tries));
    }
  }
}

async function once(path, pairs, signal) {
  const key = sessionStorage.getItem(KEY_NAME);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const query = new URLSearchParams(pairs).toString();
  let response;
  try {
    response = await fetch(query ? `${path}?${query}` : path, { headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server does not answer. This page asks again until it does.");
  }
  let content;
  try {
    content = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(`The answer (status ${response.status}) is not from sensegrep: something between this page and the server failed.`, {
      status: response.status,
      kind: response.status >= 500 ? "offline" : "foreign",
    });
  }
  if (response.ok) return content;
  const { message, type, nearest } = content.error ?? {};
  throw new Problem(message ?? `status ${response.status}`, {
    status: response.status,
    kind: type ?? "unknown",
    nearest,
  });
}
