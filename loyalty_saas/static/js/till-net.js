/* Asking the server: one short request per step, JSON back, and a clear word for each way it can end. */

const work = document.getElementById("work");

/** The network is away, or took too long: nothing is known of what the server did. */
export class Away extends Error {}

/** The server said no, in words. */
export class Refused extends Error {
  constructor(problem, status) {
    super(problem.title ?? "");
    Object.assign(this, { field: problem.field, code: problem.code, html: problem.html, status });
  }
}

const WAIT = 8000;

function token() {
  const name = `${work.dataset.csrfCookie}=`;
  const found = document.cookie.split("; ").find((one) => one.startsWith(name));
  return found ? found.slice(name.length) : document.querySelector("[name=csrfmiddlewaretoken]").value;
}

/** A key for a write: a UUID of version 7, which begins with the time it was made. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let now = Date.now();
  for (let i = 5; i >= 0; i -= 1, now = Math.floor(now / 256)) bytes[i] = now % 256;
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

async function ask(url, options) {
  let answer;
  try {
    answer = await fetch(url, {
      ...options,
      headers: { Accept: "application/json", ...options.headers },
      signal: AbortSignal.timeout(WAIT),
    });
  } catch {
    throw new Away();
  }
  // Whatever stands between us and the server speaks for itself with these.
  if ([502, 503, 504].includes(answer.status)) throw new Away();
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401 && body.location && !options.stay) location.assign(body.location);
  if (!answer.ok) throw new Refused(body, answer.status);
  return body;
}

const write = (url, body, headers = {}, more = {}) =>
  ask(url, { method: "POST", body, headers: { "X-CSRFToken": token(), ...headers }, ...more });

/** Read something. */
export const get = (url) => ask(url, { method: "GET" });

/** Send the fields of a form. */
export const post = (url, fields) => write(url, new URLSearchParams(fields));

/** Send JSON; `stay` keeps the page where it is when the till turns out to be locked. */
export const send = (url, body, more = {}) =>
  write(url, JSON.stringify(body), { "Content-Type": "application/json" }, more);
