/* The program editor: only the fields of what is chosen. Without it all fields are there, and all buttons work. */

const chosen = (box) => box.querySelector("select[name='kind'], select[name='basis'], select[name='what']");

function show(box) {
  const select = chosen(box);
  box.querySelectorAll("[data-for]").forEach((part) => {
    part.hidden = !part.dataset.for.split(" ").includes(select.value);
  });
}

document.querySelectorAll("[data-kinds]").forEach((box) => {
  show(box);
  chosen(box).addEventListener("change", () => show(box));
});

document.querySelectorAll("[data-no-script]").forEach((button) => (button.hidden = true));

/* Rows that came from the server: go on where the work is. */
document.addEventListener("htmx:afterSettle", (event) => {
  document.querySelectorAll("[data-no-script]").forEach((button) => (button.hidden = true));
  document.querySelectorAll("[data-kinds]").forEach(show);
  if (["conditions", "steps", "levels"].includes(event.target.id)) {
    document.querySelector("[data-editor]")?.dispatchEvent(new Event("change"));
  }
});

/* The first field that is wrong. */
document.querySelector("[aria-invalid='true']")?.focus();
