/** Requests of a page's server, and what it is when they are not answered. Knows no routes and no elements. */

/** A request that was not answered as asked. `status` 0: nobody answered. `body`: all that was answered. */
export class Refusal extends Error {
  constructor(status, message, { after = 1, body = null } = {}) {
    super(message);
    this.status = status;
    this.after = after;
    this.body = body;
  }
}

/** The response, if it is a success. Throws Refusal. */
export async function request(method, path, { body, headers = {}, signal } = {}) {
  let response;
  try {
    const content = body === undefined ? undefined : JSON.stringify(body);
    response = await fetch(path, { method, headers: { "Content-Type": "application/json", ...headers }, body: content, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, error.message);
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => null);
  const after = Number(response.headers.get("Retry-After")) || 1;
  throw new Refusal(response.status, told?.error?.message ?? response.statusText, { after, body: told });
}
