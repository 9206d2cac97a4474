/** A form for a recipe, made from its schema: every field with its help, its default, and what is wrong with it. */

import { choice, make } from "./dom.js";
import { changed, read, SECTIONS, sectionIn, sectionOf, written } from "./schema.js";
import { t } from "./words.js";

const OPEN = new Set(["task", "data", "model", "method"]);

/** `{element, show(values, faults)}`; `change(values)` is called with all values when one was changed. */
export function makeFields(schema, change) {
  const found = make("input", { type: "search", name: "setting", placeholder: t("form.find"), "aria-label": t("form.find") });
  const sections = make("div", { class: "stack" });
  const open = new Set(OPEN);
  let values = {};
  /** What the fields were last made for; while someone fills them in, they stay. */
  let made = "";
  found.addEventListener("input", () => seek(sections, found.value));

  function set(section, name, value) {
    values = changed(schema, values, section, name, value);
    change(values);
  }

  function show(given, faults) {
    const parts = SECTIONS.map((section) => sectionIn(given, section).name);
    const same = JSON.stringify(given) === JSON.stringify(values) && JSON.stringify(parts) === made;
    values = given;
    if (same) {
      judge(faults);
      return;
    }
    made = JSON.stringify(parts);
    const at = document.activeElement?.dataset.path;
    sections.replaceChildren(...SECTIONS.map((section) => sectionBox(section)),
      make("section", { class: "card" }, single("seed", schema.properties.seed)));
    judge(faults);
    seek(sections, found.value);
    if (at) sections.querySelector(`[data-path="${CSS.escape(at)}"]`)?.focus();
  }

  function sectionBox(section) {
    const of = sectionIn(values, section);
    const { names, usual, fields, help } = sectionOf(schema, section, of.name);
    const filled = Object.keys(of).filter((one) => one !== "name").length;
    const part = names.length ? partField(section, names, { name: of.name, usual }, help) : null;
    return make("details", { class: "card section", open: open.has(section) || filled > 0, "data-section": section, on: { toggle: (event) => {
      if (event.target.open) open.add(section);
      else open.delete(section);
    } } }, make("summary", {}, make("strong", {}, section), " ", make("small", {}, names.length ? of.name ?? usual ?? t("form.default") : filled ? t("form.set", { fields: filled }) : t("form.default"))),
    part ?? (help ? make("p", { class: "hint" }, help) : null), fields.map((field) => fieldBox(section, field, of[field.name])), make("p", { class: "fault", "data-fault": section }));
  }

  function partField(section, names, { name, usual }, help) {
    const pick = choice([["", usual ? t("form.by_default", { value: usual }) : t("form.unset")], ...names.map((one) => [one, one])], name ?? "", { "data-path": `${section}.name`, on: { change: () => set(section, "name", pick.value || undefined) } });
    return box(`${section}.name`, section, pick, help);
  }

  function fieldBox(section, field, value) {
    const path = `${section}.${field.name}`;
    const fallback = written(field.fallback, field);
    const common = { "data-path": path, autocomplete: "off", spellcheck: "false" };
    const input = field.kind === "choice"
      ? choice([["", fallback ? t("form.by_default", { value: fallback }) : t("form.unset")], ...field.options.map((one) => [String(one), String(one)])], value === undefined || value === null ? "" : String(value), common)
      : field.kind === "mapping" ? make("textarea", { ...common, rows: 2, placeholder: t("form.mapping"), props: { value: written(value, field) } })
        : make("input", { ...common, inputmode: field.kind === "number" ? "decimal" : null, placeholder: fallback, props: { value: written(value, field) } });
    input.addEventListener("change", () => set(section, field.name, read(input.value, field)));
    return box(path, field.name, input, field.help, field.needed);
  }

  function single(name, rule) {
    const field = { kind: "number", types: new Set([rule.type]) };
    const input = make("input", { "data-path": name, inputmode: "decimal", placeholder: String(rule.default ?? ""), props: { value: written(values[name], field) } });
    input.addEventListener("change", () => {
      const { [name]: _, ...rest } = values;
      const value = read(input.value, field);
      values = value === undefined ? rest : { ...rest, [name]: value };
      change(values);
    });
    return box(name, name, input, rule.description);
  }

  /** Put each fault to its field, or to the section that it is of; those that found a place are returned. */
  function judge(faults) {
    for (const one of sections.querySelectorAll("[data-fault]")) {
      one.textContent = "";
      one.closest(".setting")?.classList.remove("wrong");
    }
    return faults.filter(({ path, text }) => {
      for (let place = path; place; place = place.slice(0, Math.max(0, place.lastIndexOf(".")))) {
        const mark = sections.querySelector(`[data-fault="${CSS.escape(place)}"]`);
        if (!mark) continue;
        mark.textContent += (mark.textContent ? "\n" : "") + text;
        mark.closest(".setting")?.classList.add("wrong");
        if (mark.closest("details")) mark.closest("details").open = true;
        return true;
      }
      return false;
    });
  }

  return { element: make("div", { class: "stack form" }, found, sections), show, judge };
}

function box(path, name, input, help, needed) {
  return make("label", { class: "field setting", "data-words": `${path} ${help ?? ""}`.toLowerCase() }, make("span", {}, make("code", {}, name), needed ? make("small", {}, ` ${t("form.needed")}`) : null),
    input, make("span", { class: "fault", "data-fault": path }), help ? make("small", {}, help) : null);
}

/** Only the settings that have the words in their name or help. */
function seek(sections, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const one of sections.querySelectorAll(".setting")) one.hidden = !words.every((word) => one.dataset.words.includes(word));
  for (const section of sections.children) {
    const some = [...section.querySelectorAll(".setting")].some((one) => !one.hidden);
    section.hidden = !some && words.length > 0;
    if (words.length && some && section.tagName === "DETAILS") section.open = true;
  }
}
