/*
 * The modal an application asks for, as a <dialog>.
 *
 * Promise: nothing is sent that breaks what the fields demand; when sending fails the words stay
 * and the dialog says why.
 */

import { el } from "./dom.js";
import { markdown } from "./markdown.js";
import { modalField } from "./modal_fields.js";

export class Modal {
  #fields = [];
  #submit = null;

  constructor(dialog, context) {
    this.dialog = dialog;
    this.context = context;
    this.title = dialog.querySelector("h2");
    this.body = dialog.querySelector("[data-fields]");
    this.error = dialog.querySelector("[data-error]");
    this.button = dialog.querySelector("[type=submit]");
    dialog.querySelector("form").addEventListener("submit", (event) => this.#send(event));
    for (const button of dialog.querySelectorAll("[data-close]")) button.addEventListener("click", () => dialog.close());
  }

  /** Show what the server sent; `submit(fields, done)` sends the answers. */
  open(event, submit) {
    if (this.dialog.open) this.dialog.close();
    this.#submit = submit;
    this.#fields = [];
    this.title.textContent = event.title;
    this.body.replaceChildren(...event.components.flatMap((part) => this.#part(part)));
    this.#settle("");
    this.dialog.showModal();
    this.#fields[0]?.focus();
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  /** A row holds inputs, a label holds one with its words, a text display only says something. */
  #part(part) {
    if (part.type === 1) return part.components.flatMap((inner) => this.#part(inner));
    if (part.type === 10) return [el("div", { class: "modal-text" }, markdown(part.content, this.context))];
    if (part.type === 18) return [this.#field(part.component, part.label, part.description)];
    return [this.#field(part, part.label ?? part.placeholder ?? "", null)];
  }

  #field(part, label, description) {
    const field = modalField(part, label, this.context);
    if (!field) return el("p", { class: "unsupported", text: `${label}: this page has no field of type ${part.type}.` });
    this.#fields.push(field);
    const optional = part.required === false ? el("span", { class: "optional", text: "optional" }) : null;
    const caption = el("label", { class: "field-label", for: field.id }, label, optional);
    const more = description ? el("p", { class: "field-more", text: description }) : null;
    return el("div", { class: "modal-field" }, caption, more, field.node, field.error);
  }

  #send(event) {
    event.preventDefault();
    if (this.button.getAttribute("aria-busy")) return;
    const wrong = this.#fields.filter((field) => !field.check());
    if (wrong.length) {
      wrong[0].focus();
      return;
    }
    this.button.setAttribute("aria-busy", "true");
    this.error.hidden = true;
    const values = Object.fromEntries(this.#fields.map((field) => [field.customId, field.value()]));
    this.#submit(values, (state, text) => {
      if (state === "failed") this.#settle(text || "Something went wrong. Try again.");
      else this.close();
    });
  }

  #settle(text) {
    this.button.removeAttribute("aria-busy");
    this.error.textContent = text;
    this.error.hidden = !text;
  }
}
