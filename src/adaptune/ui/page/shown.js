/** How runs are written: names, states, scores, times. */

import { make } from "./dom.js";
import { number, spoken, t } from "./words.js";

export function to(name) {
  return `#/run/${encodeURIComponent(name)}`;
}

/** The state of a run, or of what was asked for. */
export function stateChip(state) {
  return make("span", { class: `chip state-${state}` }, t(`state.${state}`));
}

/** A run is waiting or starting where a process was asked for and has not begun to write. */
export function stateOf(run, jobs = []) {
  const job = jobs.findLast((one) => one.state !== "ended");
  if (run?.state === "running") return "running";
  // A process lives a moment longer than its run.
  const done = run && job?.state === "running" && (job.resume ? run.state === "finished" : Date.parse(run.begun) / 1000 > job.asked - 1);
  if (job && !done) return job.state === "waiting" ? "waiting" : "starting";
  if (run) return run.state === "interrupted" && !run.resumable ? "unsaved" : run.state;
  return "failed";
}

/** The last part of a model's name or path. */
export function shortModel(model) {
  return model.split("/").findLast(Boolean) ?? model;
}

/** `{value, metric, part, low, high}` of the score that counts; null where there is none. */
export function scoreOf(run) {
  const part = ["test", "valid"].find((one) => run.metric !== null && typeof run[one]?.[run.metric] === "number");
  if (!part) return null;
  const bounds = part === "test" && run.interval?.metric === run.metric ? run.interval : {};
  return { value: run[part][run.metric], metric: run.metric, part, low: bounds.low, high: bounds.high };
}

export function score(value) {
  if (typeof value !== "number") return "–";
  const digits = Math.abs(value) < 10 ? 3 : 1;
  return new Intl.NumberFormat(spoken(), { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

export function bounds(low, high) {
  return typeof low === "number" ? `${score(low)} – ${score(high)}` : "";
}

/** 75 -> 1:15 */
export function duration(seconds) {
  if (typeof seconds !== "number") return "–";
  if (seconds < 60) return t("shown.seconds", { seconds: number(seconds, seconds < 10 ? 2 : 3) });
  seconds = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (value) => String(value).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** A value of a recipe. */
export function value(found) {
  if (found === null || found === undefined) return "–";
  return typeof found === "object" ? JSON.stringify(found) : String(found);
}

/** A table of cells; those that are numbers stand as such. */
export function table(head, rows, attributes = {}) {
  return make("div", { class: "scroll" }, make("table", attributes,
    make("thead", {}, make("tr", {}, head.map((one) => make("th", { scope: "col" }, one)))),
    make("tbody", {}, rows.map(([first, ...cells]) => make("tr", {}, make("th", { scope: "row" }, first),
      cells.map((one) => make("td", { class: "number" }, one)))))));
}
