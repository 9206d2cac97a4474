/** All runs: found by words, by state and by task, in an order of one's choice; some of them chosen to be compared. */

import { get, post } from "./api.js";
import { choice, make } from "./dom.js";
import { explain } from "./notice.js";
import { bounds, duration, score, scoreOf, shortModel, stateChip, stateOf, to } from "./shown.js";
import { t, time } from "./words.js";

const EVERY = 3000;
const MOST = 6;
const STATES = ["finished", "running", "interrupted", "unsaved", "failed", "stopped"];
const COLUMNS = {
  name: (run) => run.name,
  state: (run) => STATES.indexOf(run.shown),
  task: (run) => run.task,
  method: (run) => run.method,
  model: (run) => shortModel(run.model),
  score: (run) => scoreOf(run)?.value ?? -Infinity,
  seconds: (run) => run.seconds ?? -Infinity,
  begun: (run) => run.begun,
};
/** Of these, the largest comes first. */
const FALLING = ["score", "seconds", "begun"];

/** What was sought and chosen: it stays when another view is opened. */
const asked = { words: "", state: "", task: "", by: "begun", turned: false };
const chosen = new Set();

export function listView() {
  const element = make("div", { class: "stack" });
  const found = make("div", { class: "stack" });
  let told = { runs: [], jobs: [] };
  let before = "";
  let timer = 0;
  let gone = false;
  let made = false;

  async function refresh() {
    try {
      const answer = await get("api/runs");
      if (gone) return;
      told = answer;
      const now = JSON.stringify(answer);
      if (now !== before) {
        before = now;
        if (!made) frameIt();
        show();
      }
    } catch (error) {
      if (!gone && !made) element.replaceChildren(explain(error));
    }
    if (!gone) timer = setTimeout(refresh, EVERY);
  }

  function frameIt() {
    made = true;
    const words = make("input", { type: "search", name: "words", placeholder: t("list.search"), "aria-label": t("list.search"), props: { value: asked.words } });
    const states = choice([["", t("list.all_states")], ...STATES.map((one) => [one, t(`state.${one}`)])], asked.state, { name: "state", "aria-label": t("list.state") });
    const tasks = [...new Set(told.runs.map((run) => run.task).filter(Boolean))].sort();
    const task = choice([["", t("list.all_tasks")], ...tasks.map((one) => [one, taskName(one)])], asked.task, { name: "task", "aria-label": t("list.task") });
    for (const [name, input] of Object.entries({ words, state: states, task })) {
      input.addEventListener("input", () => {
        asked[name] = input.value;
        show();
      });
    }
    element.replaceChildren(
      make("h1", {}, t("list.title")), make("div", { class: "row filters" }, words, states, task), found);
  }

  function show() {
    const at = document.activeElement?.dataset.key;
    const runs = told.runs.map((run) => ({ ...run, shown: stateOf(run, told.jobs.filter((job) => job.run === run.name)) }));
    const shown = sorted(runs.filter(fits));
    for (const name of chosen) if (!runs.some((run) => run.name === name)) chosen.delete(name);
    found.replaceChildren(waiting(told), bar(show),
      runs.length ? table(shown, show) : make("div", { class: "card empty" }, make("h3", {}, t("list.none")), make("p", { class: "hint" }, t("list.how"))),
      runs.length ? make("p", { class: "hint count" }, t("list.count", { shown: shown.length, all: runs.length })) : "");
    if (at) found.querySelector(`[data-key="${CSS.escape(at)}"]`)?.focus();
  }

  refresh();
  return { element, stop: () => {
    gone = true;
    clearTimeout(timer);
  } };
}

function taskName(task) {
  return task.split(", ").map((one) => t(`task.${one}`)).join(" + ");
}

function fits(run) {
  const text = [run.name, run.task, taskName(run.task), run.method, run.model].join(" ").toLowerCase();
  return (!asked.state || run.shown === asked.state) && (!asked.task || run.task === asked.task)
    && asked.words.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function sorted(runs) {
  const key = COLUMNS[asked.by];
  const turn = (FALLING.includes(asked.by) ? -1 : 1) * (asked.turned ? -1 : 1);
  const order = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
  return [...runs].sort((one, other) => turn * order(key(one), key(other)) || order(one.name, other.name));
}

/** What was asked for and has no run folder yet, or ended without one. */
function waiting({ runs, jobs }) {
  const known = new Set(runs.map((run) => run.name));
  const open = jobs.filter((job) => job.state === "waiting" || !known.has(job.run));
  if (!open.length) return "";
  return make("section", { class: "card queue" }, make("h4", {}, t("list.queue")), make("ul", {}, open.map((job) =>
    make("li", { class: "row" }, make("a", { href: to(job.run) }, job.run), stateChip(job.state === "waiting" ? "waiting" : job.state === "running" ? "starting" : "failed"),
      job.state !== "running" ? make("button", { type: "button", class: "small", on: { click: (event) => {
        event.target.disabled = true;
        post("api/remove", { id: job.id }).catch((error) => event.target.replaceWith(error.message));
      } } }, t("list.remove")) : null))));
}

function bar(show) {
  if (!chosen.size) return "";
  const names = [...chosen];
  const enough = names.length > 1;
  return make("div", { class: "row chosen" }, make("span", {}, t("list.chosen", { runs: names.length })),
    enough ? make("a", { class: "button small main", href: `#/compare/${names.map(encodeURIComponent).join("/")}` }, t("list.compare")) : make("span", { class: "hint" }, t("list.one_more")),
    make("button", { type: "button", class: "quiet", on: { click: () => {
      chosen.clear();
      show();
    } } }, t("list.clear")));
}

function table(runs, show) {
  const head = ["name", "state", "task", "method", "model", "score", "seconds"].map((one) => {
    const current = asked.by === one;
    const falling = FALLING.includes(one) !== asked.turned;
    return make("th", { scope: "col", "aria-sort": current ? (falling ? "descending" : "ascending") : null, class: ["score", "seconds"].includes(one) ? "right" : null },
      make("button", { type: "button", class: "sort", "data-key": `sort ${one}`, on: { click: () => {
        asked.turned = current ? !asked.turned : false;
        asked.by = one;
        show();
      } } }, t(`list.${one}`)));
  });
  return make("div", { class: "card flush" }, make("div", { class: "scroll tall" }, make("table", { class: "runs" },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, make("span", { class: "unseen" }, t("list.choose"))), head)),
    make("tbody", {}, runs.map((run) => row(run, show))))));
}

function row(run, show) {
  const found = scoreOf(run);
  const box = make("input", { type: "checkbox", "data-key": `choose ${run.name}`, "aria-label": t("list.choose_one", { run: run.name }), props: { checked: chosen.has(run.name), disabled: !chosen.has(run.name) && chosen.size >= MOST },
    on: { change: () => {
      if (box.checked) chosen.add(run.name);
      else chosen.delete(run.name);
      show();
    } } });
  return make("tr", { "data-name": run.name }, make("td", {}, box),
    make("th", { scope: "row" }, make("a", { href: to(run.name) }, run.name === "." ? t("list.itself") : run.name), make("small", {}, time(run.begun))),
    make("td", {}, stateChip(run.shown)), make("td", {}, taskName(run.task)), make("td", {}, run.method), make("td", { class: "model", title: run.model }, shortModel(run.model)),
    make("td", { class: "number right" }, found ? [make("strong", {}, score(found.value)), make("small", {}, found.metric, found.part === "valid" ? ` · ${t("split.valid")}` : "", bounds(found.low, found.high) ? ` · ${bounds(found.low, found.high)}` : "")] : make("span", { class: "none" }, "–")),
    make("td", { class: "number right" }, duration(run.seconds)));
}
