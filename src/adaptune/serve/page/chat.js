/** The tab on which one talks with a bundle of the task chat. */

import { stream } from "./api.js";
import { field, make } from "./dom.js";
import { explain } from "./notice.js";
import { details, writingWish } from "./try.js";
import { number, t } from "./words.js";

const PATH = "v1/chat/completions";

export function chatView({ name }) {
  let turns = [];
  let running = null;
  const log = make("ol", { class: "turns", "aria-live": "polite", "aria-label": t("chat.log") });
  const after = make("div", { class: "result" });
  const system = make("textarea", { rows: 2, placeholder: t("chat.system_placeholder") });
  const wish = writingWish();
  const box = make("textarea", { name: "message", rows: 2, "aria-label": t("chat.message"), placeholder: t("chat.placeholder") });
  const button = make("button", { class: "main" }, t("chat.send"));
  const anew = make("button", { type: "button", class: "quiet", on: { click: clear } }, t("chat.clear"));
  const form = make("form", { class: "composer", on: { submit: (event) => {
    event.preventDefault();
    send();
  } } }, box, button);
  box.addEventListener("keydown", (event) => {
    // While an input method composes, Enter chooses a word.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  });

  function clear() {
    running?.abort();
    turns = [];
    log.replaceChildren();
    after.replaceChildren();
    box.focus();
  }

  function bubble(role, text) {
    const content = make("p", {}, text);
    log.append(make("li", { class: `turn ${role}` }, make("small", {}, t(`chat.${role}`)), content));
    content.parentElement.scrollIntoView({ block: "nearest" });
    return content;
  }

  async function send() {
    if (running) return running.abort();
    const said = box.value.trim();
    if (!said) return box.focus();
    box.value = "";
    bubble("user", said);
    const mine = new AbortController();
    running = mine;
    button.textContent = t("try.stop");
    const content = bubble("assistant", "");
    content.setAttribute("data-writing", "");
    const before = system.value.trim() ? [{ role: "system", content: system.value }] : [];
    const messages = [...before, ...turns, { role: "user", content: said }];
    try {
      await listen({ model: name, messages, ...wish.read() }, content, mine.signal);
    } catch (error) {
      if (error.name !== "AbortError") after.replaceChildren(explain(error));
    }
    content.removeAttribute("data-writing");
    button.textContent = t("chat.send");
    if (running !== mine) return undefined;
    running = null;
    if (content.textContent) turns.push({ role: "user", content: said }, { role: "assistant", content: content.textContent });
    else content.parentElement.remove();
    return undefined;
  }

  async function listen(asked, content, signal) {
    const started = performance.now();
    const chunks = [];
    let first = 0;
    for await (const chunk of stream(PATH, asked, signal)) {
      chunks.push(chunk);
      const part = chunk.choices[0]?.delta?.content;
      if (!part) continue;
      first ||= performance.now() - started;
      content.append(part);
      content.parentElement.scrollIntoView({ block: "nearest" });
    }
    content.after(make("small", { class: "latency" }, t("try.first_word", { ms: number(Math.max(1, first)) })));
    after.replaceChildren(details(PATH, { ...asked, stream: true }, chunks));
  }

  const settings = make("details", {}, make("summary", {}, t("chat.settings")), field(t("chat.system"), system), wish.element);
  const element = make("div", { class: "card chat" }, log, form,
    make("div", { class: "row actions" }, make("small", { class: "hint grow" }, t("chat.keys")), anew), settings, after);
  return { element, stop: () => running?.abort() };
}
