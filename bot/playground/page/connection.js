/*
 * The websocket to the playground, kept alive.
 *
 * Promise: one socket at a time, for one person; when it drops it comes back by itself, after
 * 0.4 s at first and 8 s at most. Events of a socket that was replaced are never delivered.
 */

/** Who one is where the address names nobody, or somebody who is not here. */
const DEFAULT_PERSON = "alice";
const FIRST_WAIT = 400;
const LONGEST_WAIT = 8000;

export class Connection {
  #socket = null;
  #timer = 0;
  #failures = 0;
  #user = DEFAULT_PERSON;

  /** `onEvent(event)` gets each JSON event; `onState(state)` one of "connecting", "open", "lost". */
  constructor(onEvent, onState) {
    this.onEvent = onEvent;
    this.onState = onState;
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.#retryNow());
  }

  /** Connect as the person of that name; replaces the socket there was. */
  open(user) {
    this.#user = user || DEFAULT_PERSON;
    this.#failures = 0;
    this.#connect();
  }

  /** Send one operation; false when there is no open socket. */
  send(operation) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(operation));
    return true;
  }

  #connect() {
    clearTimeout(this.#timer);
    const old = this.#socket;
    this.#socket = null;
    old?.close(1000);
    this.onState("connecting");
    const socket = new WebSocket(this.#address());
    this.#socket = socket;
    socket.onopen = () => this.#isCurrent(socket) && this.onState("open");
    socket.onmessage = (message) => {
      if (!this.#isCurrent(socket)) return;
      this.#failures = 0;
      this.onEvent(JSON.parse(message.data));
    };
    socket.onclose = () => this.#isCurrent(socket) && this.#lost();
  }

  #isCurrent(socket) {
    return socket === this.#socket;
  }

  #address() {
    const url = new URL("live", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.search = `?user=${encodeURIComponent(this.#user)}`;
    url.hash = "";
    return url.href;
  }

  #lost() {
    this.#socket = null;
    this.#failures += 1;
    if (this.#failures === 3) this.#user = DEFAULT_PERSON;
    this.onState("lost");
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (this.#failures - 1));
    this.#timer = setTimeout(() => this.#connect(), wait * (0.75 + Math.random() / 2));
  }

  #retryNow() {
    if (this.#socket === null && this.#timer) this.#connect();
  }
}
