/** The tab on which one text is asked. */

import { drawAnswer } from "./answers.js";
import { ask, stream } from "./api.js";
import { curl } from "./curl.js";
import { choice, copy, field, make } from "./dom.js";
import { feedback } from "./feedback.js";
import { makeForm, tasksOf } from "./form.js";
import { explain } from "./notice.js";
import { number, t } from "./words.js";

export const WRITING = ["summarise", "translate", "write"];

export function tryView({ bundle, name, can }) {
  const writes = WRITING.includes(bundle.task);
  const result = make("div", { class: "result", "aria-live": "polite", "aria-busy": "false" });
  const form = make("form", { class: "card", novalidate: true, on: { submit: (event) => {
    event.preventDefault();
    send();
  } } });
  const wish = writes ? writingWish() : null;
  const tasks = Object.keys(bundle.tasks);
  const which = tasks.length
    ? choice([["", t("try.all_tasks")], ...tasks.map((one) => [one, one])], "", { on: { change: () => refill() } })
    : null;
  const button = make("button", { class: "main" }, t("try.ask"));
  let fields;
  let running = null;

  function refill() {
    fields = makeForm(tasksOf(bundle, which?.value), send);
    form.replaceChildren(
      ...(which ? [field(t("try.task"), which)] : []), fields.element, ...(wish ? [wish.element] : []),
      make("div", { class: "row actions" }, button, make("small", { class: "hint" }, t("try.keys"))));
  }

  async function send() {
    if (running) return running.abort();
    let input;
    try {
      input = fields.read();
    } catch (error) {
      return result.replaceChildren(explain(error));
    }
    running = new AbortController();
    button.textContent = t("try.stop");
    result.setAttribute("aria-busy", "true");
    try {
      await (writes ? write(input, running.signal) : predict(input, running.signal));
    } catch (error) {
      if (error.name !== "AbortError") result.replaceChildren(explain(error));
    }
    running = null;
    button.textContent = t("try.ask");
    result.setAttribute("aria-busy", "false");
  }

  async function predict(input, signal) {
    const asked = { bundle: name, inputs: [input], probabilities: true, ...(which?.value ? { task: which.value } : {}) };
    const told = await ask("POST", "v1/predict", asked, signal);
    const answers = answersOf(told.body, tasksOf(bundle, which?.value));
    result.replaceChildren(make("div", { class: "card" }, facts(told.milliseconds, told.body.version),
      answers.map(({ task, answers: [answer] }) => make("section", {},
        task.name === null || which?.value ? null : make("h3", {}, task.name, " ", make("small", {}, t(`task.${task.task}`))),
        drawAnswer(task, answer, input),
        can.feedback ? feedback({ task, answer, input, id: told.id, bundle }) : null)),
      details("v1/predict", asked, told.body)));
  }

  async function write(input, signal) {
    const asked = { model: name, prompt: input, ...wish.read() };
    const text = make("p", { class: "written", "data-writing": true });
    const head = make("div", { class: "facts" });
    result.replaceChildren(make("div", { class: "card" }, head, make("div", { class: `answer of-${bundle.task}` }, text)));
    const started = performance.now();
    const chunks = [];
    try {
      for await (const chunk of stream("v1/completions", asked, signal)) {
        if (!chunks.length) head.replaceWith(facts(performance.now() - started, bundle.version, "try.first_word"));
        chunks.push(chunk);
        text.append(chunk.choices[0]?.text ?? "");
      }
    } finally {
      text.removeAttribute("data-writing");
    }
    text.after(...copying(t("try.copy_text"), () => text.textContent, text));
    result.firstChild.append(details("v1/completions", { ...asked, stream: true }, chunks));
  }

  refill();
  return { element: make("div", { class: "stack" }, form, result), stop: () => running?.abort() };
}

/** Each task that answered (`{name, task, labels}`) with its answers. */
export function answersOf(body, tasks) {
  if (body.task !== "several") return [{ task: tasks[0], answers: body.answers }];
  return Object.entries(body.tasks).map(([name, told]) =>
    ({ task: tasks.find((one) => one.name === name), answers: told.answers }));
}

/** How long it took, and which version answered. */
function facts(milliseconds, version, word = "try.took") {
  return make("div", { class: "facts" },
    make("span", { class: "latency" }, t(word, { ms: number(Math.max(1, milliseconds), 3) })),
    make("span", {}, t("bundle.version"), " ", make("code", {}, version)));
}

function copying(label, text, shown) {
  const button = make("button", { type: "button", class: "small", on: { click: async () => {
    button.textContent = (await copy(text(), shown)) ? t("try.copied") : t("try.copy_by_hand");
    setTimeout(() => (button.textContent = label), 1500);
  } } }, label);
  return [button];
}

/** The request as a line for a shell, and what came back. */
export function details(path, asked, told) {
  const line = make("pre", { class: "curl", tabindex: 0 }, curl(path, asked));
  const json = make("pre", { class: "json", tabindex: 0 }, JSON.stringify(told, null, 2));
  return make("div", { class: "more" },
    make("details", {}, make("summary", {}, t("try.curl")), line, copying(t("try.copy"), () => line.textContent, line)),
    make("details", {}, make("summary", {}, t("try.json")), json, copying(t("try.copy"), () => json.textContent, json)));
}

/** How a text is to be written; what is left empty is as the bundle was trained. */
export function writingWish() {
  const box = (name, attributes) => make("input", { type: "number", inputmode: "decimal", name, ...attributes,
    placeholder: t("wish.default") });
  const boxes = {
    max_tokens: box("max_tokens", { min: 1, step: 1 }),
    temperature: box("temperature", { min: 0, max: 2, step: 0.1 }),
    top_p: box("top_p", { min: 0.05, max: 1, step: 0.05 }),
  };
  const element = make("details", {}, make("summary", {}, t("wish.title")), make("div", { class: "row" },
    Object.entries(boxes).map(([name, input]) => field(t(`wish.${name}`), input))));
  const read = () => Object.fromEntries(
    Object.entries(boxes).filter(([, input]) => input.value !== "").map(([name, input]) => [name, input.valueAsNumber]));
  return { element, read };
}
