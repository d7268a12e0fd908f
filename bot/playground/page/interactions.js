/*
 * What this page asked for and nobody has answered yet.
 *
 * Promise: every interaction that begins here ends exactly once, as "ack" or "failed": by the
 * server's word, by a lost connection, or by running out of patience.
 */

/** Discord gives an application 3 seconds; the server says so itself, this is for its silence. */
const PATIENCE = 8000;

export class Interactions {
  #waiting = new Map();
  #count = 0;

  /** `send(operation)` tells whether it could be sent. */
  constructor(send) {
    this.send = send;
  }

  /**
   * Send an operation under a fresh nonce. `done(state, text)` is called once at the end, later
   * than this call returns.
   */
  begin(operation, done) {
    this.#count += 1;
    const nonce = `page-${Date.now().toString(36)}-${this.#count}`;
    const sent = this.send({ ...operation, nonce });
    const timer = setTimeout(() => this.settle({ nonce, state: "failed" }), sent ? PATIENCE : 0);
    this.#waiting.set(nonce, { done, timer });
    return nonce;
  }

  /** Take the server's word about one of them; others' nonces are ignored. */
  settle({ nonce, state, text }) {
    const waiting = this.#waiting.get(nonce);
    if (!waiting || state === "pending") return;
    clearTimeout(waiting.timer);
    this.#waiting.delete(nonce);
    waiting.done(state, text);
  }

  /** End everything that waits: the connection it hung on is gone. */
  abandon(text) {
    for (const nonce of [...this.#waiting.keys()]) this.settle({ nonce, state: "failed", text });
  }
}

/** The line under something that came to nothing, with the reason where there is one. */
export function failureWords(reason) {
  return reason ? `This interaction failed: ${reason}` : "This interaction failed";
}
