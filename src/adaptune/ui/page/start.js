/** A new run: its recipe as a form and as a text beside it, each following the other, judged by adaptune itself. */

import { get, post } from "./api.js";
import { choice, field, make, onSend } from "./dom.js";
import { makeFields } from "./fields.js";
import { explain } from "./notice.js";
import { to } from "./shown.js";
import { t } from "./words.js";

const REST = 350;
const BLANK = "task: classify\ndata:\n  train: train.csv\nmodel: sentence-transformers/all-MiniLM-L6-v2\nmethod: lora\n";

/** `begin`: `{run}` or `{file}` whose recipe is begun with. */
export function startView(begin) {
  const element = make("div", { class: "stack" });
  let gone = false;
  Promise.all([get("api/schema"), get("api/recipes"), begin.run || begin.file ? get("api/recipe", begin) : { text: BLANK }]).then(([schema, files, found]) => {
    if (!gone) element.replaceChildren(...desk(schema, files.recipes, found.text, begin));
  }).catch((error) => {
    if (!gone) element.replaceChildren(explain(error));
  });
  return { element, stop: () => {
    gone = true;
  } };
}

function desk(schema, files, text, begin) {
  const editor = make("textarea", { class: "editor", name: "text", rows: 8, spellcheck: "false", autocomplete: "off", "aria-label": t("start.text"), props: { value: withoutOut(text) } });
  const name = make("input", { name: "name", required: true, autocomplete: "off", spellcheck: "false", props: { value: nameFor(begin) } });
  const faults = make("ul", { class: "faults" });
  const several = make("p", { class: "hint" });
  const refusal = make("div", {});
  const button = make("button", { type: "button", class: "main" }, t("start.start"));
  const replace = make("input", { type: "checkbox", name: "overwrite" });
  const from = choice([["", t("start.from")], ...files.map((one) => [one, one])], begin.file ?? "", { "aria-label": t("start.from"), on: { change: () => {
    if (from.value) location.hash = `#/new/file/${encodeURIComponent(from.value)}`;
  } } });
  let turn = 0;
  let timer = 0;
  const form = makeFields(schema, async (values) => {
    turn += 1;
    const mine = turn;
    clearTimeout(timer);
    try {
      const told = await post("api/write", { values });
      if (mine !== turn) return;
      editor.value = told.text;
      await check(true);
    } catch (error) {
      refusal.replaceChildren(explain(error));
    }
  });

  /** What adaptune says of the text; the form follows it. */
  async function check() {
    turn += 1;
    const mine = turn;
    try {
      const told = await post("api/check", { text: editor.value });
      if (mine !== turn) return;
      refusal.replaceChildren();
      if (told.values) form.show(told.values, told.faults);
      several.textContent = told.values?.tasks ? t("start.several") : "";
      tell(told.faults);
    } catch (error) {
      refusal.replaceChildren(explain(error));
    }
  }

  function tell(found) {
    faults.replaceChildren(...found.map((one) => make("li", {}, one.line ? make("button", { type: "button", class: "quiet", on: { click: () => select(editor, one.line) } }, t("start.line", { line: one.line })) : null, one.text)));
    faults.dataset.count = found.length;
    button.disabled = found.length > 0;
  }

  async function start() {
    button.disabled = true;
    try {
      const job = await post("api/start", { name: name.value.trim(), text: editor.value, overwrite: replace.checked });
      location.hash = to(job.run);
    } catch (error) {
      button.disabled = false;
      if (error.body?.faults) {
        form.judge(error.body.faults);
        tell(error.body.faults);
      } else refusal.replaceChildren(explain(error));
    }
  }

  editor.addEventListener("input", () => {
    turn += 1;
    clearTimeout(timer);
    timer = setTimeout(check, REST);
  });
  onSend(editor, start);
  button.addEventListener("click", start);
  check();
  return [make("div", { class: "head" }, make("h1", {}, t("way.new")), from),
    make("section", { class: "card" }, make("div", { class: "row begin" }, field(t("start.name"), name), make("label", { class: "inline" }, replace, " ", t("start.replace")), button),
      make("p", { class: "hint" }, t("start.queue")), refusal),
    make("div", { class: "two desk" }, form.element, make("div", { class: "stack beside" }, make("section", { class: "card" }, make("h3", {}, t("start.text")), editor, several, faults,
      make("p", { class: "hint" }, t("start.comments")))))];
}

/** Mark a line, for the eye. */
function select(editor, line) {
  const lines = editor.value.split("\n");
  const before = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  editor.focus();
  editor.setSelectionRange(before, before + (lines[line - 1]?.length ?? 0));
}

/** A run's recipe names the run's own folder; a new one gets its own. */
function withoutOut(text) {
  return text.replace(/^out:.*\n?/m, "");
}

function nameFor({ run, file }) {
  if (run && run !== ".") return `${run}-2`;
  return file ? file.split("/").pop().replace(/\.ya?ml$/, "") : "";
}
