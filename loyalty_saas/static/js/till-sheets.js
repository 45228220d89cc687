/* Sheets lie over the member's side, so that the keys stay in sight. One is open at a time; Escape closes it. */

const sheet = document.getElementById("sheet");
const panel = document.getElementById("panel");
let before = null;
let closing = null;

export const isOpen = () => !sheet.hidden;

/** Open a sheet with a node or HTML from our server; `onClose` is called when it goes. */
export function open(content, { focus = "input", onClose = null } = {}) {
  const wasOpen = isOpen();
  closing?.();
  closing = onClose;
  if (!wasOpen) before = document.activeElement;
  if (typeof content === "string") sheet.innerHTML = content;
  else sheet.replaceChildren(content);
  sheet.hidden = false;
  panel.hidden = true;
  (sheet.querySelector(focus) ?? sheet.querySelector("button")).focus({ preventScroll: true });
  if (matchMedia("(max-width: 47.99rem)").matches) sheet.scrollIntoView({ block: "start" });
  return sheet;
}

/** Close it; the focus goes back to where it was. */
export function close() {
  if (!isOpen()) return;
  const done = closing;
  closing = null;
  done?.();
  sheet.hidden = true;
  panel.hidden = false;
  sheet.replaceChildren();
  if (before?.isConnected) before.focus({ preventScroll: true });
  before = null;
}

/** A sheet from a template, its slots filled: `{name: "Free drink"}` goes to [data-slot=name]. */
export function fromTemplate(name, slots = {}) {
  const content = document.getElementById(name).content.cloneNode(true);
  for (const [slot, text] of Object.entries(slots)) content.querySelector(`[data-slot=${slot}]`).textContent = text;
  return content;
}

/** Say below a form what was refused, or nothing. */
export function say(form, words) {
  const place = form.querySelector("[data-error]");
  place.textContent = words;
  place.hidden = !words;
}

sheet.addEventListener("click", (event) => event.target.closest("[data-close]") && close());
