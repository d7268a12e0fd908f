/*
 * The frame around the messages: channels, people, presence, banner, what is being sent.
 *
 * Promise: draws what it is told and reports what is pressed.
 */

import { failureWords } from "./interactions.js";
import { avatar, displayName, el, icon, spinner } from "./dom.js";

const byId = (id) => document.getElementById(id);

/** Put the drawn icons into the buttons of the document. */
export function dressButtons() {
  byId("menu").append(icon("menu"));
  document.querySelector(".send").append(icon("send"));
  document.querySelector(".guild-mark").append(icon("easel"));
  document.querySelector(".step-back").append(icon("left"));
  document.querySelector(".step-on").append(icon("right"));
  for (const button of document.querySelectorAll("#modal .round, .lightbox-close")) button.append(icon("close"));
}

/** The drawer that holds the channels on a small screen. */
export function drawer() {
  const [menu, side, shade] = [byId("menu"), byId("side"), byId("shade")];
  const set = (open) => {
    side.classList.toggle("open", open);
    shade.hidden = !open;
    menu.setAttribute("aria-expanded", String(open));
    (open ? side.querySelector("button") : menu).focus();
  };
  menu.addEventListener("click", () => set(!side.classList.contains("open")));
  shade.addEventListener("click", () => set(false));
  side.addEventListener("keydown", (event) => event.key === "Escape" && set(false));
  return { close: () => side.classList.contains("open") && set(false) };
}

/** Draw the channels by group; `unread` holds the ids of those with news. */
export function drawChannels(groups, current, unread, open) {
  const row = (channel) => {
    const here = channel.value === current;
    const news = unread.has(channel.value);
    const dot = news ? el("span", { class: "unread" }, el("span", { class: "unseen", text: "unread" })) : null;
    const button = el(
      "button",
      { type: "button", class: `channel ${news ? "has-news" : ""}`, "aria-current": here ? "page" : null },
      el("span", { class: "hash", "aria-hidden": "true", text: channel.label[0] }),
      el("span", { class: "channel-label", text: channel.label.slice(1) }),
      channel.nsfw ? el("span", { class: "adult", title: "Age-restricted", text: "18+" }) : null,
      dot,
    );
    button.addEventListener("click", () => open(channel.value));
    return el("li", {}, button);
  };
  const title = (words) => (words ? [el("li", { class: "channel-group", text: words })] : []);
  byId("channels").replaceChildren(...groups.flatMap((group) => [...title(group.title), ...group.rows.map(row)]));
}

/** Say above the messages what is special about a channel. */
export function drawMarks(channel) {
  const marks = [];
  if (channel?.nsfw) marks.push(el("span", { class: "adult", text: "18+", title: "Age-restricted" }));
  if (channel && !channel.bot_may_post) marks.push(el("span", { class: "adult", text: "the bot may not post", title: "It answers commands, but cannot write here of its own accord" }));
  byId("marks").replaceChildren(...marks);
}

/** Draw the switch between people. */
export function drawPeople(people, me, choose) {
  const group = byId("people");
  const had = group.contains(document.activeElement);
  const buttons = people.map((person) => {
    const chosen = person.id === me?.id;
    const name = displayName(person);
    const button = el(
      "button",
      { type: "button", class: "person", role: "radio", "aria-checked": String(chosen), tabindex: chosen ? "0" : "-1", "aria-label": name, title: `Speak as ${name}` },
      avatar(person, "small"),
      el("span", { class: "person-name", text: name }),
    );
    button.addEventListener("click", () => choose(person));
    return button;
  });
  group.replaceChildren(...buttons);
  if (had) group.querySelector("[aria-checked=true]")?.focus();
  group.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = people.findIndex((person) => person.id === me?.id);
    choose(people[(at + step + people.length) % people.length]);
  };
}

const STATUS_WORDS = { online: "online", idle: "idle", dnd: "busy", offline: "offline" };
const ACTIVITY_WORDS = { 0: "playing", 1: "streaming", 2: "listening to", 3: "watching", 5: "competing in" };

/** Draw whether the bot is here and what it says it does. */
export function drawPresence(bot, { status, activities }) {
  const node = byId("presence");
  node.dataset.status = status;
  const activity = activities?.[0];
  const doing = activity && (activity.type === 4 ? activity.state : `${ACTIVITY_WORDS[activity.type] ?? ""} ${activity.name}`.trim());
  const name = bot ? displayName(bot) : "The bot";
  const state = STATUS_WORDS[status] ?? status;
  node.querySelector("[data-words]").textContent = doing && status !== "offline" ? `${name} · ${doing}` : `${name} is ${state}`;
  node.title = `${name} is ${state}`;
}

/** The quiet line under the header; no text takes it away. */
export function drawBanner(text, { busy = false, tone = "" } = {}) {
  const banner = byId("banner");
  banner.hidden = !text;
  banner.className = `banner ${tone}`;
  banner.replaceChildren(...(text ? [busy ? spinner() : icon("warning"), el("span", { text })] : []));
}

/** A command on its way to the bot; ends in the bot's message or in a line with a second try. */
export class Sending {
  constructor(holder, onChange) {
    this.holder = holder;
    this.onChange = onChange;
  }

  /** Show a command as being sent; the answer's `done` and `fail` end it. */
  add(name, retry) {
    const words = el("span", { class: "sending-words" }, "Sending ", el("span", { class: "above-command", text: name }));
    const row = el("li", { class: "sending-row" }, spinner(), words);
    this.holder.append(row);
    this.onChange();
    const done = () => {
      row.remove();
      this.onChange();
    };
    const fail = (text) => {
      const again = el("button", { type: "button", class: "quiet-link", text: "Try again" });
      again.addEventListener("click", () => done() ?? retry());
      const dismiss = el("button", { type: "button", class: "quiet-link", text: "Dismiss" });
      dismiss.addEventListener("click", done);
      row.className = "sending-row failure";
      row.setAttribute("role", "status");
      const words = el("span", {}, el("span", { class: "above-command", text: name }), ` · ${failureWords(text)}`);
      row.replaceChildren(icon("warning"), words, again, dismiss);
      this.onChange();
    };
    return { done, fail };
  }

  clear() {
    this.holder.replaceChildren();
  }
}
