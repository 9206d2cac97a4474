/** What went wrong, in words. */

import { make } from "./dom.js";
import { t } from "./words.js";

const KNOWN = [0, 400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503];

/** For a person: what kind of refusal it is, and the server's own words. */
export function explain(error) {
  if (error.status === 401) document.dispatchEvent(new CustomEvent("key-wanted"));
  const title = error.status === undefined ? t("error.input")
    : t(KNOWN.includes(error.status) ? `error.${error.status}` : "error.other", { status: error.status });
  return make("div", { class: "notice", role: "alert" }, make("strong", {}, title), make("p", {}, error.message));
}
