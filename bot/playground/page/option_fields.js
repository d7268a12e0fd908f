/*
 * One chip for each option of the command being written: typed text, a choice, or a file.
 *
 * Promise: `result()` is `{value}`, `{}` for an optional one left empty, or `{error}`.
 * `host` gives: suggest, ask(field) for autocompletion, upload(file), hint(text), guild, and
 * typed(field), which is true when what was typed began another option.
 */

import { TYPE, fixedChoices, read } from "./commands.js";
import { el, icon, safeUrl, spinner } from "./dom.js";
import { fileSize } from "./media.js";

const DEBOUNCE = 180;

/** The field that suits the option. */
export function optionField(option, host) {
  if (option.type === TYPE.attachment) return new FileField(option, host);
  if (fixedChoices(option, host.guild)) return new ChoiceField(option, host);
  return option.autocomplete ? new AskingField(option, host) : new TextField(option, host);
}

class Field {
  constructor(option, host) {
    this.option = option;
    this.host = host;
    this.name = el("span", { class: "chip-name", text: option.label });
    this.node = el("label", { class: "chip" }, this.name);
  }

  /** Watch the input that the chip wraps. */
  adopt(input) {
    this.input = input;
    input.setAttribute("aria-label", this.option.label);
    input.setAttribute("aria-describedby", "composer-hint");
    input.setAttribute("aria-required", String(Boolean(this.option.required)));
    input.addEventListener("focus", () => this.focused());
    input.addEventListener("blur", () => this.host.suggest.close());
    this.node.append(input);
  }

  focus() {
    this.input.focus();
  }

  focused() {
    this.host.hint(this.words());
  }

  /** What the option is for, in the bot's words. */
  words() {
    const { label, words, required } = this.option;
    return `${label}${required ? "" : " (optional)"}: ${words}`;
  }

  get isEmpty() {
    return !this.input.value.trim();
  }

  /** Colour the chip when its value cannot be sent; returns what is wrong. */
  complain() {
    const { error } = this.result();
    this.node.classList.toggle("wrong", Boolean(error));
    this.input.setAttribute("aria-invalid", String(Boolean(error)));
    return error ?? "";
  }

  forgive() {
    this.node.classList.remove("wrong");
    this.input.setAttribute("aria-invalid", "false");
  }
}

class TextField extends Field {
  constructor(option, host) {
    super(option, host);
    const long = option.type === TYPE.string;
    this.node.classList.toggle("long", long);
    const mode = { [TYPE.integer]: "numeric", [TYPE.number]: "decimal" }[option.type] ?? "text";
    this.adopt(el(long ? "textarea" : "input", { rows: long ? 1 : null, inputmode: mode, autocomplete: "off", spellcheck: "false", enterkeyhint: "send" }));
    this.input.addEventListener("input", () => this.typed());
  }

  typed() {
    // One option is one line, also when several were pasted.
    if (this.input.value.includes("\n")) this.input.value = this.input.value.replace(/\s*\n\s*/g, " ");
    if (!this.input.value.trim()) this.input.value = "";
    this.forgive();
    if (this.host.typed(this)) return;
    this.focused();
  }

  set(value) {
    this.input.value = String(value);
  }

  result() {
    return read(this.option, this.input.value);
  }
}

/** One of a closed list: choices, True and False, people, channels. */
class ChoiceField extends Field {
  #chosen = null;

  constructor(option, host) {
    super(option, host);
    this.adopt(el("input", { role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", autocomplete: "off", spellcheck: "false" }));
    this.input.addEventListener("input", () => {
      this.#chosen = null;
      this.forgive();
      if (!this.host.typed(this)) this.#list();
    });
    this.input.addEventListener("click", () => this.host.suggest.isOpen || this.#list());
  }

  focused() {
    super.focused();
    this.#list();
  }

  #list() {
    const words = this.#chosen ? "" : this.input.value.trim().toLowerCase();
    const all = fixedChoices(this.option, this.host.guild);
    const items = all.filter((item) => item.label.toLowerCase().includes(words));
    const active = this.#chosen ? items.findIndex((item) => item.value === this.#chosen.value) : 0;
    this.host.suggest.open(this.input, {
      title: this.words(),
      items,
      active,
      none: "Nothing in the list fits.",
      pick: (item) => this.#take(item),
    });
  }

  #take(item) {
    this.#chosen = item;
    this.input.value = item.label;
    this.forgive();
  }

  set(value) {
    const words = String(value).toLowerCase();
    const all = fixedChoices(this.option, this.host.guild);
    const item = all.find((choice) => choice.value === value) ?? all.find((choice) => choice.label.toLowerCase() === words);
    if (item) this.#take(item);
  }

  result() {
    const words = this.input.value.trim().toLowerCase();
    if (!words) return read(this.option, "");
    const all = fixedChoices(this.option, this.host.guild);
    const item = this.#chosen ?? all.find((choice) => choice.label.toLowerCase() === words);
    return item ? { value: item.value } : { error: `${this.option.label}: choose one of the list.` };
  }
}

/** Free text for which the bot suggests completions. */
class AskingField extends TextField {
  #timer = 0;
  #picked = null;

  constructor(option, host) {
    super(option, host);
    for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-expanded", "false"]]) this.input.setAttribute(name, value);
    this.input.addEventListener("blur", () => clearTimeout(this.#timer));
  }

  focused() {
    super.focused();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.host.ask(this), DEBOUNCE);
  }

  typed() {
    this.#picked = null;
    super.typed();
  }

  /** The bot's answer; nothing is active, so Enter still sends what was typed. */
  offer(choices) {
    if (document.activeElement !== this.input || this.#picked) return;
    this.host.suggest.open(this.input, {
      title: this.words(),
      items: choices.map(({ name, value }) => ({ label: name, value, hint: name === String(value) ? "" : String(value) })),
      active: -1,
      pick: (item) => {
        this.#picked = item;
        this.input.value = item.label;
      },
    });
  }

  result() {
    if (this.#picked) return { value: this.#picked.value };
    return super.result();
  }
}

/** A file, uploaded as soon as it is chosen. */
class FileField extends Field {
  #upload = null;
  #state = "empty";

  constructor(option, host) {
    super(option, host);
    this.face = el("span", { class: "file-face" });
    this.adopt(el("input", { type: "file", class: "file-input" }));
    this.node.classList.add("with-file");
    this.node.append(this.face);
    this.input.addEventListener("change", () => this.input.files[0] && this.take(this.input.files[0]));
    this.#draw("Choose a file");
  }

  /** Also for files dropped or pasted on the composer. */
  async take(file) {
    this.#state = "uploading";
    this.forgive();
    this.#draw(`Uploading ${file.name}`, spinner());
    try {
      this.#upload = await this.host.upload(file);
      this.#state = "ready";
      this.#draw(`${this.#upload.filename} · ${fileSize(this.#upload.size)}`, this.#thumbnail());
    } catch (error) {
      this.#state = "failed";
      this.#draw("Choose a file");
      this.node.classList.add("wrong");
      this.host.hint(error.message, "error");
    }
  }

  #thumbnail() {
    const url = this.#upload.width && this.#upload.url ? safeUrl(this.#upload.url) : null;
    return url ? el("img", { src: url, alt: "", width: 22, height: 22 }) : icon("file");
  }

  #draw(words, mark = icon("plus")) {
    this.face.replaceChildren(mark, el("span", { text: words }));
  }

  get isEmpty() {
    return this.#state === "empty";
  }

  set() {
    // A file cannot be filled in from elsewhere.
  }

  /** Let the reader choose a file at once; where the browser forbids that, the chip waits. */
  ask() {
    this.focus();
    if (navigator.userActivation?.isActive) this.input.click();
  }

  result() {
    if (this.#state === "ready") return { value: this.#upload.id };
    if (this.#state === "uploading") return { error: "The file is still on its way." };
    return this.option.required || this.#state === "failed" ? { error: `${this.option.label}: choose a file.` } : {};
  }
}
