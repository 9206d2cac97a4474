/** Answers drawn as people read them, by task. Knows no routes. */

import { make } from "./dom.js";
import { drawRelation } from "./relation.js";
import { pieces } from "./text.js";
import { number, percent, t } from "./words.js";

const SHOWN = 8;
/** Kinds of spans that the style sheet has colours for. */
const COLOURS = 8;

const DRAWN = {
  answer: found,
  chat: written,
  choose: chosen,
  classify: labelled,
  match: matched,
  multilabel: severallyLabelled,
  pretrain: judged,
  rank: ranked,
  regress: (answer) => big(number(answer.number, 4)),
  relate: related,
  summarise: written,
  tag: tagged,
  translate: written,
  write: written,
};

/** One answer of one task (`{task, labels}`) to what was given. */
export function drawAnswer(task, answer, given) {
  const body = (DRAWN[task.task] ?? plain)(answer, given, task);
  return make("div", { class: `answer of-${task.task}` }, doubts(answer), body);
}

/** That the model would rather not say, or that the text is like none it learned from. */
function doubts(answer) {
  const names = ["abstained", "out_of_scope"].filter((name) => answer[name] === true);
  if (!names.length) return null;
  return make("ul", { class: "doubts" }, names.map((name) =>
    make("li", {}, make("strong", {}, t(`answer.${name}`)), " ", t(`answer.${name}.why`))));
}

function big(text, probability) {
  const sure = probability === undefined || probability === null ? null : percent(probability);
  return make("p", { class: "big" }, make("strong", {}, text), sure ? make("span", { class: "sure" }, sure) : null);
}

/** Bars of shares from 0 to 1, `{label, share, chosen, text}`; the first few, and the others on demand. */
export function bars(rows) {
  const line = ({ label, share, chosen: picked, text }) =>
    make("li", { class: picked ? "picked" : null, "aria-current": picked ? "true" : null },
      make("span", { class: "name" }, label),
      make("span", { class: "track" },
        make("span", { class: "fill", vars: { "--share": `${Math.max(0, Math.min(1, share)) * 100}%` } })),
      make("span", { class: "value" }, text ?? percent(share)));
  const list = make("ol", { class: "bars" }, rows.slice(0, SHOWN).map(line));
  const others = rows.slice(SHOWN);
  if (!others.length) return list;
  const more = make("button", { type: "button", class: "quiet", on: { click: () => {
    list.append(...others.map(line));
    more.remove();
  } } }, t("answer.more", { rows: others.length }));
  return [list, more];
}

function byShare(probabilities, picked) {
  return Object.entries(probabilities)
    .map(([label, share]) => ({ label, share, chosen: picked.includes(label) }))
    .sort((one, other) => other.share - one.share);
}

function ofLabels(answer, picked) {
  return answer.probabilities ? bars(byShare(answer.probabilities, picked)) : null;
}

function labelled(answer) {
  return [big(answer.label ?? t("answer.none"), answer.probability), ofLabels(answer, [answer.label])];
}

function matched(answer) {
  return answer.label === null || answer.label === undefined ? big(number(answer.score, 4)) : labelled(answer);
}

function severallyLabelled(answer) {
  const names = answer.labels.map((one) => one.label);
  const chips = names.length
    ? make("ul", { class: "chips" }, names.map((name) => make("li", { class: "chip" }, name)))
    : make("p", { class: "none" }, t("answer.no_labels"));
  return [chips, ofLabels(answer, names) ?? bars(answer.labels.map((one) => ({ ...one, share: one.probability })))];
}

/** Which of the colours each type of entity has: their order among the bundle's labels. */
function colours(task, entities) {
  const known = (task.labels ?? []).filter((label) => label.includes("-")).map((label) => label.slice(2));
  const types = [...new Set([...known, ...entities.map((one) => one.type)])];
  return Object.fromEntries(types.map((type, place) => [type, `kind-${place % COLOURS}`]));
}

function textOf(given, ...columns) {
  if (typeof given === "string") return given;
  const name = columns.find((column) => typeof given?.[column] === "string");
  return name ? given[name] : "";
}

function tagged(answer, given, task) {
  const text = textOf(given, "text");
  const colour = colours(task, answer.entities);
  const shown = pieces(text, answer.entities.filter((one) => Number.isInteger(one.start)));
  const entity = (part, one) =>
    make("mark", { class: `entity ${colour[one.type]}`, title: one.probability ? percent(one.probability) : null },
      part, make("small", {}, one.type));
  const rows = answer.entities.map((one) => make("li", {},
    make("span", { class: `dot ${colour[one.type]}` }), make("span", { class: "type" }, one.type),
    make("span", { class: "grow" }, one.text ?? one.words.join(" ")),
    make("span", { class: "value" }, typeof one.probability === "number" ? percent(one.probability) : "")));
  return [
    make("p", { class: "marked" }, shown.map(({ text: part, span }) => (span ? entity(part, span) : part))),
    rows.length ? make("ul", { class: "entities" }, rows) : make("p", { class: "none" }, t("answer.no_entities")),
  ];
}

function related(answer, given) {
  return [drawRelation(textOf(given, "text"), answer), ofLabels(answer, [answer.relation])];
}

function found(answer, given) {
  if (!answer.answer) return [big(t("answer.not_in_context"), answer.probability), make("p", { class: "marked" }, given.context)];
  const parts = pieces(given.context, answer.start === null ? [] : [answer]);
  return [
    big(answer.answer, answer.probability),
    make("p", { class: "marked" }, parts.map(({ text, span }) =>
      span ? make("mark", { class: "entity e1" }, text) : text)),
  ];
}

function written(answer) {
  return make("p", { class: "written" }, answer.text);
}

function judged(answer) {
  const pairs = [["perplexity", number(answer.perplexity, 4)], ["tokens", number(answer.tokens)],
    ["log_likelihood", number(answer.log_likelihood, 5)]];
  return make("dl", { class: "figures" }, pairs.map(([name, value]) =>
    make("div", {}, make("dt", {}, t(`answer.${name}`)), make("dd", {}, value))));
}

function chosen(answer) {
  const rows = answer.options.map((one, place) =>
    ({ label: one.text, share: one.probability, chosen: place === answer.choice }));
  return [big(answer.text, answer.probability), bars(rows)];
}

function ranked(answer) {
  const scores = answer.ranking.map((one) => one.score);
  const [most, least] = [Math.max(...scores), Math.min(...scores, 0)];
  return make("div", { class: "ranked" }, bars(answer.ranking.map((one, place) => ({
    label: `${place + 1}. ${one.text}`,
    share: most > least ? (one.score - least) / (most - least) : 1,
    chosen: place === 0,
    text: number(one.score),
  }))));
}

function plain(answer) {
  return make("pre", {}, JSON.stringify(answer, null, 2));
}
