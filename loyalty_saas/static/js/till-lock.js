/* A till that nobody touches locks itself: first the veil, then the server is told, then the lock page. */

const veil = document.getElementById("till-veil");

if (veil) {
  const IDLE = Number(veil.dataset.idle) * 1000;
  const AWAKE_EVERY = 30_000;
  const token = veil.querySelector("[name=csrfmiddlewaretoken]").value;
  let touched = Date.now();
  let told = Date.now();
  let locked = false;

  const post = (url) =>
    fetch(url, { method: "POST", headers: { "X-CSRFToken": token, Accept: "application/json" }, redirect: "manual" });

  async function leave() {
    try {
      await post(veil.dataset.leave);
      location.replace(veil.dataset.lock);
    } catch {
      veil.querySelector("[data-no-connection]").hidden = false;
      setTimeout(leave, 5000);
    }
  }

  function lock() {
    if (locked) return;
    locked = true;
    document.querySelector(".till").inert = true;
    document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
    veil.hidden = false;
    veil.focus();
    leave();
  }

  async function tellAwake() {
    told = Date.now();
    const answer = await post(veil.dataset.awake).catch(() => null);
    if (answer?.status === 401) lock();
  }

  function check() {
    if (Date.now() - touched >= IDLE) lock();
  }

  function touch() {
    check();
    if (locked) return;
    touched = Date.now();
    if (touched - told > AWAKE_EVERY) tellAwake();
  }

  for (const kind of ["pointerdown", "keydown", "wheel"]) {
    document.addEventListener(kind, touch, { capture: true, passive: true });
  }
  document.addEventListener("till:lock", lock);
  // A device that slept counts no seconds, but its clock went on.
  document.addEventListener("visibilitychange", check);
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
  setInterval(check, 1000);
}
