/*
 * The switch of the reader's language, which is the guild's too.
 *
 * Promise: one of the offered languages is chosen, or none when the bot's tests chose another.
 */

import { el } from "./dom.js";
import { LANGUAGES } from "./locales.js";

export class Languages {
  /** `choose(locale)` is called at a press; the server's greeting says what became of it. */
  constructor(node, choose) {
    this.node = node;
    this.buttons = Object.entries(LANGUAGES).map(([locale, name]) => {
      const short = locale.slice(0, 2).toUpperCase();
      const button = el("button", { type: "button", class: "language", role: "radio", "aria-checked": "false", "aria-label": name, title: name, lang: locale, data: { locale }, text: short });
      button.addEventListener("click", () => choose(locale));
      return button;
    });
    node.append(...this.buttons);
    node.addEventListener("keydown", (event) => this.#key(event, choose));
  }

  show(locale) {
    const chosen = this.buttons.findIndex((button) => button.dataset.locale === locale);
    this.buttons.forEach((button, index) => {
      button.setAttribute("aria-checked", String(index === chosen));
      button.tabIndex = index === Math.max(0, chosen) ? 0 : -1;
    });
  }

  #key(event, choose) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = this.buttons.at((this.buttons.indexOf(document.activeElement) + step) % this.buttons.length);
    next.focus();
    choose(next.dataset.locale);
  }
}
