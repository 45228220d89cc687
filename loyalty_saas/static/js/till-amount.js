/* What is being bought: an amount typed on the keys, or lines whose prices are typed there. */

const MOST_DIGITS = 10;

/** Amounts as the viewer writes them, in the client's currency. */
export class Money {
  constructor({ currency, decimals, language }) {
    this.decimals = decimals;
    this.format = new Intl.NumberFormat(language, {
      style: "currency",
      currency,
      minimumFractionDigits: decimals,
      maximumFractionDigits: decimals,
    });
    const parts = this.format.formatToParts(1.5);
    this.point = parts.find((part) => part.type === "decimal")?.value ?? ".";
  }

  parts(minor) {
    return this.format.formatToParts(minor / 10 ** this.decimals);
  }

  text(minor) {
    return this.parts(minor).map((part) => part.value).join("");
  }

  /** Minor units from what was typed, or null: 6.20 and 6,20 are the same, 1.240,00 as well. */
  read(typed) {
    const bare = typed.replace(/[^\d.,]/g, "");
    const [, whole, fraction] = /^(.*?)(?:[.,](\d{1,3}))?$/.exec(bare) ?? [];
    if (!bare) return null;
    const isFraction = fraction !== undefined && fraction.length <= this.decimals;
    const digits = (isFraction ? whole : bare).replace(/\D/g, "");
    const minor = Number(`${digits || "0"}${(isFraction ? fraction : "").padEnd(this.decimals, "0")}`);
    return Number.isSafeInteger(minor) ? minor : null;
  }
}

/** The sale being typed. `changed` is called whenever it is another. */
export class Sale {
  constructor({ money, changed }) {
    Object.assign(this, { money, changed, mode: "amount", digits: "", lines: [], chosen: -1 });
    this.prices = JSON.parse(localStorage.getItem("till-prices") ?? "{}");
  }

  get amount() {
    if (this.mode === "amount") return Number(this.digits || 0);
    return this.lines.reduce((sum, line) => sum + Math.round(line.quantity * line.price), 0);
  }

  get isReady() {
    return this.amount > 0 && (this.mode === "amount" || this.lines.every((line) => line.price > 0));
  }

  /** What the server is told of it. */
  body() {
    if (this.mode === "amount") return { amount: this.amount };
    return { lines: this.lines.map(({ sku, quantity, price }) => ({ sku, quantity, unit_price: price })) };
  }

  press(key) {
    const line = this.mode === "lines" ? this.lines[this.chosen] : null;
    if (this.mode === "lines" && !line) return;
    let digits = line ? (line.fresh ? "" : String(line.price || "")) : this.digits;
    if (key === "back") digits = digits.slice(0, -1);
    else if ((digits + key).length <= MOST_DIGITS) digits = (digits + key).replace(/^0+/, "");
    if (line) Object.assign(line, { price: Number(digits || 0), fresh: false });
    else this.digits = digits;
    this.changed();
  }

  add({ sku, name }) {
    const known = this.lines.findIndex((line) => line.sku === sku);
    if (known >= 0) this.lines[known].quantity += 1;
    // A price remembered on this till is replaced by the first digit typed.
    else this.lines.push({ sku, name, quantity: 1, price: this.prices[sku] ?? 0, fresh: true });
    this.chosen = known >= 0 ? known : this.lines.length - 1;
    this.changed();
  }

  step(place, by) {
    const line = this.lines[place];
    line.quantity += by;
    if (line.quantity < 1) this.lines.splice(place, 1);
    this.chosen = Math.min(this.chosen, this.lines.length - 1);
    this.changed();
  }

  choose(place) {
    this.chosen = place;
    this.lines[place].fresh = true;
    this.changed();
  }

  turn(mode) {
    this.mode = mode;
    this.changed();
  }

  clear() {
    for (const line of this.lines) this.prices[line.sku] = line.price;
    const kept = Object.entries(this.prices).slice(-500);
    this.prices = Object.fromEntries(kept);
    localStorage.setItem("till-prices", JSON.stringify(this.prices));
    Object.assign(this, { digits: "", lines: [], chosen: -1 });
    this.changed();
  }
}

/** Draw the sale: the large amount with a quiet currency, and the lines. */
export function draw(sale, { output, list, template, words, empty }) {
  output.replaceChildren(
    ...sale.money.parts(sale.amount).map(({ type, value }) => {
      const part = document.createElement("span");
      if (type === "currency" || type === "literal") part.className = "amount-sign";
      part.textContent = value;
      return part;
    }),
  );
  empty.hidden = sale.lines.length > 0;
  list.replaceChildren(
    ...sale.lines.map((line, place) => {
      const item = template.content.cloneNode(true).firstElementChild;
      const slot = (name) => item.querySelector(`[data-slot=${name}]`);
      item.dataset.place = place;
      item.toggleAttribute("data-chosen", place === sale.chosen);
      item.querySelector("[data-do=choose]").setAttribute("aria-pressed", String(place === sale.chosen));
      slot("name").textContent = line.name;
      slot("price").textContent = line.price ? words("each", sale.money.text(line.price)) : words("no-price");
      slot("quantity").textContent = line.quantity;
      slot("sum").textContent = sale.money.text(Math.round(line.quantity * line.price));
      return item;
    }),
  );
}
