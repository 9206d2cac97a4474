/** Lines over steps, and scores with their intervals, as drawings. Knows no runs. */

import { draw, make } from "./dom.js";
import { number, t } from "./words.js";

const HEIGHT = 220;
/** Of the largest score, that an axis of scores spans at least. */
const LEAST = 0.1;
const EDGE = { left: 52, right: 14, top: 12, bottom: 26 };

/** Round values that cover a range. */
export function ticks(low, high, most = 5) {
  if (!(high > low)) return [low];
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let place = Math.ceil(low / step - 1e-9); place * step <= high + step * 1e-9; place += 1) found.push(Number((place * step).toPrecision(12)));
  return found;
}

/** Each y as the mean of those around it, where there are many. */
export function smoothed(points) {
  const reach = Math.floor(points.length / 60);
  if (!reach) return points;
  return points.map(([x], place) => {
    const near = points.slice(Math.max(0, place - reach), place + reach + 1);
    return [x, near.reduce((sum, [, y]) => sum + y, 0) / near.length];
  });
}

/**
 * Lines `{name, points: [[x, y], ...], kind, dots, faint, mark}` on common axes; `mark` is one point that stands out.
 * The drawing is as wide as there is room, and says what lies under the pointer.
 */
export function chart({ title, x, lines, empty }) {
  const read = make("span", { class: "read" });
  const figure = make("figure", { class: "chart" }, make("figcaption", {}, make("span", {}, make("strong", {}, title), " ", make("small", {}, t("curve.by", { x }))), read));
  const room = make("div", { class: "room" });
  figure.append(room);
  const drawn = lines.filter((line) => line.points.length);
  if (!drawn.length) {
    room.append(make("p", { class: "none" }, empty));
    return figure;
  }
  const paint = () => room.replaceChildren(drawing(room.clientWidth || 560, { title, x, lines: drawn, read }));
  new ResizeObserver(paint).observe(room);
  paint();
  return figure;
}

function drawing(width, { title, x, lines, read }) {
  const all = lines.flatMap((line) => line.points);
  const [left, right] = range(all.map(([one]) => one));
  const [low, high] = padded(range(all.map(([, one]) => one)));
  const across = (value) => EDGE.left + ((value - left) / (right - left || 1)) * (width - EDGE.left - EDGE.right);
  const down = (value) => HEIGHT - EDGE.bottom - ((value - low) / (high - low || 1)) * (HEIGHT - EDGE.top - EDGE.bottom);
  const pointer = draw("line", { class: "pointer", y1: EDGE.top, y2: HEIGHT - EDGE.bottom, visibility: "hidden" });
  const picture = draw("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": said(title, lines) },
    ticks(low, high).map((one) => [
      draw("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: down(one), y2: down(one) }),
      draw("text", { class: "tick", x: EDGE.left - 8, y: down(one) + 4, "text-anchor": "end" }, number(one, 4))]),
    ticks(left, right, Math.max(2, Math.floor(width / 110))).map((one) =>
      draw("text", { class: "tick", x: across(one), y: HEIGHT - 8, "text-anchor": "middle" }, number(one, 6))),
    lines.map((line) => drawnLine(line, across, down)), pointer);
  picture.addEventListener("pointermove", (event) => {
    const at = left + ((event.offsetX - EDGE.left) / (width - EDGE.left - EDGE.right)) * (right - left);
    const named = lines.filter((line) => !line.faint).map((line) => ({ line, point: nearest(line.points, at) }));
    const place = across(named[0].point[0]);
    for (const end of ["x1", "x2"]) pointer.setAttribute(end, place);
    pointer.setAttribute("visibility", "visible");
    read.replaceChildren(`${x} ${number(named[0].point[0], 6)}`, ...named.map(({ line, point }) =>
      make("span", { class: `ink-${line.kind ?? 0}` }, number(point[1], 4))));
  });
  picture.addEventListener("pointerleave", () => {
    pointer.setAttribute("visibility", "hidden");
    read.replaceChildren();
  });
  return picture;
}

function drawnLine({ points, kind = 0, dots, faint, mark }, across, down) {
  const places = points.map(([x, y]) => `${across(x).toFixed(1)},${down(y).toFixed(1)}`);
  return draw("g", { class: `line ink-${kind}${faint ? " faint" : ""}` }, draw("polyline", { points: places.join(" ") }),
    dots || points.length === 1 ? points.map(([x, y]) => draw("circle", { cx: across(x), cy: down(y), r: 3 })) : null,
    mark ? draw("circle", { class: "mark", cx: across(mark[0]), cy: down(mark[1]), r: 5.5 }) : null);
}

function nearest(points, at) {
  return points.reduce((best, one) => (Math.abs(one[0] - at) < Math.abs(best[0] - at) ? one : best));
}

function range(values) {
  return [values.reduce((one, other) => Math.min(one, other)), values.reduce((one, other) => Math.max(one, other))];
}

function padded([low, high]) {
  const more = (high - low) * 0.06 || Math.abs(high) * 0.05 || 0.5;
  return [low - more, high + more];
}

function said(title, lines) {
  return `${title}: ${lines.filter((line) => !line.faint).map(({ name, points }) =>
    `${name} ${number(points[0][1])} → ${number(points.at(-1)[1])}`).join(", ")}`;
}

/** Rows `{name, value, low, high, kind, plain}` as points with intervals on one axis, wide enough for small differences to look small. */
export function scoresChart(rows, format) {
  const ends = range(rows.flatMap((one) => [one.value, one.low ?? one.value, one.high ?? one.value]));
  const lacking = Math.max(0, LEAST * Math.max(...ends.map(Math.abs)) - (ends[1] - ends[0])) / 2;
  const [low, high] = padded([ends[0] - lacking, ends[1] + lacking]);
  const share = (value) => `${(((value - low) / (high - low)) * 100).toFixed(2)}%`;
  return make("ul", { class: "spans" }, rows.map((one) => make("li", {}, make("span", { class: "name" }, one.name),
    draw("svg", { height: 16, "aria-hidden": "true", class: `ink-${one.kind ?? 0}${one.plain ? " plain" : ""}` },
      draw("line", { class: "axis", x1: "0%", x2: "100%", y1: 8, y2: 8 }),
      typeof one.low === "number" ? draw("line", { class: "span", x1: share(one.low), x2: share(one.high), y1: 8, y2: 8 }) : null,
      draw("circle", { cx: share(one.value), cy: 8, r: 5 })),
    make("span", { class: "value" }, format(one.value)))),
  make("li", { class: "ends", "aria-hidden": "true" }, make("span", {}), make("span", { class: "from-to" }, make("small", {}, format(low)), make("small", {}, format(high))), make("span", {})));
}
