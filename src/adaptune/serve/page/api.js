/** The server's routes. Knows no elements. */

import { Refusal, request } from "./request.js";

const STORED = "adaptune.key";

/** The key lives as long as the browser's tab. */
export const key = {
  get: () => sessionStorage.getItem(STORED) ?? "",
  set: (value) => sessionStorage.setItem(STORED, value),
};

function headers() {
  const given = key.get();
  return given ? { Authorization: `Bearer ${given}` } : {};
}

/** One answer with the milliseconds it took and the id by which the server knows it. */
export async function ask(method, path, body, signal) {
  const started = performance.now();
  const response = await request(method, path, { body, headers: headers(), signal });
  const found = await response.json();
  return { body: found, milliseconds: performance.now() - started, id: response.headers.get("X-Request-ID") };
}

/** The chunks of a text while it is written. */
export async function* stream(path, body, signal) {
  const response = await request("POST", path, { body: { ...body, stream: true }, headers: headers(), signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Refusal(chunk.error.code, chunk.error.message);
      yield chunk;
    }
  }
}
