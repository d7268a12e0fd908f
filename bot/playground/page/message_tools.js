/*
 * What a reader can do with a message: react, answer, use the bot's commands on it or its author.
 *
 * Promise: offers only what works here; an ephemeral message takes no reaction and no answer.
 */

import { displayName, el, icon } from "./dom.js";
import { OFFERED, emojiFace } from "./emoji.js";
import { popup } from "./popup.js";

export const ON_PERSON = 2;
export const ON_MESSAGE = 3;
const EPHEMERAL = 1 << 6;

/** The bar that appears over a message; `view` has message and node. */
export function toolBar(view, context) {
  const button = (name, label, act) => {
    const node = el("button", { type: "button", class: "tool", "aria-label": label, title: label }, icon(name));
    node.addEventListener("click", () => act(node));
    return node;
  };
  const hidden = isEphemeral(view.message);
  return el(
    "div",
    { class: "tools" },
    hidden ? null : button("smile", "Add reaction", (node) => popup([palette(view.message, context)], node, "Add reaction")),
    hidden ? null : button("reply", "Reply", () => context.reply(view.message)),
    button("more", "More", (node) => openMenu(view.message, node, context)),
  );
}

/** Everything that can be done with a message, at a button or under the pointer. */
export function openMenu(message, at, context) {
  const groups = [apps(ON_MESSAGE, message.id, context)];
  if (!isEphemeral(message)) {
    groups.unshift(palette(message, context));
    groups.push({ title: "", items: [{ label: "Reply", face: icon("reply"), pick: () => context.reply(message) }] });
  }
  if (message.content) groups.push({ title: "", items: [{ label: "Copy text", face: icon("copy"), pick: () => copy(message.content) }] });
  popup(groups, at, "Message");
}

/** The bot's commands for a person. */
export function openPerson(user, at, context) {
  const group = apps(ON_PERSON, user.id, context);
  if (group.items.length) popup([group], at, displayName(user));
}

/** The reactions under a message: each a switch, and a last one that offers more. */
export function reactionChips(message, context) {
  const chips = (message.reactions ?? []).map((reaction) => {
    const mine = reaction.me;
    const label = `${reaction.emoji.name}, ${reaction.count}`;
    const face = [emojiFace(reaction.emoji), el("span", { text: String(reaction.count) })];
    const chip = el("button", { type: "button", class: "reaction", "aria-pressed": String(mine), "aria-label": label }, ...face);
    chip.addEventListener("click", () => context.react(message, reaction.emoji.name, !mine));
    return el("li", {}, chip);
  });
  if (!chips.length) return chips;
  const more = el("button", { type: "button", class: "reaction more-reactions", "aria-label": "Add another reaction" }, icon("smile"));
  more.addEventListener("click", () => popup([palette(message, context)], more, "Add reaction"));
  return [...chips, el("li", {}, more)];
}

function palette(message, context) {
  const items = OFFERED.map((name) => ({
    label: `React with ${name}`,
    face: emojiFace({ name }),
    pick: () => context.react(message, name, true),
  }));
  return { title: "", items, wide: true };
}

function apps(type, targetId, context) {
  const items = context.menuCommands(type).map((command) => ({
    label: command.label,
    face: icon("easel"),
    pick: () => context.useMenu(command, targetId),
  }));
  return { title: "Apps", items };
}

const isEphemeral = (message) => Boolean((message.flags ?? 0) & EPHEMERAL);

/** Copying may be forbidden; then nothing happens, as the words are there to select. */
function copy(text) {
  navigator.clipboard?.writeText(text).catch(() => {});
}
