/*
 * The list of one channel's messages, in order, grouped by author and day.
 *
 * Promise: showing the same messages again changes nothing on the page; the view stays at the
 * bottom only while the reader is there.
 */

import { compareIds, dayName, daysAgo, displayName, el, icon } from "./dom.js";
import { MessageView } from "./message.js";

const GROUP_GAP = 7 * 60_000;
const NEAR_BOTTOM = 48;

export class MessageList {
  #views = [];

  constructor({ viewport, list, pill, announcer }, context) {
    Object.assign(this, { viewport, list, pill, announcer, context });
    this.stuck = true;
    this.unseen = 0;
    this.top = 0;
    viewport.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    pill.addEventListener("click", () => this.toBottom());
    const observer = new ResizeObserver(() => this.stuck && this.#pin());
    observer.observe(viewport);
    observer.observe(viewport.firstElementChild);
  }

  get empty() {
    return this.#views.length === 0;
  }

  view(id) {
    return this.#views.find((view) => view.id === id);
  }

  /** Show exactly these messages, keeping what is already on the page. */
  show(messages) {
    const wanted = new Map(messages.map((message) => [message.id, message]));
    for (const view of [...this.#views]) {
      if (wanted.has(view.id)) view.update(wanted.get(view.id));
      else this.#drop(view);
    }
    for (const message of messages) if (!this.view(message.id)) this.#insert(message);
    this.#regroup();
  }

  /** Forget everything: another channel, another person. */
  clear() {
    this.#views = [];
    this.list.replaceChildren();
    this.toBottom();
  }

  add(message) {
    if (this.view(message.id)) {
      this.update(message);
      return;
    }
    const view = this.#insert(message);
    this.#regroup();
    this.announcer.textContent = `${displayName(message.author, message.member)}: ${view.summary()}`;
    if (this.stuck) return;
    this.unseen += 1;
    this.#drawPill();
  }

  update(message) {
    this.view(message.id)?.update(message);
  }

  remove(id) {
    const view = this.view(id);
    if (!view) return;
    this.#drop(view);
    this.#regroup();
  }

  /** Bring a message into sight and let it glow for a moment. */
  jump(id) {
    const node = this.view(id)?.node;
    if (!node) return;
    // What has just been drawn still grows, which would pull the view back to the bottom.
    const { scrollHeight, clientHeight } = this.viewport;
    this.stuck = scrollHeight - clientHeight < NEAR_BOTTOM;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    node.scrollIntoView({ block: "center", behavior: calm ? "auto" : "smooth" });
    node.classList.remove("found");
    requestAnimationFrame(() => node.classList.add("found"));
  }

  toBottom() {
    this.stuck = true;
    this.unseen = 0;
    this.#drawPill();
    this.#pin();
  }

  #insert(message) {
    const view = new MessageView(message, this.context);
    let at = this.#views.length;
    while (at > 0 && compareIds(this.#views[at - 1].id, view.id) > 0) at -= 1;
    this.list.insertBefore(view.node, this.#views[at]?.node ?? null);
    this.#views.splice(at, 0, view);
    return view;
  }

  #drop(view) {
    this.#views.splice(this.#views.indexOf(view), 1);
    view.node.remove();
  }

  #regroup() {
    for (const old of this.list.querySelectorAll(".day")) old.remove();
    let last = null;
    for (const view of this.#views) {
      const newDay = last === null || daysAgo(last.date, view.date) !== 0;
      if (newDay) view.node.before(el("li", { class: "day" }, el("span", { text: dayName(view.date) })));
      view.group(!newDay && follows(last, view));
      last = view;
    }
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.viewport;
    const below = scrollHeight - scrollTop - clientHeight;
    // Being far from the bottom is the reader's wish only after a move upwards: a message that
    // has just grown makes distance too.
    if (below < NEAR_BOTTOM) this.stuck = true;
    else if (scrollTop < this.top) this.stuck = false;
    this.top = scrollTop;
    if (this.stuck) this.unseen = 0;
    this.#drawPill();
  }

  #pin() {
    this.viewport.scrollTop = this.viewport.scrollHeight;
  }

  #drawPill() {
    this.pill.hidden = this.stuck || this.unseen === 0;
    const words = this.unseen === 1 ? "1 new message" : `${this.unseen} new messages`;
    this.pill.replaceChildren(icon("down"), el("span", { text: words }));
  }
}

function follows(last, view) {
  const [a, b] = [last.message, view.message];
  return a.author.id === b.author.id && (a.flags & 64) === (b.flags & 64) && view.date - last.date < GROUP_GAP;
}
