/** The tab on which many rows are asked: pasted or from a file, in pieces, to a table and a CSV file. */

import { ask } from "./api.js";
import { parse, write } from "./csv.js";
import { choice, download, field, make } from "./dom.js";
import { columnsOf, inputOf, lines, tasksOf } from "./form.js";
import { explain } from "./notice.js";
import { answersOf } from "./try.js";
import { number, t } from "./words.js";

const CHUNK = 32;
const SHOWN = 500;
const TRIES = 5;

export function batchView({ bundle, name }) {
  const tasks = tasksOf(bundle);
  const asked = columnsOf(tasks);
  const text = make("textarea", { name: "rows", rows: 8, placeholder: t("batch.placeholder"), spellcheck: false, on: { input: read } });
  const file = make("input", { type: "file", accept: ".csv,.tsv,.txt,.jsonl,text/*", on: { change: open } });
  const mapping = make("div", { class: "row mapping" });
  const count = make("p", { class: "hint", "aria-live": "polite" });
  const button = make("button", { class: "main", disabled: true }, t("batch.run"));
  const progress = make("progress", { value: 0, max: 1, "aria-label": t("batch.progress") });
  const status = make("span", { class: "hint", role: "status" });
  const result = make("div", { class: "result" });
  const running = make("div", { class: "row", hidden: true }, progress, status);
  let table = null;
  let stopping = null;

  const form = make("form", { class: "card", on: { submit: (event) => {
    event.preventDefault();
    if (stopping) stopping.abort();
    else run();
  } } }, field(t("batch.rows"), text, t(asked.bare ? "batch.help" : "batch.help_columns", { columns: asked.columns.map((one) => one.name).join(", ") })),
    field(t("batch.file"), file), mapping, count, make("div", { class: "row actions" }, button, running));

  async function open() {
    if (!file.files.length) return;
    text.value = await file.files[0].text();
    read();
  }

  function read() {
    result.replaceChildren();
    try {
      table = tableOf(text.value, asked, file.files[0]?.name ?? "");
    } catch (error) {
      table = null;
      result.replaceChildren(explain(error));
    }
    button.disabled = !table?.rows.length;
    count.textContent = table ? t("batch.count", { rows: number(table.rows.length, 9) }) : "";
    mapping.replaceChildren(...(table?.header ? asked.columns.map((column) =>
      field(t("batch.column", { column: t(`column.${column.name}`) }),
        choice(table.header.map((one, place) => [String(place), one]), String(nearest(table.header, column.name)),
          { "data-column": column.name }))) : []));
  }

  function places() {
    if (!table.header) return { [asked.columns[0].name]: 0 };
    return Object.fromEntries([...mapping.querySelectorAll("select")].map((one) => [one.dataset.column, Number(one.value)]));
  }

  async function run() {
    stopping = new AbortController();
    button.textContent = t("try.stop");
    running.hidden = false;
    const where = places();
    const items = table.rows.map((cells) => ({ cells, ...itemOf(cells, where, asked) }));
    const started = performance.now();
    progress.max = items.length;
    const show = (done) => {
      progress.value = done;
      status.textContent = t("batch.done", { done: number(done, 9), rows: number(items.length, 9), seconds: number((performance.now() - started) / 1000) });
    };
    try {
      show(0);
      for (let start = 0; start < items.length; start += CHUNK) {
        await answer(items.slice(start, start + CHUNK), { name, tasks, signal: stopping.signal });
        show(Math.min(start + CHUNK, items.length));
      }
    } catch (error) {
      if (error.name !== "AbortError") result.replaceChildren(explain(error));
    }
    stopping = null;
    button.textContent = t("batch.run");
    const answered = items.filter((one) => one.found || one.error);
    if (answered.length) result.append(outcome(answered, table.header ?? [asked.columns[0].name], bundle));
  }

  return { element: make("div", { class: "stack" }, form, result), stop: () => stopping?.abort() };
}

/** `{header, rows}` of what was pasted: CSV with a header, JSON lines, or a text a line (header null). */
export function tableOf(text, asked, file) {
  const first = text.trimStart();
  if (file.endsWith(".jsonl") || first.startsWith("{")) return ofObjects(lines(text));
  const rows = /\.txt$/.test(file) ? [] : parsed(text, asked);
  const header = rows[0]?.map((one) => one.trim()) ?? [];
  const named = asked.columns.some(({ name }) => header.some((one) => one.toLowerCase() === name));
  if (named || /\.(csv|tsv)$/.test(file) || (!asked.bare && rows.length > 1)) return { header, rows: rows.slice(1) };
  return { header: null, rows: lines(text).map((line) => [line]) };
}

/** Plain lines may hold quotes that no CSV would. */
function parsed(text, asked) {
  try {
    return parse(text);
  } catch (error) {
    if (asked.bare) return [];
    throw error;
  }
}

function ofObjects(given) {
  const objects = given.map((line, place) => {
    try {
      return JSON.parse(line);
    } catch {
      throw new Error(t("batch.no_json", { line: place + 1 }));
    }
  });
  const header = [...new Set(objects.flatMap(Object.keys))];
  const cell = (value) => (typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value));
  return { header, rows: objects.map((one) => header.map((name) => cell(one[name]))) };
}

function nearest(header, name) {
  return Math.max(0, header.findIndex((one) => one.toLowerCase() === name));
}

/** A row's input, or what it lacks. */
function itemOf(cells, where, asked) {
  const several = Object.fromEntries(asked.columns.map((one) => [one.name, one.several]));
  const values = Object.fromEntries(Object.entries(where).map(([name, place]) => {
    const cell = cells[place] ?? "";
    return [name, several[name] ? listOf(cell) : cell];
  }));
  try {
    return { input: inputOf(values, asked) };
  } catch (error) {
    return { error: error.message };
  }
}

/** A list in a cell: JSON, or texts between bars. */
function listOf(cell) {
  try {
    const found = JSON.parse(cell);
    if (Array.isArray(found)) return found;
  } catch {
    // No JSON: bars.
  }
  return cell.split("|").map((one) => one.trim()).filter(Boolean);
}

/** Answers to items, put into them; what is too large or wrong is halved until the one row at fault is known. */
async function answer(items, { name, tasks, signal }) {
  const open = items.filter((one) => !one.error);
  if (!open.length) return;
  try {
    const body = { bundle: name, inputs: open.map((one) => one.input) };
    const told = await patient(() => ask("POST", "v1/predict", body, signal), signal);
    const all = answersOf(told.body, tasks);
    open.forEach((one, place) => (one.found = all.map(({ task, answers }) => [task.name, answers[place]])));
  } catch (error) {
    if (![413, 422].includes(error.status)) throw error;
    if (open.length === 1) {
      open[0].error = error.message;
      return;
    }
    const half = Math.ceil(open.length / 2);
    await answer(open.slice(0, half), { name, tasks, signal });
    await answer(open.slice(half), { name, tasks, signal });
  }
}

/** Wait as long as a busy server says, a few times. */
async function patient(act, signal) {
  for (let left = TRIES; ; left -= 1) {
    try {
      return await act();
    } catch (error) {
      if (![429, 503].includes(error.status) || !left) throw error;
      await new Promise((go) => setTimeout(go, error.after * 1000));
      signal.throwIfAborted();
    }
  }
}

/** An answer's values by name, those of several tasks together. */
function flat(found) {
  const cells = {};
  for (const [task, answer] of found) {
    for (const [name, value] of Object.entries(answer)) {
      if (value !== null) cells[task === null ? name : `${task}.${name}`] = value;
    }
  }
  return cells;
}

/** Numbers and texts as they are, labels joined, the rest as JSON. */
function asCell(value) {
  if (Array.isArray(value) && value.every((one) => one.label)) return value.map((one) => one.label).join("; ");
  return typeof value === "object" ? JSON.stringify(value) : value;
}

/** Spans and rankings as a table shows them; the file has all of them. */
function brief(value) {
  if (!Array.isArray(value)) return asCell(value);
  return value.map((one) => one.label ?? (one.type ? `${one.text ?? one.words.join(" ")} (${one.type})` : one.text)).join("; ");
}

function outcome(items, header, bundle) {
  const flattened = items.map((one) => (one.found ? flat(one.found) : {}));
  const names = [...new Set(flattened.flatMap(Object.keys))];
  const failed = items.some((one) => one.error);
  // A column of the file may be called as one of the answer's.
  const titles = [...header, ...names.map((one) => (header.includes(one) ? `answer.${one}` : one)), ...(failed ? ["error"] : [])];
  const rowOf = (one, place, shown) =>
    [...header.map((_, cell) => one.cells[cell] ?? ""), ...names.map((key) => shown(flattened[place][key] ?? "")), ...(failed ? [one.error ?? ""] : [])];
  const cell = (value) => make("td", { class: typeof value === "number" ? "number" : null }, typeof value === "number" ? number(value, 4) : value);
  const line = (one, place) => make("tr", {}, make("th", { scope: "row" }, place + 1), rowOf(one, place, brief).map(cell));
  const save = make("button", { type: "button", class: "main", on: { click: () =>
    download(`${bundle.name}-answers.csv`, write([titles, ...items.map((one, place) => rowOf(one, place, asCell))]), "text/csv;charset=utf-8") } }, t("batch.download"));
  return make("div", { class: "card" }, make("div", { class: "row" }, save,
    items.length > SHOWN ? make("small", {}, t("batch.shown", { rows: number(SHOWN) })) : null),
    make("div", { class: "scroll", tabindex: 0 }, make("table", {},
      make("thead", {}, make("tr", {}, ["#", ...titles].map((one) => make("th", { scope: "col" }, one)))),
      make("tbody", {}, items.slice(0, SHOWN).map(line)))));
}
