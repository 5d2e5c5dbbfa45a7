// Options and filters: fields of the form, and the filters that the corpus's own metadata make.

import { element, visible } from "./text.js";

const $ = (id) => document.getElementById(id);

// What names a document best, where a corpus has it.
const TITLE = "title";

/** The field of the metadata that lines name their documents by; "" for the id. */
export function nameField(state) {
  return state.name ?? preferredName();
}

function preferredName() {
  return [...$("name").options].some((option) => option.value === TITLE) ? TITLE : "";
}

/** Read the fields; `lines` is how many lines there are where that field is empty. */
export function readOptions(lines) {
  const number = (id) => ($(id).value === "" ? null : Number($(id).value));
  const filters = {};
  for (const field of $("filter-fields").querySelectorAll("[data-key]")) {
    if (field.value !== "") filters[field.dataset.key] = field.value;
  }
  return {
    k: number("k") ?? lines,
    sort: $("sort").value,
    width: $("width").value,
    sample: number("sample"),
    min: number("min"),
    forms: $("forms").value,
    name: $("name").value === preferredName() ? null : $("name").value,
    filters,
  };
}

/** Show a state in the fields, and what is set beside the word Options. */
export function showOptions(state) {
  for (const name of ["k", "sample", "min"]) $(name).value = state[name] ?? "";
  for (const name of ["sort", "width", "forms"]) $(name).value = state[name];
  $("name").value = nameField(state);
  for (const field of $("filter-fields").querySelectorAll("[data-key]")) {
    field.value = state.filters[field.dataset.key] ?? "";
  }
  const set = Object.entries(state.filters).map(([key, value]) => `${visible(key)}: ${visible(value)}`);
  if (state.sort !== "score") set.push(`sorted by ${$("sort").selectedOptions[0]?.text ?? state.sort}`);
  if (state.sample !== null) set.push(`sample of ${state.sample}`);
  if (state.min !== null) set.push(`score from ${state.min}`);
  if (state.forms) set.push($("forms").selectedOptions[0]?.text ?? state.forms);
  $("options-set").textContent = set.length ? `(${set.join(", ")})` : "";
  $("shade").checked = state.shade;
}

/** Make a field of each metadata key: a list of its values, or a text where they are too many. */
export function showFilters(metadata) {
  $("name").replaceChildren(
    element("option", { value: "" }, "id"),
    ...metadata.map(({ key }) => element("option", { value: key }, visible(key))),
  );
  $("filter-fields").replaceChildren(...metadata.map(makeFilter));
  $("filters").hidden = !metadata.length;
}

function makeFilter({ key, values, complete }, number) {
  if (complete) {
    const options = values.map(({ value, documents: count }) => element("option", { value }, `${visible(value).slice(0, 60)} (${count.toLocaleString("en")})`));
    return element("label", {}, visible(key), " ", element("select", { "data-key": key }, element("option", { value: "" }, "any"), options));
  }
  const list = element("datalist", { id: `values-${number}` }, values.map(({ value }) => element("option", { value })));
  return element("label", {}, visible(key), " ", element("input", { "data-key": key, placeholder: "any", list: `values-${number}` }), list);
}
