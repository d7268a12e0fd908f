/*
 * The page: joins the connection, what is known, and what is drawn.
 *
 * Promise: every event of the protocol has one handler here; an unknown one is shown, not hidden.
 */

import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { Sending, drawBanner, drawChannels, drawMarks, drawPeople, drawPresence, drawer, dressButtons } from "./chrome.js";
import { el } from "./dom.js";
import { emojiFace } from "./emoji.js";
import { Interactions } from "./interactions.js";
import { Languages } from "./languages.js";
import { Lightbox } from "./lightbox.js";
import { refreshTimes } from "./markdown.js";
import { MessageList } from "./messages.js";
import { Modal } from "./modal.js";
import { Room } from "./room.js";

const EXAMPLES = [["❤️", "red heart"], ["🐱", "cat face"], ["🌻", "sunflower"], ["🐼", "panda"]];
const byId = (id) => document.getElementById(id);

class Page {
  room = new Room();
  channelId = null;
  unread = new Set();
  presence = { status: "offline", activities: [] };
  #bannerTimer = 0;
  #questions = new Map();

  constructor() {
    dressButtons();
    this.drawer = drawer();
    this.lightbox = new Lightbox(byId("lightbox"));
    this.connection = new Connection((event) => this.#event(event), (state) => this.#connectionState(state));
    this.interactions = new Interactions((operation) => this.connection.send(operation));
    this.context = this.#context();
    this.modal = new Modal(byId("modal"), this.context);
    this.sending = new Sending(byId("sending"), () => this.#drawWelcome());
    const parts = { viewport: byId("scroll"), list: byId("messages"), pill: byId("pill"), announcer: byId("announcer") };
    this.list = new MessageList(parts, this.context);
    this.composer = new Composer(byId("composer"), this.#composerHands());
    this.languages = new Languages(byId("languages"), (locale) => this.connection.send({ op: "locale", channel_id: this.channelId, locale }));
    byId("examples").append(...EXAMPLES.map((example) => this.#example(...example)));
    setInterval(() => refreshTimes(byId("messages")), 5000);
    addEventListener("hashchange", () => this.#speakAs(personInAddress()));
    document.querySelector(".skip").addEventListener("click", (event) => event.preventDefault() ?? this.composer.focus());
    this.connection.open(personInAddress());
  }

  // What the drawing parts may ask and do.

  #context() {
    return {
      meId: () => this.room.me?.id,
      userName: (id) => this.room.userName(id),
      channelName: (id) => this.room.channel(id)?.name,
      entityOptions: (type) => this.room.entityOptions(type),
      openChannel: (id) => this.#openChannel(id),
      openMessage: (channelId, id) => this.#openMessage(channelId, id),
      openPicture: (pictures, index) => this.lightbox.open(pictures, index),
      fillCommand: (name) => this.composer.fill(name),
      jump: (id) => this.list.jump(id),
      press: (...press) => this.#press(...press),
      dismiss: (message) => this.#dismiss(message),
      react: (message, emoji, added) => this.connection.send({ op: "react", message_id: message.id, emoji, added }),
      reply: (message) => this.composer.answer(message),
      menuCommands: (type) => this.room.commandsIn(this.channelId).filter((command) => command.type === type),
      useMenu: (command, targetId) => this.#useMenu(command, targetId),
      upload: (file) => this.#upload(file),
    };
  }

  #composerHands() {
    return {
      slash: (operation, name, retry) => this.#slash(operation, name, retry),
      say: (content, replyTo) => this.#say(content, replyTo),
      ask: (operation, answer) => this.#ask(operation, answer),
      upload: (file) => this.#upload(file),
      guild: {
        people: () => this.room.everyone(),
        channels: () => this.room.entityOptions(8),
        roles: () => this.room.roleChoices(),
      },
    };
  }

  #press(message, part, values, done) {
    const operation = { op: "press", message_id: message.id, custom_id: part.custom_id, component_type: part.type };
    if (values) operation.values = values;
    this.interactions.begin(operation, done);
  }

  #dismiss(message) {
    this.connection.send({ op: "dismiss", message_id: message.id });
    this.#removed({ id: message.id, channel_id: message.channel_id });
    this.composer.focus();
  }

  #slash(operation, name, retry) {
    if (!this.online) return false;
    const shown = this.sending.add(`/${name}`, retry);
    const whole = { op: "slash", channel_id: this.channelId, ...operation };
    this.interactions.begin(whole, (state, text) => (state === "ack" ? shown.done() : shown.fail(text)));
    this.list.toBottom();
    return true;
  }

  #useMenu(command, targetId) {
    const shown = this.sending.add(command.label, () => this.#useMenu(command, targetId));
    const operation = { op: "menu", channel_id: this.channelId, name: command.name, target_id: targetId };
    this.interactions.begin(operation, (state, text) => (state === "ack" ? shown.done() : shown.fail(text)));
  }

  #say(content, replyTo) {
    const sent = this.connection.send({ op: "say", channel_id: this.channelId, content, reply_to: replyTo });
    if (sent) this.list.toBottom();
    return sent;
  }

  #ask(operation, answer) {
    this.#questions.clear();
    const nonce = this.interactions.begin({ op: "autocomplete", channel_id: this.channelId, ...operation }, () => {});
    this.#questions.set(nonce, answer);
  }

  async #upload(file) {
    const form = new FormData();
    form.append("file", file, file.name);
    const response = await fetch(`upload?user=${this.room.me.id}`, { method: "POST", body: form }).catch(() => null);
    if (response === null) throw new Error("The file did not get through: no connection.");
    if (!response.ok) throw new Error((await response.text()).slice(0, 200) || `The file was refused (${response.status}).`);
    return response.json();
  }

  // What the server says.

  #event(event) {
    const handlers = {
      hello: () => this.#hello(event),
      message: () => this.#message(event.message),
      message_update: () => this.#updated(event.message),
      message_delete: () => this.#removed(event),
      commands: () => this.#commands(event),
      interaction: () => this.interactions.settle(event),
      modal: () => this.#openModal(event),
      autocomplete: () => this.#suggested(event),
      presence: () => this.#present(event),
      error: () => this.#notice(event.text),
    };
    if (handlers[event.type]) handlers[event.type]();
    else this.#notice(`The server said something this page does not know: ${event.type}`);
  }

  #hello(event) {
    const other = this.room.me && this.room.me.id !== event.me.id;
    this.room.greet(event);
    if (!this.room.channel(this.channelId)) this.channelId = this.room.channels[0]?.id ?? null;
    if (other) {
      this.list.clear();
      this.modal.close();
      this.sending.clear();
      this.unread.clear();
    }
    if (event.presence) this.presence = event.presence;
    this.languages.show(event.me.locale);
    byId("guild-name").textContent = this.room.guild.name;
    this.#drawFrame();
    this.#drawChannel();
  }

  #commands(event) {
    this.room.setCommands(event);
    this.composer.setCommands(this.room.commandsIn(this.channelId));
  }

  #message(message) {
    const known = this.room.bot();
    this.room.put(message);
    if (!known) drawPresence(this.room.bot(), this.presence);
    if (message.channel_id === this.channelId) {
      this.list.add(message);
      this.#drawWelcome();
    } else {
      this.unread.add(message.channel_id);
      this.#drawFrame();
    }
  }

  #updated(message) {
    this.room.put(message);
    if (message.channel_id === this.channelId) this.list.update(message);
  }

  #removed({ id, channel_id: channelId }) {
    this.room.drop(channelId, id);
    if (channelId !== this.channelId) return;
    this.list.remove(id);
    this.#drawWelcome();
  }

  #openModal(event) {
    this.modal.open(event, (fields, done) => {
      const operation = { op: "modal", interaction_id: event.interaction_id, custom_id: event.custom_id, fields };
      this.interactions.begin(operation, done);
    });
  }

  #suggested({ nonce, choices }) {
    this.interactions.settle({ nonce, state: "ack" });
    this.#questions.get(nonce)?.(choices);
    this.#questions.delete(nonce);
  }

  #present({ status, activities }) {
    this.presence = { status, activities };
    drawPresence(this.room.bot(), this.presence);
  }

  // What is drawn.

  #drawFrame() {
    const channel = this.room.channel(this.channelId);
    const title = channel ? this.room.channelTitle(channel) : "…";
    byId("channel-name").textContent = title;
    byId("channel-name").title = channel?.topic ?? "";
    drawMarks(channel);
    document.title = `${title} · ${this.room.guild.name}`;
    this.composer.setPlaceholder(`Message ${title}, or / for commands`);
    this.composer.setCommands(this.room.commandsIn(this.channelId));
    drawChannels(this.room.places(), this.channelId, this.unread, (id) => this.#openChannel(id));
    drawPeople(this.room.humans(), this.room.me, (person) => this.#switchTo(person));
    drawPresence(this.room.bot(), this.presence);
  }

  #drawChannel() {
    this.list.show(this.room.messages(this.channelId));
    this.#drawWelcome();
  }

  #drawWelcome() {
    byId("welcome").hidden = !this.list.empty || byId("sending").childElementCount > 0;
  }

  #example(emoji, prompt) {
    const button = el("button", { type: "button", class: "example" }, emojiFace({ name: emoji }), el("span", { text: prompt }));
    button.addEventListener("click", () => this.composer.fill("imagine", { prompt }));
    return button;
  }

  #openChannel(id) {
    this.drawer.close();
    if (id === this.channelId || !this.room.channel(id)) return;
    this.channelId = id;
    this.unread.delete(id);
    this.list.clear();
    this.composer.leave();
    this.#drawFrame();
    this.#drawChannel();
    this.composer.focus();
  }

  #openMessage(channelId, id) {
    this.#openChannel(channelId);
    this.list.jump(id);
  }

  #switchTo(person) {
    if (person.id !== this.room.me?.id) location.hash = person.username;
  }

  #speakAs(username) {
    const person = this.room.humans().find((user) => user.username === username);
    if (person && person.id !== this.room.me?.id) this.connection.open(person.username);
  }

  #connectionState(state) {
    this.online = state === "open";
    document.body.dataset.connection = state;
    clearTimeout(this.#bannerTimer);
    if (state === "open") drawBanner("");
    else this.interactions.abandon("The connection was lost");
    if (state === "lost") drawBanner("Connection lost. Trying again…", { busy: true });
  }

  #notice(text) {
    drawBanner(text, { tone: "wrong" });
    clearTimeout(this.#bannerTimer);
    this.#bannerTimer = setTimeout(() => this.online && drawBanner(""), 8000);
  }
}

/** The name after the # of the address; a broken one is nobody. */
function personInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

new Page();
