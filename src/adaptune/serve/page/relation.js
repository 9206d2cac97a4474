/** A relation as an arrow between the two marked spans of a text. */

import { draw, make } from "./dom.js";
import { pieces, withoutMarks } from "./text.js";
import { percent } from "./words.js";

const DIRECTED = /^(.+)\((e1,e2|e2,e1)\)$/;
const RISE = 38;

/** The text with its spans; the arrow follows when the browser lays them out anew. */
export function drawRelation(text, answer) {
  const { text: plain, spans } = withoutMarks(text);
  const [, name, direction] = answer.relation.match(DIRECTED) ?? [null, answer.relation, "e1,e2"];
  const marks = {};
  const shown = pieces(plain, spans).map(({ text: part, span }) => {
    if (!span) return part;
    marks[span.name] = make("mark", { class: `entity ${span.name}` }, part);
    return marks[span.name];
  });
  const label = make("span", { class: "relation-name" }, name,
    make("small", {}, percent(answer.probability)));
  const line = draw("path", { class: "arrow", "marker-end": "url(#arrow-head)" });
  const drawing = draw("svg", { "aria-hidden": "true" },
    draw("defs", {}, draw("marker", { id: "arrow-head", viewBox: "0 0 8 8", refX: 6, refY: 4, markerWidth: 5.5,
      markerHeight: 5.5, orient: "auto" }, draw("path", { d: "M0 0L8 4L0 8z", class: "arrow-head" }))), line);
  const box = make("div", { class: "relation" }, drawing, label, make("p", { class: "marked" }, shown));
  if (!marks.e1 || !marks.e2) return box;
  const [from, to] = direction === "e1,e2" ? [marks.e1, marks.e2] : [marks.e2, marks.e1];
  new ResizeObserver(() => place({ box, from, to, line, label })).observe(box);
  return box;
}

function place({ box, from, to, line, label }) {
  const frame = box.getBoundingClientRect();
  if (!frame.width) return;
  const top = (element) => {
    const rect = element.getClientRects()[0];
    return { x: rect.left + rect.width / 2 - frame.left, y: rect.top - frame.top - 2 };
  };
  const [start, end] = [top(from), top(to)];
  const rise = RISE + Math.abs(end.x - start.x) * 0.04;
  const highest = Math.max(4, Math.min(start.y, end.y) - rise);
  line.setAttribute("d", `M${start.x} ${start.y}C${start.x} ${highest} ${end.x} ${highest} ${end.x} ${end.y}`);
  // The middle of the curve.
  const half = label.offsetWidth / 2;
  const x = Math.max(half, Math.min(frame.width - half, (start.x + end.x) / 2));
  label.style.setProperty("left", `${x}px`);
  label.style.setProperty("top", `${(start.y + 6 * highest + end.y) / 8}px`);
}
