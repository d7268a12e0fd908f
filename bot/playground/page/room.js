/*
 * What the page knows: who I am, who is here, the channels and what was said in them.
 *
 * Promise: a plain holder; it draws nothing and talks to nobody.
 */

import { compareIds, displayName } from "./dom.js";

export class Room {
  me = null;
  guild = null;
  channels = [];
  commands = [];
  people = [];
  #users = new Map();
  #messages = new Map();

  /** Take the server's greeting: everything, for one person. */
  greet(event) {
    this.me = event.me;
    this.guild = event.guild;
    this.channels = event.channels;
    this.commands = event.commands ?? [];
    this.people = event.people ?? [];
    this.#messages = new Map();
    for (const user of [event.me, event.bot, ...this.people]) this.#know(user);
    for (const [channelId, messages] of Object.entries(event.messages ?? {})) {
      this.#messages.set(channelId, new Map());
      for (const message of messages) this.put(message);
    }
  }

  /** Keep a message, new or edited. */
  put(message) {
    const channel = this.#messages.get(message.channel_id) ?? new Map();
    this.#messages.set(message.channel_id, channel.set(message.id, message));
    for (const user of [message.author, message.interaction?.user, ...(message.mentions ?? [])]) this.#know(user);
  }

  drop(channelId, id) {
    this.#messages.get(channelId)?.delete(id);
  }

  /** The messages of a channel, oldest first. */
  messages(channelId) {
    return [...(this.#messages.get(channelId)?.values() ?? [])].sort((a, b) => compareIds(a.id, b.id));
  }

  /** "#studio", or "@easel" for a conversation with the bot alone. */
  channelTitle(channel) {
    return channel.type === 1 ? `@${displayName(this.bot() ?? { username: "bot" })}` : `#${channel.name}`;
  }

  channel(id) {
    return this.channels.find((channel) => channel.id === id);
  }

  userName(id) {
    return displayName(this.#users.get(id) ?? { username: "unknown" });
  }

  /** The people one can be; a bot speaks for itself. */
  humans() {
    return this.people.filter((user) => !user.bot);
  }

  bot() {
    return [...this.#users.values()].find((user) => user.bot);
  }

  /** Everyone, for an option that takes a person. */
  everyone() {
    return [...this.#users.values()].map((user) => ({ label: displayName(user), value: user.id }));
  }

  /** Every channel, for an option that takes one. */
  channelChoices() {
    return this.channels.map((channel) => ({ label: this.channelTitle(channel), value: channel.id }));
  }

  /** Choices for the menus that offer people or channels. */
  entityOptions(type) {
    return type === 8 ? this.channelChoices() : this.everyone();
  }

  #know(user) {
    if (user?.id) this.#users.set(user.id, user);
  }
}
