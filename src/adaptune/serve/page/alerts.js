/** The tab that lists what the server's rules have found, and how each rule stands. */

import { ask } from "./api.js";
import { make } from "./dom.js";
import { explain } from "./notice.js";
import { number, t, time } from "./words.js";

const EVERY = 15_000;
const SEVERITIES = ["info", "warning", "critical"];

export function alertsView() {
  const element = make("div", { class: "stack", "aria-busy": "true" });
  let timer = 0;
  let gone = false;

  async function refresh() {
    try {
      const { body } = await ask("GET", "v1/alerts?limit=50");
      if (!gone) element.replaceChildren(alertsCard(body.alerts), rulesCard(body.rules));
    } catch (error) {
      if (!gone) element.replaceChildren(explain(error));
      return;
    } finally {
      element.setAttribute("aria-busy", "false");
    }
    if (!gone) timer = setTimeout(refresh, EVERY);
  }

  refresh();
  return { element, stop: () => {
    gone = true;
    clearTimeout(timer);
  } };
}

function chip(severity) {
  const known = SEVERITIES.includes(severity) ? severity : "info";
  return make("span", { class: `chip ${known}` }, t(`alerts.${severity}`));
}

function alertsCard(alerts) {
  const line = (one) => make("li", {}, chip(one.severity), make("div", { class: "grow" },
    make("strong", {}, one.rule), " ", make("span", { class: "hint" }, [one.bundle, one.task].filter(Boolean).join(" · ")),
    make("code", { class: "when" }, one.when),
    make("span", { class: "hint" }, Object.entries(one.values ?? {}).map(([name, value]) => `${name} = ${typeof value === "number" ? number(value) : value}`).join(", "))),
    make("time", { datetime: one.time }, time(one.time)));
  return make("section", { class: "card" }, make("h3", {}, t("alerts.title")),
    alerts.length ? make("ul", { class: "alerts" }, alerts.map(line)) : make("p", { class: "none" }, t("alerts.none")));
}

function rulesCard(rules) {
  const state = (one) => (one.holds === null ? "unknown" : one.holds ? "holds" : "quiet");
  const row = (one) => make("tr", {}, make("th", { scope: "row" }, one.name), make("td", {}, one.bundle),
    make("td", {}, make("code", {}, one.when)), make("td", {}, chip(one.severity)),
    make("td", {}, make("span", { class: `state ${state(one)}` }, t(`alerts.${state(one)}`)),
      one.silent_until ? make("small", { class: "hint" }, ` ${t("alerts.silent", { time: time(one.silent_until) })}`) : null));
  if (!rules.length) return make("section", { class: "card" }, make("h3", {}, t("alerts.rules")), make("p", { class: "none" }, t("alerts.no_rules")));
  return make("section", { class: "card" }, make("h3", {}, t("alerts.rules")), make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, ["rule", "bundle", "when", "severity", "state"].map((one) => make("th", { scope: "col" }, t(`alerts.${one}`))))),
    make("tbody", {}, rules.map(row)))));
}
