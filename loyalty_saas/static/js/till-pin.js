/* The PIN's keys. Without it the field takes digits from any keyboard, and the form is sent all the same. */

const form = document.querySelector("form[data-pin]");

if (form) {
  const pin = form.elements.pin;
  const title = document.getElementById("pin-of");
  const said = document.getElementById("pin-said");
  const chosen = () => form.querySelector("[name=clerk]:checked");
  // Our keys are the keyboard: a phone's own would cover them.
  pin.inputMode = "none";

  function press(key) {
    if (!chosen()) return;
    said.replaceChildren();
    if (key === "clear") pin.value = "";
    else if (key === "back") pin.value = pin.value.slice(0, -1);
    else if (pin.value.length < pin.maxLength) pin.value += key;
  }

  function show() {
    title.textContent = chosen()?.dataset.name ?? title.dataset.unchosen;
  }

  form.addEventListener("click", (event) => {
    const key = event.target.closest("[data-key]");
    if (key) press(key.dataset.key);
    // Only a finger or a mouse: arrow keys go on through the names.
    if (event.target.name === "clerk" && event.detail > 0) pin.focus({ preventScroll: true });
  });
  // A touched key leaves the field its focus, so that Enter still unlocks.
  form.addEventListener("pointerdown", (event) => event.target.closest("[data-key]") && event.preventDefault());
  form.addEventListener("change", (event) => {
    if (event.target.name !== "clerk") return;
    pin.value = "";
    said.replaceChildren();
    show();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target === pin) return;
    if (/^[0-9]$/.test(event.key)) press(event.key);
    else if (event.key === "Backspace") press("back");
    else if (event.key === "Enter" && event.target.name === "clerk") pin.focus({ preventScroll: true });
    else return;
    event.preventDefault();
  });
  pin.addEventListener("input", () => {
    pin.value = pin.value.replace(/[^0-9]/g, "");
    said.replaceChildren();
  });
  // From the browser's store, as it was left: nobody's digits.
  window.addEventListener("pageshow", (event) => event.persisted && ((pin.value = ""), show()));
  show();
  if (chosen()) pin.focus({ preventScroll: true });
}
