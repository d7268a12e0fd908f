/*
 * Where people write: plain words, or a command chosen from the list that "/" opens.
 *
 * Promise: what was typed is lost only by sending it or by Escape; everything works without a
 * pointer.
 */

import { complete, entries, named, search, typed, wire } from "./commands.js";
import { CommandForm } from "./command_form.js";
import { displayName, el, icon } from "./dom.js";
import { Suggest } from "./suggest.js";

const LONGEST = 2000;

export class Composer {
  #entries = [];
  #last = null;
  #asked = null;
  #answered = null;

  /**
   * `hands`: slash(operation, retry), say(content, replyTo), ask(operation, onChoices), upload(file), and
   * guild with people(), channels() and roles(); slash and say tell whether there was a connection.
   */
  constructor(node, hands) {
    this.hands = hands;
    this.text = node.querySelector("#say");
    this.hintLine = node.querySelector("#composer-hint");
    this.answerLine = node.querySelector("#answering");
    this.suggest = new Suggest(node.querySelector("#suggest"));
    this.form = new CommandForm(node.querySelector("#command"), this.#host());
    this.text.addEventListener("input", () => this.#typed());
    this.text.addEventListener("keydown", (event) => this.#key(event));
    this.text.addEventListener("blur", () => this.suggest.close());
    this.text.addEventListener("focus", () => this.#listCommands());
    node.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#takeFiles(node);
  }

  /** The commands of the guild, as the bot synced them. */
  setCommands(commands) {
    this.#entries = entries(commands);
    this.#listCommands();
  }

  setPlaceholder(text) {
    this.text.placeholder = text;
  }

  /** Write a command for the reader, who only has to press Enter. */
  fill(name, values = {}) {
    const entry = this.#entries.find((each) => each.name === name);
    if (entry) {
      this.#begin(entry, values);
      return;
    }
    this.#toText(`/${name} ${Object.values(values).join(" ")}`.trim());
    this.#listCommands();
  }

  /** Begin an answer to a message. */
  answer(message) {
    if (this.form.active) this.#toText("");
    this.#answered = message.id;
    const close = el("button", { type: "button", class: "quiet-link", "aria-label": "Do not reply" }, icon("close"));
    close.addEventListener("click", () => this.#dropAnswer());
    this.answerLine.replaceChildren(el("span", { text: `Replying to ${displayName(message.author, message.member)}` }), close);
    this.answerLine.hidden = false;
    this.text.focus();
  }

  /** Another channel: an answer has nothing to answer there. */
  leave() {
    this.#dropAnswer();
    if (this.form.active) this.#toText("");
  }

  focus() {
    if (this.form.active) this.form.focus();
    else this.text.focus();
  }

  #host() {
    return {
      suggest: this.suggest,
      guild: this.hands.guild,
      upload: this.hands.upload,
      hint: (text, tone) => this.#hint(text, tone),
      ask: (field) => this.#ask(field),
      cancel: (text) => this.#toText(text),
      submit: (operation, snapshot) => this.#slash(operation, snapshot),
    };
  }

  #begin(entry, values) {
    this.suggest.close();
    this.text.value = "";
    this.text.hidden = true;
    this.form.open(entry, values);
  }

  #toText(text) {
    this.suggest.close();
    this.form.close();
    this.#hint("");
    this.text.hidden = false;
    this.text.value = text;
    this.text.focus();
    if (text) this.#listCommands();
  }

  #typed() {
    this.#hint("");
    const match = typed(this.#entries, this.text.value);
    if (!match) {
      this.#listCommands();
      return;
    }
    this.#begin(match.entry, named(match.entry, match.rest));
  }

  #listCommands() {
    const { value } = this.text;
    if (document.activeElement !== this.text || !value.startsWith("/") || value.includes("\n")) {
      this.suggest.close();
      return;
    }
    this.suggest.open(this.text, {
      title: "Commands",
      items: search(this.#entries, value.slice(1)).map((entry) => commandItem(entry)),
      none: this.#entries.length ? "No command fits." : "No commands yet: the bot has not announced any.",
      pick: ({ entry }, key) => this.#pick(entry, key),
    });
  }

  /** Enter on a name that was typed to its end sends a command that needs nothing more. */
  #pick(entry, key) {
    if (key === "Enter" && complete([entry], this.text.value)) this.#slash(wire(entry, []), { entry, values: {} });
    else this.#begin(entry, {});
  }

  #dropAnswer() {
    this.#answered = null;
    this.answerLine.hidden = true;
  }

  #key(event) {
    if (event.isComposing || this.suggest.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#send();
    } else if (event.key === "Escape" && this.#answered) {
      this.#dropAnswer();
    } else if (event.key === "Escape" && this.text.value) {
      this.#toText("");
    } else if (event.key === "ArrowUp" && !this.text.value && this.#last) {
      event.preventDefault();
      this.#begin(this.#last.entry, this.#last.values);
    }
  }

  #send() {
    if (this.form.active) {
      this.form.submit();
      return;
    }
    const content = this.text.value.trim();
    if (!content) return;
    const problem = this.#problem(content);
    if (problem) {
      this.#hint(problem, "error");
    } else if (this.hands.say(content, this.#answered)) {
      this.#dropAnswer();
      this.#toText("");
    } else {
      this.#hint("Not connected. Your message is still here; try again in a moment.", "error");
    }
  }

  #problem(content) {
    const length = [...content].length;
    if (length > LONGEST) return `A message takes at most ${LONGEST} characters; this one has ${length}.`;
    return content.startsWith("/") ? `There is no command ${content.split(/\s/)[0]}.` : "";
  }

  #slash(operation, snapshot) {
    const retry = () => this.#begin(snapshot.entry, snapshot.values);
    if (!this.hands.slash(operation, snapshot.entry.label, retry)) {
      this.#hint("Not connected. The command is still here; try again in a moment.", "error");
      return;
    }
    this.#last = snapshot;
    this.#toText("");
  }

  /** Only the answer to the latest question is shown. */
  #ask(field) {
    if (!this.form.active) return;
    const question = Symbol("question");
    this.#asked = question;
    this.hands.ask(this.form.question(field), (choices) => {
      if (this.#asked === question && this.form.active) field.offer(choices);
    });
  }

  #hint(text, tone = "") {
    this.hintLine.textContent = text;
    this.hintLine.classList.toggle("error", tone === "error");
    this.hintLine.setAttribute("role", tone === "error" ? "alert" : "note");
  }

  /** A file dropped on the page or pasted belongs to the command's attachment option. */
  #takeFiles(node) {
    const take = (event, files) => {
      if (!files?.length || !this.form.active) return;
      event.preventDefault();
      if (!this.form.takeFile(files[0])) this.#hint(`/${this.form.entry.label} takes no file.`, "error");
    };
    node.addEventListener("paste", (event) => take(event, event.clipboardData?.files));
    node.addEventListener("dragover", (event) => event.preventDefault());
    node.addEventListener("drop", (event) => take(event, event.dataTransfer?.files));
  }
}

function commandItem(entry) {
  const options = entry.options.map((option) => (option.required ? option.label : `${option.label}?`));
  return { label: `/${entry.label}`, hint: options.join("  "), detail: entry.description, entry };
}
