/** The page's words in the language that was chosen, those of all pages among them, and numbers as it writes them. */

export const LANGUAGES = ["en", "zh"];
const STORED = "adaptune.language";

let language = "en";
let words = {};

/** The language that was chosen before, else the browser's, else English. */
export function preferred() {
  const stored = localStorage.getItem(STORED);
  if (LANGUAGES.includes(stored)) return stored;
  return navigator.languages.map((one) => one.slice(0, 2)).find((one) => LANGUAGES.includes(one)) ?? "en";
}

/** Speak a language from now on. */
export async function speak(chosen) {
  const files = [`page/shared.${chosen}.json`, `page/words.${chosen}.json`];
  const [shared, own] = await Promise.all(files.map(async (file) => (await fetch(file)).json()));
  words = { ...shared, ...own };
  language = chosen;
  document.documentElement.lang = chosen === "zh" ? "zh-Hans" : chosen;
}

export function remember(chosen) {
  localStorage.setItem(STORED, chosen);
}

export function spoken() {
  return language;
}

/** A text by its key, with `{name}` filled in; without one, the last part of the key. */
export function t(key, values = {}) {
  const text = words[key] ?? key.slice(key.lastIndexOf(".") + 1);
  return text.replaceAll(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** What fixed parts of the page say. */
export function translate(root) {
  for (const one of root.querySelectorAll("[data-word]")) one.textContent = t(one.dataset.word);
  for (const one of root.querySelectorAll("[data-word-placeholder]")) one.placeholder = t(one.dataset.wordPlaceholder);
  for (const one of root.querySelectorAll("[data-word-label]")) one.setAttribute("aria-label", t(one.dataset.wordLabel));
}

export function number(value, digits = 3) {
  return new Intl.NumberFormat(language, { maximumSignificantDigits: digits }).format(value);
}

export function percent(value) {
  const digits = value > 0.999 && value < 1 ? 2 : 1;
  return new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: digits }).format(value);
}

export function time(iso) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));
}
