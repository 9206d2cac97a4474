/** The page: which bundle, which tab, which language. Its address says the first two. */

import { alertsView } from "./alerts.js";
import { ask, key } from "./api.js";
import { batchView } from "./batch.js";
import { chatView } from "./chat.js";
import { byId, choice, make } from "./dom.js";
import { driftView } from "./drift.js";
import { frame } from "./frame.js";
import { explain } from "./notice.js";
import { tryView } from "./try.js";
import { number, t, time, translate } from "./words.js";

const FEW = 7;
/** Parts of the data, the one whose scores say most first. */
const SPLITS = ["test", "valid", "train"];

let bundles = [];
let base = "";
let can = { drift: false, alerts: false, feedback: false };
let shown = null;
let view = null;

const TABS = {
  try: { make: (context) => (context.bundle.task === "chat" ? chatView(context) : tryView(context)), there: () => true },
  batch: { make: batchView, there: () => true },
  drift: { make: driftView, there: () => can.drift },
  alerts: { make: alertsView, there: () => can.alerts },
};

async function start() {
  byId("key-form").addEventListener("submit", takeKey);
  byId("key-button").addEventListener("click", () => wantKey(true));
  byId("search").addEventListener("input", list);
  document.addEventListener("key-wanted", () => wantKey(false));
  addEventListener("hashchange", route);
  byId("tabs").addEventListener("keydown", alongTabs);
  document.addEventListener("keydown", alongBundles);
  const [, refusal] = await Promise.all([frame(render), load()]);
  tell(refusal);
  render();
}

/** Ask what the server has; the refusal, if it is one. */
async function load() {
  try {
    const [listed, models, schema] = await Promise.all([ask("GET", "v1/bundles"), ask("GET", "v1/models"), ask("GET", "openapi.json")]);
    bundles = listed.body.bundles;
    base = models.body.data[0].owned_by;
    const paths = schema.body.paths;
    can = { drift: "/v1/bundles/{name}/drift" in paths, alerts: "/v1/alerts" in paths, feedback: "/v1/feedback" in paths };
    return null;
  } catch (error) {
    bundles = [];
    if (error.status === 401) byId("key-form").hidden = false;
    return error;
  }
}

/** Why there is nothing to be seen; before a key was given, its field says enough. */
function tell(refusal) {
  const silent = refusal === null || (refusal.status === 401 && !key.get());
  byId("notice").replaceChildren(...(silent ? [] : [explain(refusal)]));
}

function wantKey(asked) {
  byId("key-form").hidden = false;
  byId("key-button").hidden = false;
  if (asked) byId("key").focus();
}

async function takeKey(event) {
  event.preventDefault();
  key.set(byId("key").value.trim());
  byId("key").value = "";
  byId("key-form").hidden = true;
  byId("key-button").hidden = false;
  tell(await load());
  render();
}

function render() {
  translate(document);
  byId("base").textContent = base ? t("base", { base: base.split("/").pop() }) : "";
  byId("base").title = base;
  byId("key-button").hidden = !key.get();
  byId("search").hidden = bundles.length <= FEW;
  list();
  shown = null;
  route();
  if (!byId("key-form").hidden) byId("key").focus();
}

/** `#/reviews/batch`, `#/reviews@1f0c9a3b77e2` */
function address() {
  const [, full = "", tab = ""] = location.hash.split("/").map(decoded);
  const [name, version = ""] = full.split("@");
  return { name, version, tab };
}

/** Addresses can be typed by hand. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}

function to(name, tab = "try") {
  return `#/${encodeURIComponent(name)}${tab === "try" ? "" : `/${tab}`}`;
}

function route() {
  const { name, version, tab } = address();
  const bundle = bundles.find((one) => one.name === name) ?? bundles[0];
  byId("content").hidden = !bundle;
  mark(bundle);
  if (!bundle) return empty();
  const full = version && bundle.other_versions.includes(version) ? `${bundle.name}@${version}` : bundle.name;
  const chosen = TABS[tab]?.there() ? tab : "try";
  const now = `${full}/${chosen}`;
  if (now === shown) return undefined;
  shown = now;
  return open(bundle, full, chosen);
}

async function open(bundle, full, tab) {
  view?.stop();
  view = null;
  byId("notice").replaceChildren();
  let told = bundle;
  if (full !== bundle.name) {
    try {
      told = (await ask("GET", `v1/bundles/${full}`)).body;
    } catch (error) {
      byId("notice").replaceChildren(explain(error));
    }
  }
  if (shown !== `${full}/${tab}`) return;
  document.title = `${bundle.name} – adaptune`;
  byId("title").replaceChildren(...title(told, bundle, tab));
  byId("tabs").replaceChildren(...Object.keys(TABS).filter((one) => TABS[one].there()).map((one) => tabButton(one, tab, full)));
  view = TABS[tab].make({ bundle: told, name: full, can });
  byId("panel").setAttribute("aria-labelledby", `tab-${tab}`);
  byId("panel").replaceChildren(view.element);
}

function empty() {
  byId("content").hidden = true;
  if (!byId("key-form").hidden || byId("notice").firstChild) return;
  byId("notice").replaceChildren(make("div", { class: "card" }, make("h1", {}, t("empty.title")), make("p", {}, t("empty.how")),
    make("pre", {}, "curl -X PUT http://127.0.0.1:8000/v1/bundles/reviews -H 'Content-Type: application/json' -d '{\"folder\": \"reviews\"}'")));
}

function title(told, bundle, tab) {
  const versions = [bundle.version, ...[...bundle.other_versions].reverse()];
  const version = versions.length > 1
    ? choice(versions.map((one, place) => [one, place ? one : t("bundle.newest", { version: one })]), told.version, {
        "aria-label": t("bundle.version"),
        on: { change: (event) => {
          const picked = event.target.value;
          location.hash = to(picked === bundle.version ? bundle.name : `${bundle.name}@${picked}`, tab);
        } } })
    : make("code", {}, told.version);
  const facts = [["task", kind(told)], ["method", told.method], ["version", version], ["created", time(told.created)]];
  if (told.labels.length) facts.push(["labels", number(told.labels.length, 9)]);
  return [
    make("h1", {}, told.name),
    make("dl", { class: "about" }, facts.map(([name, value]) => make("div", {}, make("dt", {}, t(`bundle.${name}`)), make("dd", {}, value)))),
    scores(told),
  ];
}

function kind(bundle) {
  const tasks = Object.values(bundle.tasks);
  return tasks.length ? [...new Set(tasks.map((one) => t(`task.${one.task}`)))].join(" + ") : t(`task.${bundle.task}`);
}

/** Every score that was measured, those of the test rows first. */
function scores(bundle) {
  const named = Object.entries(bundle.tasks);
  const all = named.length ? named.map(([name, task]) => [name, task.scores]) : [["", bundle.scores]];
  const rows = all.flatMap(([task, of]) => SPLITS.filter((split) => of[split])
    .map((split) => [[task, t(`split.${split}`)].filter(Boolean).join(" · "), Object.entries(of[split])]));
  if (!rows.length) return "";
  return make("details", { class: "scores" }, make("summary", {}, t("bundle.scores"), " ", make("strong", {}, headline(bundle))),
    rows.map(([name, values]) => make("dl", { class: "figures" }, make("div", { class: "split" }, make("dt", {}, name)),
      values.map(([metric, value]) => make("div", {}, make("dt", {}, metric), make("dd", {}, number(value)))))));
}

/** The first score of the best-kept part: `accuracy 0.931`. */
function headline(bundle) {
  const all = Object.keys(bundle.tasks).length ? Object.values(bundle.tasks).map((one) => one.scores) : [bundle.scores];
  return all.map((of) => SPLITS.map((split) => of[split]).find(Boolean)).filter(Boolean)
    .map((values) => Object.entries(values)[0]).filter(Boolean).map(([metric, value]) => `${metric} ${number(value)}`).join(", ");
}

function tabButton(one, chosen, full) {
  return make("button", { type: "button", role: "tab", id: `tab-${one}`, "aria-controls": "panel", "aria-selected": String(one === chosen),
    tabindex: one === chosen ? 0 : -1, on: { click: () => {
      location.hash = to(full, one);
    } } }, t(`tab.${one}`));
}

/** Arrow keys move between tabs, as the pattern for tabs has it. */
function alongTabs(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const tabs = [...byId("tabs").children];
  const next = tabs[(tabs.findIndex((one) => one.ariaSelected === "true") + step + tabs.length) % tabs.length];
  addEventListener("hashchange", () => requestAnimationFrame(() => byId(next.id)?.focus()), { once: true });
  next.click();
}

/** Up and down within the list of bundles. */
function alongBundles(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !event.target.closest?.("#bundles")) return;
  event.preventDefault();
  const links = [...byId("bundles").querySelectorAll("a")];
  links[links.indexOf(event.target.closest("a")) + step]?.focus();
}

function list() {
  const sought = byId("search").value.trim().toLowerCase();
  byId("bundles").replaceChildren(...bundles.filter((one) => one.name.toLowerCase().includes(sought)).map((one) =>
    make("li", {}, make("a", { href: to(one.name), "data-name": one.name },
      make("strong", {}, one.name),
      make("span", { class: "kind" }, kind(one), " · ", one.method),
      make("span", { class: "score" }, headline(one))))));
  mark(bundles.find((one) => one.name === address().name) ?? bundles[0]);
}

function mark(bundle) {
  for (const link of byId("bundles").querySelectorAll("a")) {
    if (link.dataset.name === bundle?.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

start();
