/** One run: what it came to, how it learned, what it was told; followed while it runs, stopped, gone on with. */

import { get, post } from "./api.js";
import { scoresChart } from "./chart.js";
import { lossChart, metricChart, metricsOf, progress } from "./curves.js";
import { choice, make } from "./dom.js";
import { explain } from "./notice.js";
import { bounds, duration, score, shortModel, stateChip, stateOf, table } from "./shown.js";
import { number, t, time } from "./words.js";

const EVERY = 1000;
const OVER = ["finished", "interrupted", "unsaved", "stopped", "failed"];

export function runView(name) {
  const parts = Object.fromEntries(["head", "live", "scores", "curves", "more"].map((one) => [one, make("div", { class: `stack part-${one}` })]));
  const element = make("div", { class: "stack" }, Object.values(parts));
  const logged = { steps: [], scores: [] };
  const cursor = { steps: "", scores: "" };
  let told = null;
  let state = "";
  let metric = "";
  let timer = 0;
  let gone = false;

  async function load() {
    try {
      told = await get("api/run", { name });
    } catch (error) {
      if (!gone) element.replaceChildren(explain(error));
      return;
    }
    if (gone) return;
    await follow();
  }

  /** What is new, and all again where the run has come to another state. */
  async function follow() {
    let fresh = false;
    try {
      const answer = told.run ? await get("api/live", { name, ...cursor }) : await get("api/run", { name });
      if (gone) return;
      if (!told.run && answer.run) told = answer;
      told = { ...told, run: answer.run, jobs: answer.jobs, log: answer.log };
      for (const kind of ["steps", "scores"]) fresh = take(kind, answer[kind]) || fresh;
    } catch (error) {
      if (error.status) parts.live.replaceChildren(explain(error));
    }
    if (gone) return;
    const now = stateOf(told.run, told.jobs);
    if (now !== state && state && OVER.includes(now)) told = await get("api/run", { name }).catch(() => told);
    if (gone) return;
    if (now !== state) showAll(now);
    else showLog();
    if (fresh) showCurves();
    if (!OVER.includes(now)) showLive();
    // A process has its last words when its run is over.
    if (!OVER.includes(now) || told.jobs.some((job) => job.state !== "ended")) timer = setTimeout(follow, EVERY);
  }

  function take(kind, part) {
    if (!part) return false;
    cursor[kind] = part.cursor;
    if (part.reset) logged[kind] = [];
    logged[kind].push(...part.records);
    return part.reset || part.records.length > 0;
  }

  function showAll(now) {
    state = now;
    parts.head.replaceChildren(...head(name, told, state, act));
    parts.live.replaceChildren();
    parts.scores.replaceChildren(...scoreCards(told.report));
    showCurves();
    parts.more.replaceChildren(...more(name, told, state));
  }

  function showCurves() {
    if (!told.run) return;
    const metrics = metricsOf(logged.scores, told.run.metric);
    if (!metrics.includes(metric)) [metric = ""] = metrics;
    const pick = metrics.length > 1 ? choice(metrics.map((one) => [one, one]), metric, { "aria-label": t("curve.metric"), on: { change: () => {
      metric = pick.value;
      showCurves();
      parts.curves.querySelector("select")?.focus();
    } } }) : null;
    parts.curves.replaceChildren(make("section", { class: "card" }, make("div", { class: "head" }, make("h3", {}, t("run.curves")), pick),
      make("div", { class: "two" }, lossChart([{ name, steps: logged.steps }]), metricChart([{ name, scores: logged.scores }], metric))));
  }

  function showLive() {
    const last = logged.steps.at(-1);
    const known = last && told.planned ? progress(logged, told.planned) : null;
    const best = logged.scores.findLast((one) => one.gained);
    const first = metricsOf(logged.scores, told.run?.metric)[0];
    const figures = last ? [["loss", number(last.loss, 4)], ["step", number(last.step, 9)], ["epoch", number(last.epoch, 3)],
      ...(best && first ? [["best", `${first} ${score(best[first])}`]] : []),
      ["elapsed", duration(known?.elapsed)], ["left", known?.left === null || known === null ? "–" : t("run.at_most", { time: duration(known.left) })]] : [];
    parts.live.replaceChildren(make("section", { class: "card", "data-live": true },
      last ? make("progress", { max: 1, value: (known?.share ?? 0).toFixed(4), "aria-label": t("run.progress") }) : make("p", { class: "hint" }, t(`run.${state}`)),
      figures.length ? make("dl", { class: "about" }, figures.map(([one, value]) => make("div", {}, make("dt", {}, t(`run.${one}`)), make("dd", {}, value)))) : null));
  }

  function showLog() {
    const log = parts.more.querySelector("pre.log");
    if (!log || log.textContent === told.log) return;
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.textContent = told.log;
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  async function act(path, button) {
    button.disabled = true;
    try {
      await post(path, { name });
      if (path === "api/stop") button.textContent = t("run.stopping");
      clearTimeout(timer);
      timer = setTimeout(follow, EVERY / 4);
    } catch (error) {
      parts.live.replaceChildren(explain(error));
      button.disabled = false;
    }
  }

  load();
  return { element, stop: () => {
    gone = true;
    clearTimeout(timer);
  } };
}

function head(name, told, state, act) {
  const { run, report } = told;
  const button = (word, path, kind) => make("button", { type: "button", class: kind, "data-act": word, on: { click: (event) => act(path, event.target) } }, t(`run.${word}`));
  const actions = [
    state === "running" || state === "starting" ? button("stop", "api/stop", "") : null,
    run?.resumable && ["interrupted", "failed"].includes(state) ? button("resume", "api/resume", "main") : null,
    told.html ? make("a", { class: "button", href: `report?name=${encodeURIComponent(name)}`, target: "_blank", rel: "noreferrer" }, t("run.report")) : null,
    run ? make("a", { class: "button", href: `#/new/run/${encodeURIComponent(name)}` }, t("run.again")) : null,
  ];
  const facts = run ? [["task", run.task.split(", ").map((one) => t(`task.${one}`)).join(" + ")], ["method", run.method],
    ["model", make("span", { title: run.model }, shortModel(run.model))], ["begun", time(run.begun)]] : [];
  if (typeof run?.seconds === "number") facts.push(["took", duration(run.seconds)]);
  if (run?.trained) facts.push(["trained", `${number(run.trained, 3)} (${share(run.trained / report.parameters.total)})`]);
  if (report?.examples) facts.push(["rows", Object.values(report.examples).map((one) => number(one, 9)).join(" / ")]);
  return [make("div", { class: "title" }, make("div", { class: "head" }, make("h1", {}, name === "." ? t("list.itself") : name, " ", stateChip(state)), make("div", { class: "row" }, actions)),
    state === "unsaved" ? make("p", { class: "hint" }, t("run.nothing_saved")) : null,
    state === "failed" ? make("p", { class: "hint" }, told.failure ?? t("run.see_log")) : null,
    make("dl", { class: "about" }, facts.map(([one, value]) => make("div", {}, make("dt", {}, t(`run.${one}`)), make("dd", {}, value)))))];
}

function share(part) {
  return `${number(100 * part, 2)} %`;
}

/** A card for each task: its score beside the baselines, and every metric. */
function scoreCards(report) {
  if (!report || !("metric" in report || "tasks" in report)) return [];
  const tasks = report.tasks ? Object.entries(report.tasks) : [["", report]];
  return tasks.filter(([, one]) => one.metric).map(([name, one]) => scoreCard(name, one));
}

function scoreCard(name, report) {
  const { metric, test = {}, valid = {}, interval, baseline = {} } = report;
  const part = typeof test[metric] === "number" ? test : valid;
  const fits = part === test && interval?.metric === metric ? interval : {};
  const rows = [{ name: t(part === test ? "split.test" : "split.valid"), value: part[metric], low: fits.low, high: fits.high },
    ...Object.entries(baseline).map(([one, scores]) => ({ name: t("run.baseline", { name: t(`baseline.${one}`) }), value: scores[metric], plain: true }))];
  const known = rows.filter((one) => typeof one.value === "number");
  const classes = Object.entries(report.per_class ?? {});
  const columns = classes.length ? Object.keys(classes[0][1]) : [];
  return make("section", { class: "card scores" }, make("div", { class: "head" }, make("h3", {}, name || t("run.scores")), make("small", {}, metric)),
    make("p", { class: "big-score" }, make("strong", {}, score(part[metric])), " ",
      fits.low === undefined ? make("small", {}, t(part === test ? "split.test" : "split.valid")) : make("small", {}, t("run.interval", { bounds: bounds(fits.low, fits.high), level: number(100 * fits.level) }))),
    known.length > 1 || fits.low !== undefined ? scoresChart(known, score) : null,
    make("details", {}, make("summary", {}, t("run.all_scores")), table([t("run.metric"), t("split.valid"), t("split.test")],
      [...new Set([...Object.keys(valid), ...Object.keys(test)])].map((one) => [one, score(valid[one]), score(test[one])]))),
    classes.length ? make("details", {}, make("summary", {}, t("run.classes")), table(["", ...columns], classes.map(([one, values]) => [one, ...columns.map((column) => number(values[column], 3))]))) : null);
}

function more(name, told, state) {
  const log = make("pre", { class: "log", tabindex: 0 }, told.log);
  const found = [];
  if (told.bundle) {
    found.push(make("section", { class: "card" }, make("h3", {}, t("run.bundle")), make("p", { class: "hint" }, t("run.use")),
      make("pre", {}, `adaptune show ${told.bundle}\nadaptune serve ${told.bundle}`)));
  }
  if (told.log) found.push(make("section", { class: "card" }, make("details", { open: state !== "finished" }, make("summary", {}, t("run.log")), log)));
  else if (state === "running") found.push(make("p", { class: "hint" }, t("run.no_log")));
  if (told.recipe) found.push(make("section", { class: "card" }, make("details", {}, make("summary", {}, t("run.recipe")), make("pre", { tabindex: 0 }, told.recipe))));
  return found;
}

