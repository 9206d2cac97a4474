/** The routes of the page of runs. Knows no elements. */

import { request } from "./request.js";

let token = "";

/** What the server shows; its token stands for this page from now on. */
export async function about() {
  const found = await get("api/about");
  ({ token } = found);
  return found;
}

export async function get(path, query = []) {
  const asked = new URLSearchParams(query).toString();
  return (await request("GET", asked ? `${path}?${asked}` : path)).json();
}

export async function post(path, body) {
  return (await request("POST", path, { body, headers: { "X-Adaptune-Token": token } })).json();
}
