/*
 * The list above the composer: commands, choices, what the bot suggests.
 *
 * Promise: the focus never leaves the input; the active row is told by aria-activedescendant.
 */

import { el } from "./dom.js";

export class Suggest {
  #items = [];
  #active = -1;
  #input = null;
  #pick = null;

  constructor(node) {
    this.node = node;
    this.list = node.querySelector("[role=listbox]");
    this.title = node.querySelector("[data-title]");
    // Keep the focus in the input when a row is pressed.
    node.addEventListener("pointerdown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => {
      const row = event.target.closest("[role=option]");
      if (row) this.#choose(Number(row.dataset.index));
    });
  }

  get isOpen() {
    return !this.node.hidden;
  }

  /**
   * Show `items` ({label, detail, hint}) for `input`; `pick(item, key)` gets the chosen one. `active` is
   * the row that Enter takes: 0, or -1 for none until an arrow is pressed.
   */
  open(input, { title, items, pick, active = 0, none = "" }) {
    if (this.#input !== input) this.close();
    this.#input = input;
    this.#items = items;
    this.#pick = pick;
    this.title.textContent = title;
    const rows = items.map((item, index) => suggestRow(item, index));
    this.list.replaceChildren(...(rows.length ? rows : [el("p", { class: "suggest-none", text: none })]));
    this.node.hidden = rows.length === 0 && !none;
    input.setAttribute("aria-expanded", String(this.isOpen));
    input.setAttribute("aria-controls", this.list.id);
    this.#activate(rows.length ? active : -1);
  }

  close() {
    this.node.hidden = true;
    this.#active = -1;
    this.#input?.setAttribute("aria-expanded", "false");
    this.#input?.removeAttribute("aria-activedescendant");
    this.#input = null;
  }

  /** Take a key meant for the list; false when it is somebody else's. */
  key(event) {
    if (!this.isOpen) return false;
    if (event.key === "Escape") {
      this.close();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!this.#items.length) return false;
      this.#activate(this.#next(event.key === "ArrowDown" ? 1 : -1));
    } else if ((event.key === "Enter" || event.key === "Tab") && !event.shiftKey && this.#active >= 0) {
      this.#choose(this.#active, event.key);
    } else {
      return false;
    }
    event.preventDefault();
    return true;
  }

  #next(step) {
    const size = this.#items.length;
    if (this.#active < 0) return step > 0 ? 0 : size - 1;
    return (this.#active + step + size) % size;
  }

  #activate(index) {
    this.#active = index;
    const rows = [...this.list.querySelectorAll("[role=option]")];
    rows.forEach((row, at) => row.setAttribute("aria-selected", String(at === index)));
    if (index < 0) {
      this.#input?.removeAttribute("aria-activedescendant");
      return;
    }
    this.#input.setAttribute("aria-activedescendant", rows[index].id);
    rows[index].scrollIntoView({ block: "nearest" });
  }

  #choose(index, key = "") {
    const item = this.#items[index];
    const pick = this.#pick;
    this.close();
    pick(item, key);
  }
}

function suggestRow(item, index) {
  const label = el("span", { class: "suggest-label", text: item.label });
  const hint = item.hint ? el("span", { class: "suggest-hint", text: item.hint }) : null;
  const detail = item.detail ? el("span", { class: "suggest-detail", text: item.detail }) : null;
  return el("div", { class: "suggest-row", role: "option", id: `suggestion-${index}`, "aria-selected": "false", data: { index } }, label, hint, detail);
}
