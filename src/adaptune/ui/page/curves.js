/** What a run has logged, as lines; and how far it is. Knows no elements but the charts'. */

import { chart, smoothed } from "./chart.js";
import { t } from "./words.js";

const NOT_METRICS = new Set(["step", "epoch", "seconds", "gained"]);

/** The metrics of some evaluations, the one that counts first. */
export function metricsOf(scores, first) {
  const found = [...new Set(scores.flatMap((one) => Object.keys(one).filter((name) => !NOT_METRICS.has(name))))];
  return found.includes(first) ? [first, ...found.filter((one) => one !== first)] : found;
}

export function lossChart(runs) {
  const lines = runs.flatMap(({ name, steps, kind = 0 }) => {
    const points = steps.map((one) => [one.step, one.loss]);
    const smooth = smoothed(points);
    return [...(smooth === points || runs.length > 1 ? [] : [{ name, points, kind, faint: true }]), { name, points: smooth, kind }];
  });
  return chart({ title: t("curve.loss"), x: t("curve.step"), lines, empty: t("curve.no_steps") });
}

export function metricChart(runs, metric) {
  const lines = runs.map(({ name, scores, kind = 0 }) => {
    const points = scores.filter((one) => typeof one[metric] === "number").map((one) => [one.step, one[metric]]);
    const best = scores.findLast((one) => one.gained && typeof one[metric] === "number");
    return { name, points, kind, dots: true, mark: best ? [best.step, best[metric]] : null };
  });
  return chart({ title: t("curve.valid", { metric: metric ?? "" }), x: t("curve.step"), lines, empty: t("curve.no_scores") });
}

/** `{share, elapsed, left}` in seconds of training, at most; null before the first step. */
export function progress({ steps, scores }, { epochs, max_steps, max_seconds }) {
  const last = steps.at(-1);
  if (!last) return null;
  const scored = scores.at(-1) ?? { step: 0, seconds: 0 };
  const since = steps.filter((one) => one.step > scored.step).reduce((sum, one) => sum + one.seconds, 0);
  const elapsed = scored.seconds + since;
  const shares = [[last.epoch, epochs], [last.step, max_steps], [elapsed, max_seconds]].filter(([, all]) => all > 0).map(([done, all]) => done / all);
  const share = Math.min(1, Math.max(0, ...shares));
  return { share, elapsed, left: share > 0 ? (elapsed * (1 - share)) / share : null };
}
