/*
 * What the page knows: who I am, who is here, the channels and what was said in them.
 *
 * Promise: a plain holder; it draws nothing and talks to nobody.
 */

import { compareIds, displayName } from "./dom.js";
import { translated } from "./locales.js";

const DIRECT = 1;

export class Room {
  me = null;
  guild = null;
  channels = [];
  people = [];
  guilds = [];
  roles = [];
  #commands = [];
  #offered = {};
  #users = new Map();
  #messages = new Map();

  /** Take the server's greeting: everything, for one person. */
  greet(event) {
    this.me = event.me;
    this.guild = event.guild;
    this.channels = event.channels;
    this.guilds = event.guilds ?? [event.guild];
    this.roles = event.roles ?? [];
    this.people = event.people ?? [];
    this.setCommands(event);
    this.#messages = new Map();
    for (const user of [event.me, event.bot, ...this.people]) this.#know(user);
    for (const [channelId, messages] of Object.entries(event.messages ?? {})) {
      this.#messages.set(channelId, new Map());
      for (const message of messages) this.put(message);
    }
  }

  /** Take the commands, and which of them are offered in which channel. */
  setCommands({ commands, offered }) {
    this.#commands = commands ?? [];
    this.#offered = offered ?? {};
  }

  /** The commands offered in a channel, in the reader's language. */
  commandsIn(channelId) {
    const ids = new Set(this.#offered[channelId] ?? []);
    const locale = this.me?.locale ?? "en-US";
    return this.#commands.filter((command) => ids.has(command.id)).map((command) => translated(command, locale));
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
    return channel.type === DIRECT ? `@${displayName(this.bot() ?? { username: "bot" })}` : `#${channel.name}`;
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

  /** The channels as the side shows them: each guild's under its name, then direct messages. */
  places() {
    const row = (channel) => ({ label: this.channelTitle(channel), value: channel.id, nsfw: channel.nsfw });
    const groups = this.guilds.map((guild) => ({
      title: this.guilds.length > 1 ? guild.name : "",
      rows: this.channels.filter((channel) => channel.guild_id === guild.id).map(row),
    }));
    const direct = this.channels.filter((channel) => channel.type === DIRECT).map(row);
    return [...groups, { title: "Direct messages", rows: direct }].filter((group) => group.rows.length);
  }

  /** Every channel, for an option that takes one. */
  channelChoices() {
    return this.channels.map((channel) => ({ label: this.channelTitle(channel), value: channel.id }));
  }

  /** Every role of the first guild, for an option that takes one. */
  roleChoices() {
    return this.roles.map((role) => ({ label: `@${role.name.replace(/^@/, "")}`, value: role.id }));
  }

  /** Choices for the menus that offer people, roles or channels. */
  entityOptions(type) {
    if (type === 8) return this.channelChoices().filter(({ value }) => this.channel(value).type !== DIRECT);
    if (type === 6) return this.roleChoices();
    return type === 7 ? [...this.everyone(), ...this.roleChoices()] : this.everyone();
  }

  #know(user) {
    if (user?.id) this.#users.set(user.id, user);
  }
}
