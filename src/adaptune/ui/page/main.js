/** The page: which view, which language. Its address says the first. */

import { about } from "./api.js";
import { compareView } from "./compare.js";
import { byId } from "./dom.js";
import { frame } from "./frame.js";
import { listView } from "./list.js";
import { explain } from "./notice.js";
import { runView } from "./run.js";
import { startView } from "./start.js";
import { t, translate } from "./words.js";

let server = null;
let view = null;

const VIEWS = {
  "": () => listView(),
  run: ([name]) => runView(name),
  compare: (names) => compareView(names),
  new: ([kind, name]) => startView(kind && name ? { [kind]: name } : {}),
};

async function start() {
  addEventListener("hashchange", show);
  const asked = about().catch((error) => error);
  await frame(render);
  const found = await asked;
  if (found instanceof Error) {
    translate(document);
    byId("notice").replaceChildren(explain(found));
    return;
  }
  server = found;
  render();
}

function render() {
  translate(document);
  byId("ways").setAttribute("aria-label", t("way.label"));
  byId("base").textContent = t("base", { folder: server.folder });
  byId("base").title = server.here;
  show();
}

/** `#/`, `#/run/NAME`, `#/compare/NAME/NAME`, `#/new`, `#/new/run/NAME` */
function show() {
  if (server === null) return;
  const [, kind = "", ...names] = location.hash.split("/").map(decoded);
  const known = kind in VIEWS ? kind : "";
  view?.stop();
  byId("notice").replaceChildren();
  view = VIEWS[known](names);
  document.title = `${names[0] ?? t(known === "new" ? "way.new" : "way.runs")} – adaptune`;
  byId("content").replaceChildren(view.element);
  for (const way of byId("ways").querySelectorAll("a")) {
    if (way.hash === (known === "new" ? "#/new" : "#/")) way.setAttribute("aria-current", "page");
    else way.removeAttribute("aria-current");
  }
}

/** Addresses can be typed by hand. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}

start();
