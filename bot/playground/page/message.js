/*
 * One message on the page.
 *
 * Promise: an edit touches only the parts that changed, so a progress message neither flickers
 * nor loses the focus of a button in it.
 */

import { componentRows, replaceRows } from "./components.js";
import { avatar, clock, displayName, el, icon, moment } from "./dom.js";
import { embedCard } from "./embeds.js";
import { failureWords } from "./interactions.js";
import { markdown, plainText } from "./markdown.js";
import { Media } from "./media.js";
import { openMenu, openPerson, reactionChips, toolBar } from "./message_tools.js";

const EPHEMERAL = 1 << 6;
const LOADING = 1 << 7;
const SILENT = 1 << 12;
const LAYOUT = 1 << 15;
// What a command of a menu is answered with; its name has no slash.
const MENU_RESPONSE = 23;

export const isEphemeral = (message) => Boolean((message.flags ?? 0) & EPHEMERAL);
const isLoading = (message) => Boolean((message.flags ?? 0) & LOADING);

export class MessageView {
  #shown = new Map();
  #busy = new Set();

  constructor(message, context) {
    this.context = context;
    this.media = new Media(context);
    this.above = el("div", { class: "above", hidden: true });
    this.content = el("div", { class: "content" });
    this.embeds = el("div", { class: "embeds" });
    this.rows = el("div", { class: "rows" });
    this.reactions = el("ul", { class: "reactions", "aria-label": "Reactions" });
    this.failure = el("p", { class: "failure", role: "status", hidden: true });
    this.note = el("p", { class: "only-you", hidden: true });
    this.head = el("header", { class: "by" });
    this.gutter = el("div", { class: "gutter" });
    const body = el("div", { class: "body" }, this.head, this.content, this.media.node, this.embeds, this.rows, this.reactions, this.failure, this.note);
    this.node = el("li", { class: "message", data: { messageId: message.id } }, this.above, this.gutter, body);
    this.update(message);
    this.node.append(toolBar(this, context));
    this.node.addEventListener("contextmenu", (event) => this.#menu(event));
  }

  get id() {
    return this.message.id;
  }

  get date() {
    return new Date(this.message.timestamp);
  }

  update(message) {
    this.message = message;
    const layout = Boolean((message.flags ?? 0) & LAYOUT);
    this.#part("head", [message.author, message.member, message.timestamp], () => this.#drawHead());
    this.#part("above", [message.referenced_message, message.message_reference, usedCommand(message)], () => this.#drawAbove());
    this.#part("content", [message.content, message.edited_timestamp, message.flags], () => this.#drawContent());
    this.#part("media", layout ? [] : message.attachments, () => this.media.update(layout ? [] : (message.attachments ?? [])));
    this.#part("embeds", message.embeds, () => this.#drawEmbeds());
    this.#part("rows", [message.components, layout && message.attachments], () => this.#drawRows());
    this.#part("reactions", message.reactions, () => this.#drawReactions());
    this.#part("note", message.flags, () => this.#drawNote());
    this.node.classList.toggle("to-me", this.#isToMe());
  }

  /** Draw name and face, or neither when the message follows another by the same person. */
  group(follows) {
    const compact = follows && this.above.hidden;
    this.node.classList.toggle("compact", compact);
  }

  /** The words of the message on one line. */
  summary() {
    const { message } = this;
    const words = plainText(message.content ?? "", this.context);
    if (words) return words;
    if (isLoading(message)) return "is thinking";
    return message.attachments?.length ? "posted a picture" : message.embeds?.[0]?.title || "posted a message";
  }

  /** Show under the message that a press came to nothing; no text takes the line away. */
  fail(text) {
    this.failure.replaceChildren(...(text ? [icon("warning"), el("span", { text })] : []));
    this.failure.hidden = !text;
  }

  #part(name, value, draw) {
    const key = JSON.stringify(value ?? null);
    if (this.#shown.get(name) === key) return;
    this.#shown.set(name, key);
    draw();
  }

  #drawHead() {
    const { author, member } = this.message;
    const date = this.date;
    const name = el("button", { type: "button", class: `name ${author.bot ? "is-bot" : ""}`, text: displayName(author, member) });
    name.addEventListener("click", () => openPerson(author, name, this.context));
    const badge = author.bot ? el("span", { class: "badge", text: "BOT" }) : null;
    const when = (data) => el("time", { class: "when", datetime: date.toISOString(), title: moment(date), data, text: clock(date) });
    const silent = (this.message.flags ?? 0) & SILENT ? el("span", { class: "silent", title: "Sent silently", role: "img", "aria-label": "Sent silently" }, icon("silent")) : null;
    this.head.replaceChildren(...[name, badge, when({ clock: "" }), silent].filter(Boolean));
    const small = el("time", { class: "small-when", "aria-hidden": "true", text: clock(date).split(" ").at(-1) });
    this.gutter.replaceChildren(avatar(author), small);
  }

  #drawAbove() {
    const { message, context } = this;
    const command = usedCommand(message);
    const parts = command ? commandLine(command) : replyLine(message, context);
    this.above.replaceChildren(...parts);
    this.above.hidden = parts.length === 0;
  }

  #drawContent() {
    const { message, context } = this;
    const parts = [];
    if (isLoading(message) && !message.content) {
      parts.push(el("span", { class: "thinking" }, `${displayName(message.author)} is thinking`, el("span", { class: "dots", "aria-hidden": "true" })));
    } else if (message.content) {
      parts.push(markdown(message.content, context));
    }
    if (message.edited_timestamp && message.content) {
      parts.push(el("span", { class: "edited", title: moment(new Date(message.edited_timestamp)), text: "(edited)" }));
    }
    this.content.replaceChildren(...parts);
    this.content.hidden = parts.length === 0;
  }

  #drawEmbeds() {
    const cards = (this.message.embeds ?? []).map((embed) => embedCard(embed, this.context));
    this.embeds.replaceChildren(...cards);
    this.embeds.hidden = cards.length === 0;
  }

  #drawRows() {
    const components = this.message.components ?? [];
    replaceRows(this.rows, componentRows(components, this.#hands(), this.context));
    this.rows.hidden = components.length === 0;
  }

  #drawReactions() {
    const chips = reactionChips(this.message, this.context);
    this.reactions.replaceChildren(...chips);
    this.reactions.hidden = chips.length === 0;
  }

  #drawNote() {
    const ephemeral = isEphemeral(this.message);
    this.node.classList.toggle("ephemeral", ephemeral);
    this.note.hidden = !ephemeral;
    if (!ephemeral) return;
    const dismiss = el("button", { type: "button", class: "quiet-link", text: "Dismiss message" });
    dismiss.addEventListener("click", () => this.context.dismiss(this.message));
    this.note.replaceChildren(icon("eye"), el("span", { text: "Only you can see this" }), el("span", { "aria-hidden": "true", text: "·" }), dismiss);
  }

  /** A right click opens the menu, but text, pictures and links keep the browser's own. */
  #menu(event) {
    if (event.shiftKey || event.target.closest("a, img, input, textarea") || String(getSelection())) return;
    event.preventDefault();
    openMenu(this.message, { x: event.clientX, y: event.clientY }, this.context);
  }

  #isToMe() {
    const me = this.context.meId();
    return (this.message.mentions ?? []).some((user) => user.id === me) && this.message.author.id !== me;
  }

  #hands() {
    return {
      isBusy: (customId) => this.#busy.has(customId),
      file: (address) => fileNamed(address, this.message.attachments),
      press: (part, values) => this.#press(part, values),
    };
  }

  #press(part, values) {
    this.fail("");
    this.#busy.add(part.custom_id);
    this.#mark(part.custom_id, true);
    this.context.press(this.message, part, values, (state, text) => {
      this.#busy.delete(part.custom_id);
      this.#mark(part.custom_id, false);
      if (state === "failed") this.fail(failureWords(text));
    });
  }

  #mark(customId, busy) {
    for (const node of this.rows.querySelectorAll("[data-custom-id]")) {
      if (node.dataset.customId !== customId) continue;
      const control = node.matches("button") ? node : node.querySelector("button");
      if (busy) control.setAttribute("aria-busy", "true");
      else control.removeAttribute("aria-busy");
    }
  }
}

/** `attachment://name` stands for the attachment of that name. */
function fileNamed(address, attachments) {
  const name = /^attachment:\/\/(.+)$/.exec(address)?.[1];
  return name ? attachments?.find((file) => file.filename === name) : undefined;
}

function usedCommand(message) {
  const used = message.interaction ?? message.interaction_metadata;
  if (!used?.name || !used.user) return null;
  return { user: used.user, name: message.type === MENU_RESPONSE ? used.name : `/${used.name}` };
}

function commandLine({ user, name }) {
  return [
    avatar(user, "tiny"),
    el("span", { class: "above-name", text: displayName(user) }),
    el("span", { text: "used" }),
    el("span", { class: "above-command", text: name }),
  ];
}

function replyLine(message, context) {
  const original = message.referenced_message;
  if (original === undefined && !message.message_reference) return [];
  if (message.message_reference?.type === 1) return [];
  if (!original) return message.type === 19 ? [icon("reply"), el("em", { text: "Original message was deleted" })] : [];
  const words = plainText(original.content ?? "", context) || (original.attachments?.length ? "Picture" : "Message");
  const jump = el("button", { type: "button", class: "reply-words", text: words, title: "Show the original message" });
  jump.addEventListener("click", () => context.jump(original.id));
  return [icon("reply"), avatar(original.author, "tiny"), el("span", { class: "above-name", text: displayName(original.author) }), jump];
}
