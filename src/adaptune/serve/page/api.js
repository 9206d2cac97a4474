/** The server's routes. Knows no elements. */

const STORED = "adaptune.key";

/** A request that was not answered as asked. `status` 0: nobody answered. */
export class Refusal extends Error {
  constructor(status, message, after = 1) {
    super(message);
    this.status = status;
    this.after = after;
  }
}

/** The key lives as long as the browser's tab. */
export const key = {
  get: () => sessionStorage.getItem(STORED) ?? "",
  set: (value) => sessionStorage.setItem(STORED, value),
};

function headers() {
  const given = key.get();
  return { "Content-Type": "application/json", ...(given ? { Authorization: `Bearer ${given}` } : {}) };
}

async function request(method, path, body, signal) {
  let response;
  try {
    const content = body === undefined ? undefined : JSON.stringify(body);
    response = await fetch(path, { method, headers: headers(), body: content, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, error.message);
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => null);
  const after = Number(response.headers.get("Retry-After")) || 1;
  throw new Refusal(response.status, told?.error?.message ?? response.statusText, after);
}

/** One answer with the milliseconds it took and the id by which the server knows it. */
export async function ask(method, path, body, signal) {
  const started = performance.now();
  const response = await request(method, path, body, signal);
  const found = await response.json();
  return { body: found, milliseconds: performance.now() - started, id: response.headers.get("X-Request-ID") };
}

/** The chunks of a text while it is written. */
export async function* stream(path, body, signal) {
  const response = await request("POST", path, { ...body, stream: true }, signal);
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
