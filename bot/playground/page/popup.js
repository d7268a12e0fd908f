/*
 * A small menu that opens at a button or under the pointer: what can be done with a message.
 *
 * Promise: one menu at a time; it closes at a choice, at Escape, at a press elsewhere, and gives
 * the focus back. Arrows walk through it.
 */

import { el } from "./dom.js";

let open = null;

/** Show `groups` ([{title, items: [{label, face, detail, pick}]}]) at an element or at {x, y}. */
export function popup(groups, at, label) {
  open?.close();
  open = new Popup(groups, at, label);
}

class Popup {
  constructor(groups, at, label) {
    this.back = document.activeElement;
    this.node = el("div", { class: "popup", role: "menu", "aria-label": label }, groups.filter(({ items }) => items.length).map((group) => this.#group(group)));
    document.body.append(this.node);
    this.#place(at);
    this.away = (event) => this.node.contains(event.target) || this.close();
    // The press that opened it is still on its way up.
    setTimeout(() => addEventListener("pointerdown", this.away), 0);
    this.node.addEventListener("keydown", (event) => this.#key(event));
    this.node.addEventListener("contextmenu", (event) => event.preventDefault());
    this.#rows()[0]?.focus();
  }

  close({ focus = true } = {}) {
    removeEventListener("pointerdown", this.away);
    const had = this.node.contains(document.activeElement);
    this.node.remove();
    open = null;
    if (focus && had) this.back?.focus?.({ preventScroll: true });
  }

  #group({ title, items, wide = false }) {
    const rows = items.map(({ label, face, pick }) => {
      const row = el("button", { type: "button", class: "popup-row", role: "menuitem", "aria-label": label }, face ?? null, wide ? null : el("span", { text: label }));
      row.addEventListener("click", () => {
        this.close();
        pick();
      });
      return row;
    });
    const head = title ? el("p", { class: "popup-title", "aria-hidden": "true", text: title }) : null;
    return el("div", { class: wide ? "popup-group wide" : "popup-group", role: "group", "aria-label": title }, head, rows);
  }

  #place(at) {
    const box = at instanceof Element ? at.getBoundingClientRect() : { right: at.x, bottom: at.y, top: at.y };
    const { width, height } = this.node.getBoundingClientRect();
    const left = Math.max(8, Math.min(box.right - (at instanceof Element ? width : 0), innerWidth - width - 8));
    const below = box.bottom + 4 + height < innerHeight;
    this.node.style.setProperty("--left", `${left}px`);
    this.node.style.setProperty("--top", `${Math.max(8, below ? box.bottom + 4 : box.top - height - 4)}px`);
  }

  #rows() {
    return [...this.node.querySelectorAll("[role=menuitem]")];
  }

  #key(event) {
    const rows = this.#rows();
    const at = rows.indexOf(document.activeElement);
    const go = (index) => rows.at(index % rows.length).focus();
    const keys = {
      ArrowDown: () => go(at + 1),
      ArrowRight: () => go(at + 1),
      ArrowUp: () => go(at - 1),
      ArrowLeft: () => go(at - 1),
      Home: () => go(0),
      End: () => go(-1),
      Escape: () => this.close(),
      Tab: () => this.close(),
    };
    if (!keys[event.key]) return;
    if (event.key !== "Tab") event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  }
}
