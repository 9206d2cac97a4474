/** Chosen runs side by side: scores with their intervals, curves above each other, and what differs in their recipes. */

import { get } from "./api.js";
import { scoresChart } from "./chart.js";
import { lossChart, metricChart, metricsOf } from "./curves.js";
import { choice, make } from "./dom.js";
import { explain } from "./notice.js";
import { bounds, duration, score, scoreOf, stateChip, stateOf, table, to, value } from "./shown.js";
import { number, t } from "./words.js";

export function compareView(names) {
  const element = make("div", { class: "stack" });
  let gone = false;
  get("api/compare", names.map((name) => ["run", name])).then((told) => {
    if (!gone) element.replaceChildren(...views(told));
  }, (error) => {
    if (!gone) element.replaceChildren(explain(error));
  });
  return { element, stop: () => {
    gone = true;
  } };
}

function views({ runs, differences }) {
  const inked = runs.map((run, kind) => ({ ...run, kind }));
  const name = (run) => make("span", { class: "named" }, make("span", { class: `swatch ink-${run.kind}` }), make("a", { href: to(run.name) }, run.name));
  return [make("h1", {}, t("compare.title")), scoresCard(inked, name), curvesCard(inked, name), differencesCard(inked, differences, name)];
}

function scoresCard(runs, name) {
  const scored = runs.map((run) => ({ run, found: scoreOf(run) }));
  const metrics = new Set(scored.filter((one) => one.found).map(({ found }) => `${found.metric} ${found.part}`));
  const rows = scored.filter((one) => one.found).map(({ run, found }) => ({ name: name(run), kind: run.kind, ...found }));
  return make("section", { class: "card" }, make("h3", {}, t("run.scores")),
    metrics.size === 1 ? scoresChart(rows, score) : null,
    metrics.size > 1 ? make("p", { class: "hint" }, t("compare.metrics")) : null,
    table([t("compare.run"), t("list.state"), t("run.metric"), t("list.score"), t("compare.interval"), t("split.valid"), t("list.seconds"), t("run.trained")],
      scored.map(({ run, found }) => [name(run), stateChip(stateOf(run)), found?.metric ?? "–", score(found?.value), bounds(found?.low, found?.high) || "–",
        score(run.valid[run.metric]), duration(run.seconds), run.trained ? number(run.trained, 3) : "–"])),
    metrics.size === 1 ? make("p", { class: "hint" }, t("compare.overlap")) : null);
}

function curvesCard(runs, name) {
  const metrics = metricsOf(runs.flatMap((run) => run.scores), runs.find((run) => run.metric)?.metric);
  const two = make("div", { class: "two" });
  const show = (metric) => two.replaceChildren(lossChart(runs), metricChart(runs, metric));
  const pick = choice(metrics.map((one) => [one, one]), metrics[0], { "aria-label": t("curve.metric"), on: { change: () => show(pick.value) } });
  show(metrics[0]);
  return make("section", { class: "card" }, make("div", { class: "head" }, make("h3", {}, t("run.curves")), metrics.length > 1 ? pick : null),
    two, make("div", { class: "row legend" }, runs.map(name)));
}

function differencesCard(runs, differences, name) {
  return make("section", { class: "card" }, make("h3", {}, t("compare.differences")),
    differences.length ? table([t("compare.setting"), ...runs.map(name)], differences.map(({ path, values }) => [make("code", {}, path), ...values.map(value)]), { class: "differences" })
      : make("p", { class: "hint" }, t("compare.same")));
}
