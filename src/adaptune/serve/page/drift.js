/** The tab that shows how the texts and answers of late differ from those that the bundle was judged by. */

import { ask } from "./api.js";
import { choice, draw, make } from "./dom.js";
import { explain } from "./notice.js";
import { number, percent, t } from "./words.js";

const EVERY = 15_000;
const MEASURES = ["labels", "confidence", "length", "unknown", "embedding"];
/** Below this, a difference is unlikely to be chance. */
const UNLIKELY = 0.01;
const LONGEST = 120;

export function driftView({ name }) {
  const element = make("div", { class: "stack", "aria-busy": "true" });
  /** Drift by task, window and measure since the tab was opened. */
  const history = new Map();
  let chosen = "";
  let timer = 0;
  let gone = false;

  async function refresh() {
    try {
      const { body } = await ask("GET", `v1/bundles/${name}/drift`);
      if (!gone) show(body);
    } catch (error) {
      if (!gone) element.replaceChildren(explain(error));
      return;
    } finally {
      element.setAttribute("aria-busy", "false");
    }
    if (!gone) timer = setTimeout(refresh, EVERY);
  }

  function show(body) {
    const windows = [...new Set(body.tasks.flatMap((task) => task.windows.map((one) => one.window)))];
    if (!windows.includes(chosen)) [chosen] = windows;
    for (const task of body.tasks) for (const one of task.windows) remember(history, task, one);
    const pick = choice(windows.map((one) => [one, one]), chosen, { "aria-label": t("drift.window"), on: { change: () => {
      chosen = pick.value;
      show(body);
      element.querySelector("select").focus();
    } } });
    element.replaceChildren(
      make("div", { class: "row" }, make("label", { class: "inline" }, t("drift.window"), " ", pick), make("small", { class: "hint" }, t("drift.help"))),
      ...body.tasks.map((task) => taskCard(task, task.windows.find((one) => one.window === chosen), history)),
      requestsCard(body.requests));
  }

  refresh();
  return { element, stop: () => {
    gone = true;
    clearTimeout(timer);
  } };
}

function remember(history, task, window) {
  for (const measure of MEASURES) {
    const kept = history.get(keyOf(task, window, measure)) ?? [];
    if (typeof window[measure]?.drift === "number") kept.push(window[measure].drift);
    history.set(keyOf(task, window, measure), kept.slice(-LONGEST));
  }
}

function keyOf(task, window, measure) {
  return [task.name, window.window, measure].join("\n");
}

function taskCard(task, window, history) {
  const { source, rows, complete } = task.reference;
  const facts = make("p", { class: "hint" }, t(source === "validation" ? "drift.validation" : "drift.first_rows", { rows: number(rows, 9) }),
    complete ? "" : ` ${t("drift.incomplete")}`);
  const title = make("h3", {}, task.name ?? t("drift.title"), " ", make("small", {}, t(`task.${task.task}`)));
  if (!window?.rows) return make("section", { class: "card" }, title, facts, make("p", { class: "none" }, t("drift.no_rows")));
  const measured = MEASURES.filter((one) => typeof window[one]?.drift === "number" || typeof window[one]?.now === "number");
  return make("section", { class: "card" }, title, facts,
    make("div", { class: "scroll" }, make("table", {},
      make("thead", {}, make("tr", {}, ["measure", "now", "reference", "drift", "p", "trend"].map((one) => make("th", { scope: "col" }, t(`drift.${one}`))))),
      make("tbody", {}, measured.map((one) => measureRow(one, window[one], history.get(keyOf(task, window, one))))))),
    window.shares?.length ? [make("h4", {}, t("drift.shares")), sharesChart(window.shares)] : null,
    make("p", { class: "hint" }, t("drift.rows", { rows: number(window.rows, 9), window: window.window })));
}

function measureRow(name, measure, trend) {
  const shown = (value) => (typeof value === "number" ? number(value) : "–");
  const unlikely = typeof measure.p === "number" && measure.p < UNLIKELY;
  return make("tr", { class: unlikely ? "flagged" : null },
    make("th", { scope: "row" }, t(`drift.${name}`)),
    make("td", { class: "number" }, shown(measure.now)), make("td", { class: "number" }, shown(measure.reference)),
    make("td", { class: "number" }, shown(measure.drift), " ", meter(measure.drift)),
    make("td", { class: "number" }, shown(measure.p), unlikely ? make("small", {}, ` ${t("drift.unlikely")}`) : null),
    make("td", {}, spark(trend)));
}

function meter(value) {
  const width = 48 * Math.max(0, Math.min(1, value ?? 0));
  return draw("svg", { class: "meter", viewBox: "0 0 48 6", width: 48, height: 6, "aria-hidden": "true" },
    draw("rect", { width: 48, height: 6, rx: 3, class: "track" }), draw("rect", { width, height: 6, rx: 3, class: "bar" }));
}

/** A small line of what was seen since the tab was opened. */
function spark(values) {
  if (values.length < 2) return make("span", { class: "none" }, "–");
  const most = Math.max(...values, 1e-9);
  const points = values.map((one, place) => `${((place / (values.length - 1)) * 96 + 2).toFixed(1)},${(22 - (one / most) * 20).toFixed(1)}`);
  return draw("svg", { class: "spark", viewBox: "0 0 100 24", width: 100, height: 24, "aria-hidden": "true" }, draw("polyline", { points: points.join(" ") }));
}

/** Of each label two bars: now, and in the reference. */
function sharesChart(shares) {
  const most = Math.max(...shares.flatMap((one) => [one.now ?? 0, one.reference ?? 0]), 1e-9);
  const bar = (value, y, kind) => draw("rect", { y, height: 7, rx: 2, class: kind, width: `${((value ?? 0) / most) * 100}%` });
  const said = (value) => (typeof value === "number" ? percent(value) : "–");
  return make("ul", { class: "shares" },
    make("li", { class: "key" }, make("span", { class: "dot now" }), t("drift.now"), make("span", { class: "dot reference" }), t("drift.reference")),
    shares.map((one) => make("li", {}, make("span", { class: "name" }, one.label),
      draw("svg", { height: 17, "aria-hidden": "true" }, bar(one.now, 0, "now"), bar(one.reference, 9, "reference")),
      make("span", { class: "value" }, t("drift.share", { now: said(one.now), reference: said(one.reference) })))));
}

function requestsCard(requests) {
  if (!requests?.length) return null;
  const ms = (seconds) => (typeof seconds === "number" ? t("drift.ms", { ms: number(seconds * 1000) }) : "–");
  const columns = ["window", "requests", "errors", "latency_mean", "latency_p95"];
  return make("section", { class: "card" }, make("h3", {}, t("drift.traffic")), make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, columns.map((one) => make("th", { scope: "col" }, t(`drift.${one}`))))),
    make("tbody", {}, requests.map((one) => make("tr", {}, make("th", { scope: "row" }, one.window),
      [number(one.requests, 9), number(one.errors, 9), ms(one.latency_mean), ms(one.latency_p95)].map((cell) => make("td", { class: "number" }, cell))))))));
}
