// A client of comet: keeps one WebSocket open, and its subscriptions over reconnects, so that each publication comes once.
//
//   const comet = new Comet(url);
//   comet.subscribe("news", { publication, gap, ready });
//   await comet.publish("news", data);
//
// It is an EventTarget: `open`, with what the server said of itself, and `close`.

const SLOWEST = 15_000;
const PATIENCE = 10_000;

export class Comet extends EventTarget {
  #url;
  #socket;
  #delay = 250;
  #timer;
  #closed = false;
  #next = 1;
  #waiting = new Map();
  #channels = new Map();

  constructor(url) {
    super();
    this.#url = url;
    this.#connect();
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /**
   * Listens to a channel. `publication({offset, data, user})` is called for each publication, `gap()` when some may be missing,
   * `ready({recovered})` whenever the subscription stands, `refused(reason)` when it may not be. `limit` asks for the last ones first.
   */
  subscribe(channel, { limit = 0, ...handlers }) {
    this.#channels.set(channel, { handlers, limit, epoch: undefined, offset: 0 });
    if (this.isOpen) this.#join(channel);
  }

  /** Publishes; resolves to the position. */
  publish(channel, data) {
    return this.request({ type: "publish", channel, data });
  }

  /** Sends a request; resolves to its answer. */
  request(message) {
    if (!this.isOpen) return Promise.reject(new Error("not connected"));
    const id = this.#next++;
    this.#socket.send(JSON.stringify({ id, ...message }));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(id, { reason: "no answer" }), PATIENCE);
      this.#waiting.set(id, { resolve, reject, timer });
    });
  }

  /** Closes the connection for good. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket.close(1000);
  }

  #connect() {
    const socket = (this.#socket = new WebSocket(this.#url));
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = ({ code, reason }) => {
      for (const id of this.#waiting.keys()) this.#settle(id, { reason: "the connection was lost" });
      this.dispatchEvent(new CustomEvent("close", { detail: { code, reason } }));
      // After these codes the server does not want the client back.
      const isFinal = (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);
      if (this.#closed || isFinal) return;
      // Spread out, so that not all come back at once.
      this.#timer = setTimeout(() => this.#connect(), this.#delay * (0.5 + Math.random()));
      this.#delay = Math.min(this.#delay * 2, SLOWEST);
    };
  }

  #hear(message) {
    if (message.id && this.#waiting.has(message.id)) {
      return this.#settle(message.id, message.type === "error" ? message : undefined, message);
    }
    const channel = this.#channels.get(message.channel);
    switch (message.type) {
      case "welcome":
        this.#delay = 250;
        for (const name of this.#channels.keys()) this.#join(name);
        this.dispatchEvent(new CustomEvent("open", { detail: message }));
        break;
      case "publication":
        if (channel) this.#take(channel, message);
        break;
      case "missed":
        if (channel) {
          channel.offset = message.to;
          channel.handlers.gap?.();
        }
        break;
      case "unsubscribed":
        // The client has not asked for it: its rights no longer allow it, or the back end has ended it.
        if (channel && !message.id) {
          if (message.code === "unsubscribed") this.#channels.delete(message.channel);
          channel.handlers.refused?.(message.reason ?? message.code);
        }
        break;
      case "reset":
        if (channel) {
          channel.epoch = message.epoch;
          channel.offset = message.offset;
          // Where only the epoch is another, nothing is missing.
          if (!message.recovered) channel.handlers.gap?.();
        }
        break;
    }
  }

  async #join(name) {
    const channel = this.#channels.get(name);
    const since = channel.epoch === undefined ? { limit: channel.limit } : { epoch: channel.epoch, offset: channel.offset };
    try {
      const answer = await this.request({ type: "subscribe", channel: name, ...since });
      if (answer.recovered === false) channel.handlers.gap?.();
      channel.epoch = answer.epoch;
      channel.offset = answer.offset - answer.publications.length;
      for (const publication of answer.publications) this.#take(channel, publication);
      channel.offset = answer.offset;
      channel.handlers.ready?.(answer);
    } catch (error) {
      channel.handlers.refused?.(error.message);
    }
  }

  #take(channel, publication) {
    if (publication.offset <= channel.offset) return;
    channel.offset = publication.offset;
    channel.handlers.publication?.(publication);
  }

  #settle(id, failure, answer) {
    const { resolve, reject, timer } = this.#waiting.get(id);
    this.#waiting.delete(id);
    clearTimeout(timer);
    if (failure) reject(new Error(failure.reason));
    else resolve(answer);
  }
}
