/*
 * A command being written: its name, a chip for each option in use, and the options still unused.
 *
 * Promise: `submit` hears only of complete, valid values; the first wrong chip gets the focus and
 * the hint line says what is wrong.
 */

import { TYPE, optionCalled, wire } from "./commands.js";
import { el, icon } from "./dom.js";
import { optionField } from "./option_fields.js";

export class CommandForm {
  #fields = [];

  /** `host` is what the fields need, and submit(operation), cancel(text). */
  constructor(node, host) {
    this.node = node;
    this.host = { ...host, typed: (field) => this.#typed(field) };
    this.name = el("span", { class: "command-name" });
    this.chips = el("span", { class: "chips" });
    this.more = el("span", { class: "more" });
    node.append(this.name, this.chips, this.more);
    node.addEventListener("keydown", (event) => this.#key(event));
  }

  get active() {
    return !this.node.hidden;
  }

  /** Begin a command; `values` by option name fill its chips. */
  open(entry, values = {}) {
    this.entry = entry;
    this.#fields = [];
    this.chips.replaceChildren();
    this.name.textContent = `/${entry.label}`;
    this.node.setAttribute("aria-label", `Command /${entry.label}`);
    this.node.hidden = false;
    // Optional options wait to be asked for, so that Enter sends a command that needs nothing.
    const wanted = entry.options.filter((option) => option.required || values[option.name] !== undefined);
    this.node.classList.toggle("bare", entry.options.length === 0);
    for (const option of wanted) this.#add(option, values[option.name]);
    this.#drawMore();
    this.host.hint(entry.description);
    this.focus();
  }

  close() {
    this.node.hidden = true;
    this.#fields = [];
    this.chips.replaceChildren();
  }

  /** Put the focus on the first chip that still needs something, else on the last one. */
  focus() {
    const field = this.#fields.find((each) => each.isEmpty) ?? this.#fields.at(-1);
    if (field) field.focus();
    else this.node.focus();
    const input = field?.input;
    if (input?.setSelectionRange && input.type !== "file") input.setSelectionRange(input.value.length, input.value.length);
  }

  /** Send the command if every chip is right; else show the first that is wrong. */
  submit() {
    const complaints = this.#fields.map((field) => field.complain());
    const wrong = complaints.findIndex((text) => text);
    if (wrong >= 0) {
      this.#fields[wrong].focus();
      this.host.suggest.close();
      this.host.hint(complaints[wrong], "error");
      return;
    }
    this.host.submit(wire(this.entry, this.#options()), this.#snapshot());
  }

  /** The options as they stand, with the focused one marked, for an autocompletion. */
  question(focused) {
    const options = this.#fields.flatMap((field) => {
      const { option } = field;
      if (field === focused) return [{ name: option.name, type: option.type, value: field.input.value, focused: true }];
      const { value } = field.result();
      return value === undefined ? [] : [{ name: option.name, type: option.type, value }];
    });
    return wire(this.entry, options);
  }

  /** Give a dropped or pasted file to the first attachment option; false when there is none. */
  takeFile(file) {
    const option = this.entry.options.find((each) => each.type === TYPE.attachment);
    if (!option) return false;
    const field = this.#fields.find((each) => each.option === option) ?? this.#add(option);
    this.#drawMore();
    field.take(file);
    return true;
  }

  #options() {
    return this.#fields.flatMap((field) => {
      const { value } = field.result();
      return value === undefined ? [] : [{ name: field.option.name, type: field.option.type, value }];
    });
  }

  #snapshot() {
    const values = {};
    for (const { name, type, value } of this.#options()) if (type !== TYPE.attachment) values[name] = value;
    return { entry: this.entry, values };
  }

  #add(option, value) {
    const field = optionField(option, this.host);
    if (value !== undefined) field.set(value);
    this.#fields.push(field);
    this.chips.append(field.node);
    return field;
  }

  /** "name:" as the last word begins that option; its own name in front of a value is dropped. */
  #typed(field) {
    const match = /(?:^|\s)(\S+):$/.exec(field.input.value);
    const option = match && optionCalled(this.entry.options, match[1]);
    if (!option) return false;
    const before = field.input.value.slice(0, match.index).trim();
    if (option === field.option) {
      if (!before) field.input.value = "";
      return false;
    }
    if (this.#fields.some((each) => each.option === option && !each.isEmpty)) return false;
    field.input.value = before;
    const next = this.#fields.find((each) => each.option === option) ?? this.#add(option);
    next.born = { field, words: match[0] };
    this.#drawMore();
    if (next.ask) next.ask();
    else next.focus();
    return true;
  }

  #remove(field) {
    if (field.born) field.born.field.input.value += field.born.words;

    const index = this.#fields.indexOf(field);
    this.#fields.splice(index, 1);
    field.node.remove();
    this.#drawMore();
    this.#fields[Math.max(0, index - 1)]?.focus();
  }

  #drawMore() {
    const used = new Set(this.#fields.map((field) => field.option));
    const unused = this.entry.options.filter((option) => !used.has(option));
    this.more.replaceChildren(...unused.map((option) => this.#adder(option)));
    this.more.hidden = unused.length === 0;
  }

  #adder(option) {
    const button = el("button", { type: "button", class: "add-option", title: option.words }, icon("plus"), el("span", { text: option.label }));
    button.setAttribute("aria-label", `Add option ${option.label}`);
    button.addEventListener("click", () => {
      const field = this.#add(option);
      this.#drawMore();
      field.focus();
    });
    button.addEventListener("focus", () => this.host.hint(`${option.label} (optional): ${option.words}`));
    return button;
  }

  #key(event) {
    if (event.isComposing || this.host.suggest.key(event)) {
      event.stopPropagation();
      return;
    }
    if (event.key === "Escape") {
      event.preventDefault();
      this.host.cancel("");
    } else if (event.key === "Enter" && !event.target.closest("button, [type=file]")) {
      event.preventDefault();
      this.submit();
    } else if (event.key === "Backspace") {
      this.#backspace(event);
    }
  }

  /** In an empty chip: an optional one goes away, the first one turns back into text. */
  #backspace(event) {
    const field = this.#fields.find((each) => each.input === event.target);
    if (!this.#fields.length) return this.#backToText(event);
    if (!field?.isEmpty) return;
    if (this.#fields.indexOf(field) === 0) this.#backToText(event);
    else if (!field.option.required) {
      event.preventDefault();
      this.#remove(field);
    }
  }

  #backToText(event) {
    event.preventDefault();
    this.host.cancel(`/${this.entry.label}`);
  }
}
