/** Below an answer: that it is right, or what would have been. */

import { ask } from "./api.js";
import { choice, field, make } from "./dom.js";
import { Missing } from "./form.js";
import { explain } from "./notice.js";
import { characters, split } from "./text.js";
import { t } from "./words.js";

const EDITORS = {
  answer: foundEditor,
  choose: ({ answer }) => picked(answer.options.map((one) => one.text), answer.text),
  classify: labelEditor,
  match: (asked) => (typeof asked.answer.label === "string" ? labelEditor(asked) : numberEditor(asked.answer.score)),
  multilabel: labelsEditor,
  rank: rankEditor,
  regress: ({ answer }) => numberEditor(answer.number),
  relate: labelEditor,
  summarise: textEditor,
  tag: tagEditor,
  translate: textEditor,
  write: textEditor,
};

/** `asked`: `{task, answer, input, id}`; null for tasks whose answers cannot be corrected. */
export function feedback(asked) {
  if (!EDITORS[asked.task.task] || !asked.id) return null;
  const box = make("div", { class: "feedback" });
  const editor = EDITORS[asked.task.task](asked);
  const comment = make("input", { name: "comment", maxlength: 1000 });
  const form = make("form", { class: "correct", hidden: true, on: { submit: (event) => {
    event.preventDefault();
    send();
  } } }, editor.element, field(t("feedback.comment"), comment), make("button", { class: "main" }, t("feedback.send")));
  const trouble = make("div");
  const yes = make("button", { type: "button", class: "small", on: { click: send } }, t("feedback.yes"));
  const no = make("button", { type: "button", class: "small", "aria-expanded": "false", on: { click: () => {
    form.hidden = !form.hidden;
    no.setAttribute("aria-expanded", String(!form.hidden));
    if (!form.hidden) form.querySelector("input, select, textarea, button").focus();
  } } }, t("feedback.no"));

  async function send() {
    try {
      const right = editor.read();
      await ask("POST", "v1/feedback", { request_id: asked.id, row: 0, task: asked.task.name, input: asked.input,
        comment: comment.value.trim() || null, ...right });
      box.replaceChildren(make("p", { class: "thanks", role: "status" }, t("feedback.thanks")));
    } catch (error) {
      trouble.replaceChildren(explain(error));
    }
  }

  box.append(make("div", { class: "row" }, make("span", { class: "hint" }, t("feedback.ask")), yes, no), form, trouble);
  return box;
}

let lists = 0;

function labelEditor({ task, answer }) {
  lists += 1;
  const id = `labels-${lists}`;
  const input = make("input", { name: "right", list: id, required: true, props: { value: answer.label ?? answer.relation ?? "" } });
  const element = [field(t("feedback.label"), input), make("datalist", { id }, task.labels.map((value) => make("option", { value })))];
  return { element, read: () => ({ answer: input.value.trim(), new_label: !task.labels.includes(input.value.trim()) }) };
}

function labelsEditor({ task, answer }) {
  const given = answer.labels.map((one) => one.label);
  const boxes = task.labels.map((value) => make("input", { type: "checkbox", value, checked: given.includes(value) }));
  const element = make("fieldset", { class: "checks" }, make("legend", {}, t("feedback.labels")),
    boxes.map((one) => make("label", {}, one, " ", one.value)));
  return { element, read: () => ({ answer: boxes.filter((one) => one.checked).map((one) => one.value) }) };
}

function numberEditor(value) {
  const input = make("input", { type: "number", step: "any", name: "right", required: true, props: { value } });
  return { element: field(t("feedback.number"), input), read: () => ({ answer: input.valueAsNumber }) };
}

function textEditor({ answer }) {
  const input = make("textarea", { name: "right", rows: 3, required: true, props: { value: answer.text } });
  return { element: field(t("feedback.text"), input), read: () => ({ answer: input.value }) };
}

function picked(texts, chosen) {
  const input = choice(texts.map((one) => [one, one]), chosen, { name: "right" });
  return { element: field(t("feedback.option"), input), read: () => ({ answer: input.value }) };
}

function foundEditor({ answer, input: { context } }) {
  const input = make("textarea", { name: "right", rows: 2, props: { value: answer.answer } });
  const read = () => {
    const text = input.value.trim();
    if (!text) return { answer: { answers: [], impossible: true } };
    // The same words may stand in the context several times: what was not changed stays where it was.
    const unchanged = text === answer.answer && answer.start !== null;
    const at = unchanged ? 0 : context.indexOf(text);
    if (at < 0) throw new Missing(t("feedback.not_in_context"));
    return { answer: { answers: text, start: unchanged ? answer.start : characters(context.slice(0, at)).length } };
  };
  return { element: field(t("feedback.span"), input, t("feedback.span_help")), read };
}

function rankEditor({ answer, input }) {
  const boxes = input.candidates.map((value) => make("input", { type: "checkbox", value, checked: value === answer.ranking[0].text }));
  const element = make("fieldset", { class: "checks" }, make("legend", {}, t("feedback.ranking")),
    boxes.map((one) => make("label", {}, one, " ", one.value)));
  return { element, read: () => ({ answer: boxes.map((one) => Number(one.checked)) }) };
}

/** Words to be clicked with a type in hand; neighbours of one type are one entity. */
function tagEditor({ task, answer, input }) {
  const words = typeof input === "string" ? split(input) : (input.tokens ?? split(input.text));
  const types = task.labels.filter((one) => one.startsWith("B-")).map((one) => one.slice(2));
  const tags = words.map(() => "O");
  for (const { type, start_word: start, end_word: end } of answer.entities) {
    for (let place = start; place < end; place += 1) tags[place] = `${place === start ? "B" : "I"}-${type}`;
  }
  const type = choice([...types.map((one) => [one, one]), ["", t("feedback.no_entity")]], types[0], { name: "type" });
  const buttons = words.map((word, place) => make("button", { type: "button", class: "word", on: { click: () => {
    const before = tags[place - 1] ?? "O";
    tags[place] = type.value ? `${before.slice(2) === type.value ? "I" : "B"}-${type.value}` : "O";
    const next = tags[place + 1] ?? "O";
    // What followed an entity that has changed begins one of its own.
    if (next.startsWith("I-") && next.slice(2) !== tags[place].slice(2)) tags[place + 1] = `B-${next.slice(2)}`;
    show();
  } } }, word, make("small")));
  const show = () => buttons.forEach((button, place) => {
    const kind = tags[place] === "O" ? "" : tags[place].slice(2);
    button.lastChild.textContent = kind;
    button.className = kind ? `word kind-${types.indexOf(kind) % 8}` : "word";
  });
  show();
  const element = make("div", {}, field(t("feedback.type"), type), make("p", { class: "hint" }, t("feedback.tag_help")),
    make("div", { class: "wordlist" }, buttons));
  return { element, read: () => ({ answer: tags }) };
}
