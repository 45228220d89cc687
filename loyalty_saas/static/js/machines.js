/* The reference: a filter over all operations, and samples in one language at a time. Without it everything shows. */

const seek = document.querySelector("[data-seek]");

function filter() {
  const words = seek.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  document.querySelectorAll("[data-sought]").forEach((one) => {
    one.hidden = !words.every((word) => one.dataset.sought.includes(word));
    shown += one.hidden ? 0 : 1;
  });
  document.querySelectorAll("[data-group]").forEach((group) => {
    group.hidden = !group.querySelector("[data-sought]:not([hidden])");
  });
  document.querySelector("[data-none]").hidden = shown > 0;
}

seek?.addEventListener("input", filter);
seek?.addEventListener("keydown", (event) => {
  if (event.key === "Enter") document.querySelector("article[data-sought]:not([hidden])")?.scrollIntoView();
});

function choose(language) {
  document.querySelectorAll("[data-code]").forEach((one) => (one.hidden = one.dataset.code !== language));
  document.querySelectorAll("[data-sample]").forEach((one) => one.setAttribute("aria-pressed", one.dataset.sample === language));
}

function remembered() {
  try {
    return localStorage.getItem("sample") === "python" ? "python" : "curl";
  } catch {
    return "curl";
  }
}

document.querySelectorAll("[data-samples]").forEach((one) => (one.hidden = false));
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-sample]");
  if (!button) return;
  const before = button.getBoundingClientRect().top;
  choose(button.dataset.sample);
  window.scrollBy(0, button.getBoundingClientRect().top - before);
  try {
    localStorage.setItem("sample", button.dataset.sample);
  } catch {
    /* Not remembered, then. */
  }
});
choose(remembered());
