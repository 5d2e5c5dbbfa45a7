// What is shown, as a file: the fields are those of `sensegrep search --json` and `--csv-safe`.

const COLUMNS = ["score", "vector_id", "doc_id", "sentence_index", "token_index", "left", "node", "right", "sense", "metadata"];

/** Lines as CSV with a head; metadata as JSON. */
export function toCsv(hits) {
  const rows = hits.map((hit) => COLUMNS.map((name) => cell(name === "metadata" ? JSON.stringify(hit.metadata) : hit[name])));
  return [COLUMNS, ...rows].map((row) => `${row.join(",")}\n`).join("");
}

// A spreadsheet would read a text that begins so as a formula.
const FORMULA = /^[=+\-@\t\r]/u;

function cell(value) {
  const plain = value === null ? "" : String(value);
  const text = typeof value === "string" && FORMULA.test(plain) ? `'${plain}` : plain;
  return /[",\r\n]/u.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Let the browser keep a text as a file. */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
