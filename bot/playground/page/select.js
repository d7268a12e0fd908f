/*
 * A menu of choices: a button that opens a list; one choice or several.
 *
 * Promise: works by keyboard as a listbox does (arrows, Home, End, Enter, Escape, letters), and
 * never offers more than the menu allows.
 */

import { el, icon, spinner } from "./dom.js";
import { emojiFace } from "./emoji.js";

const ROOM = 320;
let count = 0;

export class SelectMenu {
  #chosen;
  #before = "";

  /**
   * Build the control for a select component. `onChoose(values)` is called when one choice is
   * made, or when a list of several closes with a changed, allowed number of choices.
   */
  constructor(part, { onChoose, busy = false, label = null }) {
    this.options = part.options ?? [];
    this.placeholder = part.placeholder ?? "Make a selection";
    this.most = part.max_values ?? 1;
    this.least = part.min_values ?? 1;
    this.onChoose = onChoose;
    this.#chosen = new Set(this.options.filter((option) => option.default).map((option) => option.value));
    this.#build(part, busy, label);
    this.#dress();
  }

  /** What is chosen, in the order of the list. */
  values() {
    return this.options.map((option) => option.value).filter((value) => this.#chosen.has(value));
  }

  #build(part, busy, label) {
    const id = `menu-${(count += 1)}`;
    this.face = el("span", { class: "menu-face" });
    const says = { role: "combobox", "aria-haspopup": "listbox", "aria-expanded": "false", "aria-controls": id };
    const state = { "aria-label": label ?? this.placeholder, "aria-busy": busy ? "true" : null, disabled: part.disabled };
    this.opener = el("button", { type: "button", class: "menu-open", ...says, ...state }, this.face, spinner(), icon("chevron"));
    const several = this.most > 1;
    this.rows = this.options.map((option) => menuRow(option, several));
    const list = { class: "menu-list", id, role: "listbox", tabindex: "-1", hidden: true, "aria-multiselectable": several ? "true" : null };
    this.list = el("div", list, this.rows);
    this.node = el("div", { class: "menu" }, this.opener, this.list);
    this.opener.addEventListener("click", () => (this.list.hidden ? this.#open() : this.#close()));
    this.opener.addEventListener("keydown", (event) => this.#openerKey(event));
    this.list.addEventListener("click", (event) => this.#choose(event.target.closest("[role=option]")));
    this.list.addEventListener("keydown", (event) => this.#listKey(event));
    this.node.addEventListener("focusout", (event) => this.node.contains(event.relatedTarget) || this.#close({ focus: false }));
  }

  #dress() {
    const labels = this.options.filter((option) => this.#chosen.has(option.value)).map((option) => option.label);
    this.face.textContent = labels.join(", ") || this.placeholder;
    this.face.classList.toggle("empty", labels.length === 0);
    for (const row of this.rows) row.setAttribute("aria-selected", String(this.#chosen.has(row.dataset.value)));
  }

  #open() {
    this.#before = this.values().join("\n");
    const { top, bottom } = this.opener.getBoundingClientRect();
    this.list.classList.toggle("upward", innerHeight - bottom < ROOM && top > ROOM);
    this.list.hidden = false;
    this.opener.setAttribute("aria-expanded", "true");
    (this.rows.find((row) => this.#chosen.has(row.dataset.value)) ?? this.rows[0])?.focus();
  }

  #close({ focus = true } = {}) {
    if (this.list.hidden) return;
    this.list.hidden = true;
    this.opener.setAttribute("aria-expanded", "false");
    if (focus) this.opener.focus();
    const values = this.values();
    if (this.most > 1 && values.length >= this.least && values.join("\n") !== this.#before) this.onChoose(values);
  }

  #choose(row) {
    if (!row) return;
    const { value } = row.dataset;
    const had = this.#chosen.has(value);
    if (this.most === 1) {
      this.#chosen = new Set(had && this.least === 0 ? [] : [value]);
      this.#dress();
      this.#close();
      this.onChoose(this.values());
      return;
    }
    if (had) this.#chosen.delete(value);
    else if (this.#chosen.size < this.most) this.#chosen.add(value);
    this.#dress();
  }

  #openerKey(event) {
    if (event.key !== "ArrowDown" || this.opener.disabled) return;
    event.preventDefault();
    this.#open();
  }

  #listKey(event) {
    const at = this.rows.indexOf(document.activeElement);
    const go = (index) => this.rows.at(index % this.rows.length).focus();
    const keys = {
      ArrowDown: () => go(at + 1),
      ArrowUp: () => go(at - 1),
      Home: () => go(0),
      End: () => go(-1),
      Enter: () => this.#choose(this.rows[at]),
      " ": () => this.#choose(this.rows[at]),
      Escape: () => this.#close(),
    };
    if (keys[event.key]) {
      event.preventDefault();
      event.stopPropagation();
      keys[event.key]();
    } else if (event.key.length === 1) {
      const letter = event.key.toLowerCase();
      const next = [...this.rows.slice(at + 1), ...this.rows].find((row) => row.textContent.toLowerCase().startsWith(letter));
      next?.focus();
    }
  }
}

function menuRow(option, several) {
  const words = el("span", { class: "row-words" }, el("span", { class: "row-label", text: option.label }));
  if (option.description) words.append(el("span", { class: "row-detail", text: option.description }));
  const mark = emojiFace(option.emoji);
  const tick = el("span", { class: several ? "tick box" : "tick", "aria-hidden": "true" });
  return el("div", { class: "menu-row", role: "option", tabindex: "-1", data: { value: option.value } }, mark, words, tick);
}
