/** A request as a line for a shell. */

import { key } from "./api.js";
import { quoted } from "./text.js";

/** The key itself is never in it. */
export function curl(path, body) {
  const url = new URL(path, document.baseURI).href;
  const who = key.get() ? ' -H "Authorization: Bearer $ADAPTUNE_KEY"' : "";
  return `curl ${quoted(url)} -H 'Content-Type: application/json'${who} -d ${quoted(JSON.stringify(body))}`;
}
