/* What all pages of console and portal share. Without it every page still works: links lead, forms post. */

const search = document.getElementById("search");

function openSearch(event) {
  event?.preventDefault();
  if (!search.open) search.showModal();
  search.querySelector("input").select();
}

if (search) {
  document.querySelectorAll("[data-search-open]").forEach((link) => link.addEventListener("click", openSearch));
  search.querySelector("[data-search-close]").addEventListener("click", () => search.close());
  search.addEventListener("click", (event) => event.target === search && search.close());
  search.addEventListener("keydown", (event) => {
    const links = [...search.querySelectorAll(".found")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && links.length) {
      event.preventDefault();
      const next = links[links.indexOf(document.activeElement) + step];
      (next ?? search.querySelector("input")).focus();
    }
    if (event.key === "Enter" && event.target.tagName === "INPUT" && links.length) {
      event.preventDefault();
      links[0].click();
    }
  });
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") openSearch(event);
  });
}

/* <button data-copy="text"> or data-copy-from="#id": copies, and says so for a moment. */
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  const from = button.dataset.copyFrom && document.querySelector(button.dataset.copyFrom);
  await navigator.clipboard.writeText(from ? (from.value ?? from.textContent).trim() : button.dataset.copy);
  const label = button.querySelector("[data-copy-label]") ?? button;
  const said = label.textContent;
  label.textContent = button.dataset.copied ?? said;
  setTimeout(() => (label.textContent = said), 1600);
});

/* <select data-submit>: a filter that needs no button. */
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});

/* <button data-dialog="id"> opens that <dialog>; data-close closes the one around it. */
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) document.getElementById(opener.dataset.dialog)?.showModal();
  event.target.closest("[data-close]")?.closest("dialog")?.close();
  if (event.target.matches("dialog.sheet")) event.target.close();
});

/* A dialog whose form came back refused opens again, with what was typed. */
document.querySelectorAll("dialog[data-open]").forEach((dialog) => dialog.showModal());

/* A form is sent once. */
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post" || event.target.closest("[data-many]")) return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
  setTimeout(() => delete event.target.dataset.sent, 4000);
});

/* A menu closes with Escape and when the visitor looks elsewhere. */
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelectorAll("details.menu[open], details.more[open]").forEach((one) => (one.open = false));
});
document.addEventListener("click", (event) => {
  document.querySelectorAll("details.more[open]").forEach((one) => one.contains(event.target) || (one.open = false));
});

/* On a phone the tab of this page may stand beyond the edge of its row. */
document.querySelectorAll(".tabs [aria-current]").forEach((tab) => tab.scrollIntoView({ inline: "center", block: "nearest" }));
