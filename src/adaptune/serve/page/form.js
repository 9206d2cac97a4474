/** What a bundle reads: fields for a person, and the input that the server is sent. */

import { field, make, onSend } from "./dom.js";
import { mark, pieces, withoutMarks } from "./text.js";
import { t } from "./words.js";

/** What was typed, by column: it stays when another bundle is chosen. */
const typed = new Map();

/** An input that lacks something; its message is for people. */
export class Missing extends Error {}

/** The tasks that answer: one, or one of each name. */
export function tasksOf(bundle, chosen = "") {
  const named = Object.entries(bundle.tasks).map(([name, task]) => ({ name, ...task }));
  if (!named.length) return [{ name: null, task: bundle.task, labels: bundle.labels, columns: bundle.columns }];
  return chosen ? named.filter((one) => one.name === chosen) : named;
}

/** The columns that a person is asked for. */
export function fieldsOf(task) {
  // Rows of a ranking were perhaps trained on right and wrong texts; asked for is which of some come first.
  if (task.task === "rank") return task.columns.filter((one) => ["query", "candidates"].includes(one.name));
  const wanted = ({ name, needed }) =>
    needed ||
    (task.task === "choose" && ["context", "question"].includes(name) && !asksFor(task));
  return task.columns.filter(wanted);
}

function asksFor(task) {
  return task.columns.some((one) => one.needed && ["context", "question"].includes(one.name));
}

/** The columns of all tasks, and whether a bare text says it all, for each task its own. */
export function columnsOf(tasks) {
  const fields = tasks.map(fieldsOf);
  const bare = fields.every((columns) => columns.length === 1 && !columns[0].several);
  const all = new Map(fields.flat().map((column) => [column.name, column]));
  return { columns: bare ? [fields[0][0]] : [...all.values()], bare };
}

/** Values by column as `/v1/predict` takes them. Throws Missing. */
export function inputOf(values, { columns, bare }) {
  const lacking = columns.find((column) => column.needed && !filled(values[column.name]));
  if (lacking) throw new Missing(t("form.missing", { field: t(`column.${lacking.name}`) }));
  if (bare) return values[columns[0].name];
  return Object.fromEntries(columns.map(({ name }) => [name, values[name]]).filter(([, value]) => filled(value)));
}

function filled(value) {
  return Array.isArray(value) ? value.length > 0 : Boolean(value?.trim());
}

export function lines(text) {
  return text.split("\n").map((line) => line.trim()).filter(Boolean);
}

/** `{element, read()}`; `read` throws Missing. */
export function makeForm(tasks, send) {
  const asked = columnsOf(tasks);
  const marks = tasks.some((one) => one.task === "relate");
  const boxes = asked.columns.map((column) => box(column, { marks: marks && column.name === "text", send }));
  const inputs = boxes.map((one) => one.input);
  return {
    element: make("div", { class: "fields" }, boxes.map((one) => one.element)),
    read() {
      const values = Object.fromEntries(
        asked.columns.map((column, place) => [column.name, valueOf(column, inputs[place].value)]),
      );
      const found = inputOf(values, asked);
      if (marks && withoutMarks(values.text).spans.length < 2) throw new Missing(t("form.unmarked"));
      return found;
    },
  };
}

function valueOf(column, text) {
  return column.several ? lines(text) : text;
}

function box(column, { marks, send }) {
  const long = column.several || ["text", "context", "source", "content"].includes(column.name);
  const input = make("textarea", {
    name: column.name,
    rows: long ? 4 : 2,
    placeholder: t(column.several ? "form.lines" : `placeholder.${marks ? "marks" : column.name}`),
    props: { value: typed.get(column.name) ?? "" },
    on: { input: () => typed.set(column.name, input.value) },
  });
  onSend(input, send);
  const element = field(t(`column.${column.name}`), input, column.several ? t("form.several") : null);
  return { input, element: marks ? [element, marker(input)] : element };
}

/** Two buttons that mark the selection, and the text as it is then read. */
function marker(input) {
  const preview = make("p", { class: "preview", "aria-live": "polite" });
  const show = () => {
    const { text, spans } = withoutMarks(input.value);
    preview.replaceChildren(...pieces(text, spans).map(({ text: part, span }) =>
      span ? make("mark", { class: `entity ${span.name}` }, part) : part));
    preview.hidden = !spans.length;
  };
  const button = (name) =>
    make("button", { type: "button", class: `small ${name}`, on: { click: () => {
      input.value = mark(input.value, name, input.selectionStart, input.selectionEnd);
      input.dispatchEvent(new Event("input"));
      input.focus();
    } } }, t(`form.mark.${name}`));
  input.addEventListener("input", show);
  show();
  return make("div", { class: "marker" }, make("div", { class: "row" }, button("e1"), button("e2"),
    make("small", {}, t("form.marking"))), preview);
}
