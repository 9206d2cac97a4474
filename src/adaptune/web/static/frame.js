/** What stands above every page: the choice of colours and of a language, kept from visit to visit. */

import { byId, choice, make } from "./dom.js";
import { LANGUAGES, preferred, remember, speak } from "./words.js";

const THEME = "adaptune.theme";
const THEMES = ["auto", "light", "dark"];
const NAMES = { en: "English", zh: "中文" };

/** Put the choices into #tools and speak; `render` is called when another language is chosen. */
export async function frame(render) {
  const theme = make("select", { id: "theme" }, THEMES.map((one) => make("option", { value: one, "data-word": `theme.${one}` })));
  const language = choice(LANGUAGES.map((one) => [one, NAMES[one]]), preferred(), { id: "language" });
  for (const option of language.options) option.lang = option.value;
  theme.value = localStorage.getItem(THEME) ?? "auto";
  paint(theme.value);
  theme.addEventListener("change", () => {
    localStorage.setItem(THEME, theme.value);
    paint(theme.value);
  });
  language.addEventListener("change", async () => {
    remember(language.value);
    await speak(language.value);
    render();
  });
  byId("tools").append(named("theme.label", theme), named("language.label", language));
  await speak(language.value);
}

function named(word, select) {
  return make("label", { class: "tool" }, make("span", { class: "unseen", "data-word": word }), select);
}

function paint(theme) {
  document.documentElement.dataset.theme = theme;
}
