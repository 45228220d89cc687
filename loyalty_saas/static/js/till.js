/* The till's work screen: who is buying, what, and what came of it. The server draws, this file asks. */

import { Money, Sale, draw } from "./till-amount.js";
import { Away, Refused, get, newKey, post, send } from "./till-net.js";
import * as queue from "./till-queue.js";
import { isTyping, listen, look } from "./till-scan.js";
import * as sheets from "./till-sheets.js";

const byId = (id) => document.getElementById(id);
const work = byId("work");
const data = work.dataset;
const panel = byId("panel");
const strip = byId("strip");
const text = byId("find-text");
const button = byId("record");
const undo = byId("undo");
const veil = byId("till-veil");
const nobody = panel.innerHTML;
const noStrip = strip.innerHTML;

const state = { member: null, typed: "", key: null, isOffline: false, isBusy: false, label: "", turn: 0, kept: 0 };
const money = new Money({
  currency: data.currency,
  decimals: Number(data.decimals),
  language: document.documentElement.lang,
});
const sale = new Sale({ money, changed });

const clock = new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: "short", timeZone: data.zone });

function words(name, value) {
  const said = byId("words").content.querySelector(`[data-word=${name}]`).textContent;
  return value === undefined ? said : said.replace("%s", value);
}

let toastEnds = 0;
function toast(said, { isBad = false } = {}) {
  const place = byId("toast");
  place.textContent = said;
  place.toggleAttribute("data-bad", isBad);
  place.hidden = !said;
  clearTimeout(toastEnds);
  toastEnds = setTimeout(() => (place.hidden = true), 6000);
}

/** What the member's side says already is said again only where that side is out of sight. */
function tell(said) {
  if (isNarrow()) toast(said);
}

function complain(place, said) {
  place.textContent = said;
  place.hidden = !said;
}

/** What to do when a request ended badly; `refused` puts the server's words where they belong. */
function ended(error, refused = (said) => toast(said, { isBad: true })) {
  if (error instanceof Away) {
    goOffline();
    toast(words("offline-not"), { isBad: true });
  } else if (error instanceof Refused) {
    if (error.status !== 401) refused(error.message || words("failed"));
  } else {
    toast(words("failed"), { isBad: true });
    throw error;
  }
}

/* ── the member ─────────────────────────────────────────────────────────────────────────────────────────────────── */

function show(answer) {
  state.turn += 1;
  sheets.close();
  panel.innerHTML = answer.html;
  panel.scrollTop = 0;
  if (answer.kind === "member") {
    Object.assign(state, { member: answer.member, typed: "" });
    strip.innerHTML = answer.strip;
    text.value = "";
    text.dispatchEvent(new Event("input"));
    complain(byId("find-said"), "");
  }
  if ("undo" in answer) setUndo(answer.undo);
  if (answer.said) tell(answer.said);
  if (answer.follow) follow(answer.follow, state.turn);
  changed();
}

function forget() {
  state.turn += 1;
  Object.assign(state, { member: null, typed: "" });
  panel.innerHTML = nobody;
  strip.innerHTML = noStrip;
  changed();
  text.focus();
}

let finding = 0;
async function find(typed) {
  const wanted = typed.trim();
  const said = byId("find-said");
  complain(said, "");
  text.value = wanted;
  if (!wanted) return;
  if (state.isOffline) return findOffline(wanted);
  const turn = (finding += 1);
  try {
    const answer = await post(data.find, { text: wanted });
    if (turn !== finding) return;
    if (answer.kind !== "member") Object.assign(state, { member: null, typed: wanted });
    if (answer.kind !== "member") strip.innerHTML = noStrip;
    show(answer);
    if (answer.kind === "member") text.blur();
    else panel.querySelector("button")?.focus({ preventScroll: true });
    if (isNarrow() && answer.kind !== "member") panel.scrollIntoView({ block: "center" });
    if (isNarrow() && answer.kind === "member") scrollTo({ top: 0 });
  } catch (error) {
    if (error instanceof Away) {
      goOffline();
      findOffline(wanted);
    } else ended(error, (refused) => complain(said, refused));
  }
}

/** Without network nobody can be looked up; what leads to one member alone can be kept and looked up later. */
function findOffline(wanted) {
  const isExact = wanted.length >= 3 && (/\d/.test(wanted) || wanted.includes("@") || /^[A-Z2-7]{16}$/i.test(wanted));
  if (!isExact) return complain(byId("find-said"), words("offline-find"));
  state.turn += 1;
  Object.assign(state, { member: null, typed: wanted });
  panel.replaceChildren(sheets.fromTemplate("unknown-offline", { text: wanted }));
  strip.textContent = wanted;
  text.value = "";
  text.blur();
  changed();
}

async function choose(url) {
  try {
    show(await get(url));
  } catch (error) {
    ended(error);
  }
}

/* ── the purchase ───────────────────────────────────────────────────────────────────────────────────────────────── */

const drawn = {
  output: byId("amount"),
  list: byId("line-list"),
  template: byId("line"),
  empty: byId("no-lines"),
  words,
};

function changed() {
  state.key = null;
  draw(sale, drawn);
  state.label = "";
  name();
  preview();
}

function press(key) {
  if (!state.isBusy) sale.press(key);
}

function isReady() {
  return sale.isReady && Boolean(state.member || (state.isOffline && state.typed)) && !state.isBusy;
}

/** What the main button says: what is missing, or what the purchase will earn. */
function name() {
  const { busy, nobody: find_, noAmount, keep, plain } = button.dataset;
  const has = state.member || (state.isOffline && state.typed);
  button.disabled = !isReady();
  if (state.isBusy) button.textContent = busy;
  else if (!has) button.textContent = find_;
  else if (!sale.isReady) button.textContent = noAmount;
  else if (state.isOffline) button.textContent = keep;
  else button.textContent = state.label || plain;
}

let previewing = 0;
let previewAt = 0;
function preview() {
  const turn = (previewing += 1);
  clearTimeout(previewAt);
  if (!isReady() || state.isOffline) return;
  previewAt = setTimeout(async () => {
    try {
      const { label, hint } = await send(data.preview, { member: state.member, ...sale.body() });
      if (turn !== previewing) return;
      state.label = label;
      byId("record-hint").textContent = hint;
      name();
    } catch (error) {
      if (error instanceof Away) goOffline();
      else if (error instanceof Refused && turn === previewing) complain(byId("record-said"), error.message);
    }
  }, 120);
  complain(byId("record-said"), "");
  byId("record-hint").textContent = "";
}

async function record() {
  if (!isReady()) return;
  // The same key for each try at this purchase: however often it is sent, it counts once.
  state.key ??= newKey();
  const { key, member, typed } = state;
  const body = sale.body();
  const about = panel.querySelector(".who-name")?.textContent ?? typed;
  const item = { key, ...(member ? { member } : { text: typed }), ...body, clerk: data.clerk, occurred_at: Date.now() };
  const kept = { ...item, shown: { amount: money.text(sale.amount), about } };
  state.isBusy = true;
  name();
  try {
    if (state.isOffline) await keep(kept);
    else {
      const answer = await send(data.record, { key, member, ...body });
      state.isBusy = false;
      sale.clear();
      show(answer);
    }
  } catch (error) {
    if (error instanceof Away) {
      goOffline();
      await keep(kept);
    } else ended(error, (refused) => complain(byId("record-said"), refused));
  } finally {
    state.isBusy = false;
    name();
  }
}

async function keep(item) {
  await queue.keep(item);
  state.isBusy = false;
  sale.clear();
  await count();
  toast(words("kept"));
}

/** Ask a few times whether the points are there; then say that they follow. */
async function follow(url, turn) {
  for (const pause of [200, 300, 400, 600, 900, 1300, 1800, 2500]) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (turn !== state.turn) return;
    const answer = await get(url).catch(() => null);
    if (turn !== state.turn) return;
    if (!answer) break;
    if (answer.kind === "member") {
      const open = sheets.isOpen();
      panel.innerHTML = answer.html;
      strip.innerHTML = answer.strip;
      if (!open) tell(answer.said);
      return;
    }
  }
  const banner = panel.querySelector("[data-banner] span");
  if (banner && turn === state.turn) banner.textContent += ` ${words("follow")}`;
}

/* ── undoing ────────────────────────────────────────────────────────────────────────────────────────────────────── */

let undoEnds = 0;
function setUndo(html) {
  undo.innerHTML = html;
  clearTimeout(undoEnds);
  const one = undo.querySelector("[data-undo]");
  if (!one) return;
  const left = Number(one.dataset.until) * 1000 - Date.now();
  undoEnds = setTimeout(() => undo.replaceChildren(), Math.max(0, left));
}

async function undoLast() {
  const one = undo.querySelector("[data-undo]");
  if (!one || one.disabled) return;
  one.disabled = true;
  one.dataset.key ??= newKey();
  try {
    const { kind, id, key } = one.dataset;
    show(await post(data.undo, { kind, id, key }));
  } catch (error) {
    one.disabled = false;
    ended(error);
  }
}

/* ── sheets ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

function enrol(typed = "") {
  const content = sheets.fromTemplate("sheet-enrol");
  const field = (one) => content.querySelector(`[name=${one}]`);
  if (typed.includes("@")) field("email").value = typed;
  else if (/\d{3}/.test(typed)) field("phone").value = typed;
  else field("name").value = typed;
  const form = content.querySelector("form");
  form.dataset.key = newKey();
  sheets.open(content, { focus: field("name").value ? "[name=phone]" : "[name=name]" });
}

function askRedeem({ redeem: reward, name: called, price, after }) {
  const content = sheets.fromTemplate("sheet-redeem", { name: called, price, after });
  Object.assign(content.querySelector("[data-do=redeem]").dataset, { reward, key: newKey() });
  sheets.open(content, { focus: "[data-do=redeem]" });
}

async function redeem(one) {
  one.disabled = true;
  try {
    show(await post(data.redeem, { member: state.member, reward: one.dataset.reward, key: one.dataset.key }));
  } catch (error) {
    one.disabled = false;
    ended(error, (said) => sheets.say(byId("sheet"), said));
  }
}

async function handOver(url) {
  try {
    show(await post(url, {}));
  } catch (error) {
    ended(error);
  }
}

async function returns(url) {
  try {
    const { html } = await get(url);
    sheets.open(html);
    byId("sheet").querySelectorAll("form[data-form=return]").forEach((form) => (form.dataset.key = newKey()));
  } catch (error) {
    ended(error);
  }
}

async function camera() {
  const content = sheets.fromTemplate("sheet-camera");
  const ending = new AbortController();
  const sheet = sheets.open(content, { focus: "[data-close]", onClose: () => ending.abort() });
  try {
    const scanner = new URL(data.scanner, location.href).href;
    const read = await look({ video: sheet.querySelector("video"), signal: ending.signal, scanner, wasm: data.wasm });
    if (!read) return;
    sheets.close();
    navigator.vibrate?.(60);
    await find(read);
  } catch {
    if (ending.signal.aborted) return;
    sheet.querySelector(".camera")?.setAttribute("hidden", "");
    sheet.querySelector("[data-wait]")?.setAttribute("hidden", "");
    sheet.querySelector("[data-refused]")?.removeAttribute("hidden");
  }
}

function fieldsOf(form) {
  if (form.dataset.form === "join") return Object.fromEntries(new FormData(form));
  const read = (input) => ("money" in input.dataset ? money.read(input.value) : input.value.replace(",", "."));
  const { sku, quantity, amount } = form.elements;
  if (sku) return { sku: sku.value, quantity: read(quantity), amount: read(amount) };
  const typed = [...form.querySelectorAll("[data-line]")].filter((input) => input.value.trim());
  return { sale: form.dataset.sale, lines: Object.fromEntries(typed.map((one) => [one.dataset.line, read(one)])) };
}

async function submitted(event) {
  const form = event.target.closest("form[data-form]");
  if (!form) return;
  event.preventDefault();
  if (form.dataset.form === "receipt") {
    const document = form.querySelector("input").value.trim();
    return returns(`${form.dataset.url}?${new URLSearchParams({ document })}`);
  }
  const { key, url } = form.dataset;
  const fields = fieldsOf(form);
  const isWhole = event.submitter?.hasAttribute("data-whole");
  if (isWhole) delete fields.lines;
  else if (fields.lines && !Object.keys(fields.lines).length) return sheets.say(form, words("choose-lines"));
  form.inert = true;
  try {
    if (form.dataset.form === "join") show(await post(data.join, { ...fields, key }));
    else show(await send(url, { ...fields, key }));
  } catch (error) {
    form.inert = false;
    if (!(error instanceof Refused)) return ended(error);
    // Refused, nothing happened: what is sent next is another request.
    if (!error.html) form.dataset.key = newKey();
    if (error.html) again(form, error.html);
    else ended(error, (said) => sheets.say(form, said));
  }
}

function again(form, html) {
  const holder = document.createElement("div");
  holder.innerHTML = html;
  const next = holder.firstElementChild;
  next.dataset.key = newKey();
  form.replaceWith(next);
  next.querySelector("[aria-invalid=true]")?.focus();
}

/* ── without network ────────────────────────────────────────────────────────────────────────────────────────────── */

let trying = 0;
function goOffline() {
  if (!state.isOffline) {
    state.isOffline = true;
    work.dataset.offline = "";
    name();
    count();
  }
  clearTimeout(trying);
  trying = setTimeout(sync, 5000);
}

function goOnline() {
  clearTimeout(trying);
  if (!state.isOffline) return;
  state.isOffline = false;
  delete work.dataset.offline;
  name();
  count();
  if (state.typed && !state.member) find(state.typed);
  else preview();
}

/** Send what is kept; asking with nothing tells whether the network is back. */
async function sync() {
  try {
    const { sent, refused } = await queue.drain((items) => send(data.sync, { items }, { stay: true }));
    if (!sent && !refused && state.isOffline) await send(data.sync, { items: [] }, { stay: true });
    goOnline();
    if (sent || refused) toast(words(refused ? "refused" : "sent"), { isBad: Boolean(refused) });
  } catch (error) {
    if (error instanceof Away) goOffline();
    else if (!(error instanceof Refused)) throw error;
  } finally {
    await count();
  }
}

async function count() {
  const kept = await queue.all();
  const place = byId("till-offline");
  state.kept = kept.length;
  place.hidden = !state.isOffline && !kept.length;
  place.querySelector("[data-offline]").hidden = !state.isOffline;
  const said = place.querySelector("[data-kept]");
  said.hidden = !kept.length;
  said.textContent = kept.length ? words("count", kept.length) : "";
  place.toggleAttribute("data-bad", kept.some((item) => item.words));
  if (byId("sheet").querySelector("[data-list]")) listKept(byId("sheet"), kept);
}

async function showQueue() {
  listKept(sheets.open(sheets.fromTemplate("sheet-queue")), await queue.all());
}

function listKept(sheet, kept) {
  sheet.querySelectorAll("[data-when-offline]").forEach((part) => (part.hidden = !state.isOffline));
  sheet.querySelector("[data-empty]").hidden = kept.length > 0;
  sheet.querySelector("[data-list]").replaceChildren(
    ...kept.map((item) => {
      const row = byId("queued").content.cloneNode(true).firstElementChild;
      const slot = (one) => row.querySelector(`[data-slot=${one}]`);
      const when = clock.format(item.occurred_at);
      slot("amount").textContent = item.shown.amount;
      slot("about").textContent = `${item.shown.about} · ${when}`;
      slot("words").textContent = item.words ?? "";
      slot("words").hidden = !item.words;
      const drop = row.querySelector("[data-do=drop]");
      drop.hidden = !item.words;
      drop.dataset.key = item.key;
      return row;
    }),
  );
}

/* A page kept for times without network could be opened by anybody: it stays locked if it was, or was left alone. */

function noteTouch() {
  localStorage.setItem("till-touched", String(Date.now()));
}

async function begin() {
  const idle = Date.now() - Number(localStorage.getItem("till-touched") ?? 0);
  const wasLocked = localStorage.getItem("till-locked") || idle >= Number(veil.dataset.idle) * 1000;
  try {
    await post(data.awake, {});
    localStorage.removeItem("till-locked");
    noteTouch();
  } catch (error) {
    if (error instanceof Away) {
      goOffline();
      if (wasLocked) document.dispatchEvent(new Event("till:lock"));
    }
  }
  await sync();
}

new MutationObserver(() => !veil.hidden && localStorage.setItem("till-locked", "1")).observe(veil, {
  attributeFilter: ["hidden"],
});

/* ── keys, taps, scanners ───────────────────────────────────────────────────────────────────────────────────────── */

const isNarrow = () => matchMedia("(max-width: 47.99rem)").matches;
const needsNetwork = "[data-redeem], [data-hand-over], [data-returns], [data-undo], [data-choose], [data-sheet=enrol]";

const taps = {
  "[data-digit]": (one) => press(one.dataset.digit),
  "[data-forget]": forget,
  "[data-choose]": (one) => choose(one.dataset.choose),
  "[data-redeem]": (one) => askRedeem(one.dataset),
  "[data-hand-over]": (one) => handOver(one.dataset.handOver),
  "[data-returns]": (one) => returns(one.dataset.returns),
  "[data-undo]": undoLast,
  "[data-camera]": camera,
  "[data-focus-find]": () => text.focus(),
  "[data-sheet=enrol]": (one) => enrol(one.dataset.typed),
  "[data-sheet=help]": () => sheets.open(sheets.fromTemplate("sheet-help")),
  "[data-do=redeem]": redeem,
  "[data-do=sync]": sync,
  "[data-do=drop]": (one) => queue.drop(one.dataset.key).then(count),
  "[data-do=choose]": (one) => sale.choose(Number(one.closest("[data-place]").dataset.place)),
  "[data-do=more]": (one) => sale.step(Number(one.closest("[data-place]").dataset.place), 1),
  "[data-do=less]": (one) => sale.step(Number(one.closest("[data-place]").dataset.place), -1),
  "[data-sku]": (one) => addArticle(one.dataset),
};

document.addEventListener("click", (event) => {
  const target = event.target.closest("button");
  if (!target) return;
  if (state.isOffline && target.matches(needsNetwork)) return toast(words("offline-not"), { isBad: true });
  const [, done] = Object.entries(taps).find(([selector]) => target.matches(selector)) ?? [];
  done?.(target);
});
button.addEventListener("click", record);
byId("till-offline").addEventListener("click", showQueue);
// Keys that are tapped take no focus: Enter on a keyboard still records.
byId("keys").addEventListener("pointerdown", (event) => event.preventDefault());
byId("find").addEventListener("submit", (event) => {
  event.preventDefault();
  find(text.value);
});
text.addEventListener("input", () => (byId("find").querySelector("[data-go]").hidden = !text.value));
byId("sheet").addEventListener("submit", submitted);
for (const one of document.querySelectorAll("[name=mode]")) one.addEventListener("change", () => setMode(one.value));

function setMode(mode) {
  document.querySelector(`[name=mode][value=${mode}]`).checked = true;
  byId("lines").hidden = mode !== "lines";
  work.dataset.mode = mode;
  const label = byId("amount-label");
  label.textContent = mode === "lines" ? label.dataset.lines : label.dataset.amount;
  sale.turn(mode);
  if (mode === "lines") byId("article-text").focus();
}

let looking = 0;
const article = byId("article-text");
async function lookUp() {
  const turn = (looking += 1);
  const found = byId("articles");
  const typed = article.value.trim();
  if (!typed || state.isOffline) {
    found.textContent = typed ? words("offline-article") : "";
    found.hidden = !typed;
    return null;
  }
  const answer = await get(`${data.articles}?${new URLSearchParams({ q: typed })}`).catch(() => null);
  if (turn !== looking || !answer) return null;
  found.innerHTML = answer.html;
  found.hidden = false;
  return found;
}

let lookAt = 0;
article.addEventListener("input", () => {
  clearTimeout(lookAt);
  lookAt = setTimeout(lookUp, 150);
});
byId("article").addEventListener("submit", async (event) => {
  event.preventDefault();
  clearTimeout(lookAt);
  const typed = article.value.trim();
  const found = await lookUp();
  if (state.isOffline && typed) return addArticle({ sku: typed, name: typed });
  const shown = [...(found?.querySelectorAll("[data-sku]") ?? [])];
  if (shown.length === 1) addArticle(shown[0].dataset);
  else shown[0]?.focus();
});

function addArticle({ sku, name: called }) {
  sale.add({ sku, name: called });
  article.value = "";
  byId("articles").hidden = true;
  article.blur();
}

const shortcuts = {
  "/": () => text.focus(),
  F2: camera,
  F3: () => setMode(sale.mode === "amount" ? "lines" : "amount"),
  F4: () => (state.isOffline ? toast(words("offline-not"), { isBad: true }) : enrol(state.member ? "" : state.typed)),
  F6: () => panel.querySelector("[data-returns]")?.click(),
  F8: () => undo.querySelector("[data-undo]")?.click(),
  Escape: escape,
};

function escape() {
  if (sheets.isOpen()) sheets.close();
  else if (isTyping(document.activeElement)) document.activeElement.blur();
  else if (sale.amount) sale.clear();
  else if (state.member || state.typed) forget();
}

let burst = null;
listen({
  began: () => {
    const field = isTyping(document.activeElement) ? document.activeElement : null;
    burst = { field, value: field?.value, digits: sale.digits, lines: structuredClone(sale.lines) };
  },
  isElsewhere: (target) => target instanceof Element && target.matches("[data-plain]"),
  scanned: (read) => {
    if (burst.field) burst.field.value = burst.value;
    Object.assign(sale, { digits: burst.digits, lines: burst.lines });
    changed();
    sheets.close();
    find(read);
  },
});

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || !veil.hidden) return;
  const typing = isTyping(event.target);
  if (shortcuts[event.key] && (!typing || event.key.length > 1)) {
    event.preventDefault();
    shortcuts[event.key]();
  } else if (!typing && /^\d$/.test(event.key)) press(event.key);
  else if (!typing && event.key === "Backspace") press("back");
  else if (!typing && event.key === "Enter" && !event.target.closest("button, a, summary")) record();
});

addEventListener("online", sync);
addEventListener("offline", goOffline);
for (const kind of ["pointerdown", "keydown"]) document.addEventListener(kind, noteTouch, { capture: true, passive: true });

/* ── beginning ──────────────────────────────────────────────────────────────────────────────────────────────────── */

// Not before this runs: a form sent without it would write what was typed into the address.
for (const one of [text, article]) one.disabled = false;
setMode(document.querySelector("[name=mode]:checked").value);
document.activeElement?.blur?.();
setUndo(undo.innerHTML);
if (navigator.onLine) begin();
else {
  goOffline();
  begin();
}

if ("serviceWorker" in navigator) {
  navigator.serviceWorker.register(data.worker, { scope: data.page }).then(async () => {
    const { active } = await navigator.serviceWorker.ready;
    const parts = performance.getEntriesByType("resource").map((one) => one.name);
    active.postMessage(parts.filter((one) => !one.includes(data.worker)));
  });
}
