// The member's card: the code in full, the app on the home screen, and what is kept for times without a network.
const page = document.documentElement;
const isOld = page.hasAttribute("data-offline");

// The code on a white screen that stays lit.
const dialog = document.querySelector("#code");
let light = null;
async function stayLit() {
  try { light = await navigator.wakeLock?.request("screen"); } catch { light = null; }
}
if (dialog) {
  document.querySelector("[data-show-code]").addEventListener("click", () => { dialog.showModal(); stayLit(); });
  dialog.addEventListener("click", (event) => { if (!event.target.closest("[data-keep]")) dialog.close(); });
  dialog.addEventListener("close", () => { light?.release(); light = null; });
  document.addEventListener("visibilitychange", () => { if (dialog.open && !document.hidden) stayLit(); });
}

// Without a network nothing can be changed: say so by what cannot be pressed.
if (isOld) {
  for (const control of document.querySelectorAll("form button, form select")) control.disabled = true;
  addEventListener("online", () => location.reload());
}
for (const select of document.querySelectorAll("select[data-submit]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// On the home screen.
const hint = document.querySelector("#install");
const isApp = matchMedia("(display-mode: standalone)").matches || navigator.standalone === true;
const isRefused = () => { try { return localStorage.getItem("card-install") === "no"; } catch { return false; } };
if (hint && !isApp && !isRefused()) {
  let prompt = null;
  const [button, words] = [hint.querySelector("[data-install]"), hint.querySelector("[data-install-ios]")];
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    prompt = event;
    button.hidden = hint.hidden = false;
  });
  button.addEventListener("click", async () => {
    prompt.prompt();
    if ((await prompt.userChoice).outcome === "accepted") hint.hidden = true;
  });
  const isApple = /iPhone|iPad/.test(navigator.userAgent) || (navigator.platform === "MacIntel" && navigator.maxTouchPoints > 1);
  if (isApple) words.hidden = hint.hidden = false;
  hint.querySelector("[data-install-no]").addEventListener("click", () => {
    hint.hidden = true;
    try { localStorage.setItem("card-install", "no"); } catch { /* asked again next time */ }
  });
}

// What is kept for later.
const worker = document.querySelector("meta[name=card-worker]")?.content;
if (worker && "serviceWorker" in navigator) {
  navigator.serviceWorker.register(worker, { scope: "/card/" });
  const word = { "card-open": "keep", "card-closed": "forget" }[document.querySelector("meta[name=card-open], meta[name=card-closed]")?.name];
  if (word && !isOld) navigator.serviceWorker.ready.then((ready) => ready.active.postMessage(word));
}
