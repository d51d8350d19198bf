// A client of comet: keeps one connection open, and its subscriptions over reconnects, so that each publication comes once.
//
//   const comet = new Comet("wss://example.org/ws", { token: () => fetch("/token").then((answer) => answer.text()) });
//   const news = comet.subscribe("news", { publication, gap, ready });
//   await comet.publish("news", data, { key: "order-7" });
//
// A plain ES module without dependencies, for browsers and Node. The README says more.

import { EventStreams } from "./event-streams.js";

const DEFAULTS = {
  /** The first and the longest pause before a reconnect, in milliseconds. */
  minDelay: 250,
  maxDelay: 15_000,
  /** How long an answer, or a connection, may take. */
  patience: 10_000,
  /** After so much silence the client asks whether the server is there. */
  idle: 25_000,
};
/** A connection that has lasted so long counts as good: the next reconnect comes soon. */
const GOOD = 5_000;
/** A token is renewed so long before its end, or after half of its time. */
const EARLY = 30_000;
/** The longest time of a timer. */
const LONGEST = 2 ** 31 - 1;
/** The most requests that wait for a connection. */
const MOST_WAITING = 1000;
/** So many WebSockets must fail in a row before event streams are tried. */
const FAILURES = 2;
/** Trouble that passes: the request may succeed later. */
const PASSING = new Set(["unavailable", "unknown", "too-many"]);

/** Why a request failed. `unavailable` means that nothing was done, `unknown` that the outcome is not known. */
export class CometError extends Error {
  constructor(code, reason) {
    super(reason);
    this.name = "CometError";
    this.code = code;
  }
}

/** A channel that the client listens to. */
class Subscription {
  #end;

  constructor(channel, { limit = 0, since, ...handlers }, end) {
    this.channel = channel;
    this.limit = limit;
    this.handlers = handlers;
    this.epoch = since?.epoch;
    this.offset = since?.offset ?? 0;
    this.isReady = false;
    /** Whether the subscription ever stood. */
    this.hasStood = since !== undefined;
    this.delay = 0;
    this.#end = end;
  }

  /** Where the client stands: give it as `since` to go on from there, for instance after a page was loaded again. */
  get position() {
    return this.epoch === undefined ? undefined : { epoch: this.epoch, offset: this.offset };
  }

  unsubscribe() {
    this.#end();
  }

  /** Calls a handler. What it throws is reported as any page's error, and does not stop the client. */
  tell(name, value) {
    try {
      this.handlers[name]?.(value);
    } catch (error) {
      queueMicrotask(() => { throw error; });
    }
  }
}

export class Comet extends EventTarget {
  #url;
  #options;
  #link;
  #state = "connecting";
  #delay;
  #failures = 0;
  #opened = 0;
  #heard = 0;
  #timers = {};
  #next = 1;
  #waiting = new Map();
  #doors = new Set();
  #channels = new Map();
  #token;
  /** When the token ends, by this machine's clock; undefined if never. */
  #tokenEnd;
  #online = () => this.#hurry();

  /** Connects to `url`, such as `wss://example.org/ws`. */
  constructor(url, options = {}) {
    super();
    this.#url = String(url);
    this.#options = { WebSocket: globalThis.WebSocket, EventSource: globalThis.EventSource, ...DEFAULTS, ...options };
    if (!this.#options.WebSocket) throw new TypeError("there is no WebSocket here: give one as an option");
    new URL(this.#url, globalThis.location?.href);
    this.#delay = this.#options.minDelay;
    if (typeof options.token === "string") this.#token = options.token;
    globalThis.addEventListener?.("online", this.#online);
    this.#connect();
  }

  /** `connecting`, `open` or `closed`. */
  get state() {
    return this.#state;
  }

  get isOpen() {
    return this.#state === "open";
  }

  /** Listens to a channel until `unsubscribe` is called. */
  subscribe(channel, options = {}) {
    if (this.#channels.has(channel)) throw new CometError("already-subscribed", `subscribed to ${channel} already`);
    const subscription = new Subscription(channel, options, () => this.#leave(subscription));
    this.#channels.set(channel, subscription);
    if (this.isOpen) this.#join(subscription);
    return subscription;
  }

  /**
   * Publishes; resolves to the position. With a `key` (`true` makes one) the request is repeated for `within` milliseconds until
   * its outcome is known, and publishes once.
   */
  async publish(channel, data, { key, within = 60_000 } = {}) {
    if (key === true) key = Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join("-");
    const until = performance.now() + within;
    for (let delay = this.#options.minDelay; ; delay = Math.min(2 * delay, this.#options.maxDelay)) {
      try {
        const { epoch, offset } = await this.request({ type: "publish", channel, data, key });
        return { epoch, offset };
      } catch (error) {
        const left = until - performance.now();
        if (key === undefined || !PASSING.has(error.code) || left <= 0) throw error;
        await new Promise((resolve) => setTimeout(resolve, Math.min(left, spread(delay))));
      }
    }
  }

  /** The newest publications, or those `before` or `after` an offset. */
  history(channel, { limit, before, after } = {}) {
    return this.request({ type: "history", channel, limit, before, after });
  }

  /** Who is subscribed. */
  presence(channel) {
    return this.request({ type: "presence", channel });
  }

  /** Replaces the token, and with it the client's rights. */
  async authorize(token) {
    if (!this.isOpen) [this.#token, this.#tokenEnd] = [token, undefined];
    const answer = await this.request({ type: "auth", token });
    this.#token = token;
    this.#authorized(token, answer);
    this.#rejoin();
    return answer;
  }

  /** Sends a request of the protocol; resolves to its answer. Waits for the connection, if there is none. */
  async request(message) {
    if (!this.isOpen) await this.#opening();
    return new Promise((resolve, reject) => {
      this.#ask(message, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }

  /** Closes the connection for good. */
  close() {
    this.#end(1000, "closed by the client");
  }

  // The connection.

  async #connect() {
    let token;
    try {
      token = await this.#currentToken();
    } catch (error) {
      this.#report(error);
      return this.#later();
    }
    if (this.#state === "closed") return;
    const { WebSocket, EventSource, events, patience } = this.#options;
    const isStream = this.#failures >= FAILURES && events && EventSource;
    let link;
    try {
      link = isStream ? new EventStreams(events, token, EventSource) : new WebSocket(this.#url);
    } catch (error) {
      // Not permitted on this page, for instance.
      this.#report(error);
      return this.#later();
    }
    this.#link = link;
    this.#heard = 0;
    link.onmessage = ({ data }) => {
      if (link === this.#link) this.#hear(JSON.parse(data), token);
    };
    link.onerror = () => {};
    link.onclose = ({ code, reason }) => {
      if (link === this.#link) this.#lost(code, reason);
    };
    this.#timers.opening = setTimeout(() => this.#drop("the server does not answer"), patience);
  }

  /** Gives a connection up that no longer answers. */
  #drop(reason) {
    const link = this.#link;
    this.#link = undefined;
    link.close();
    this.#lost(1006, reason);
  }

  #lost(code, reason) {
    this.#link = undefined;
    this.#stopTimers();
    if (!this.#heard) this.#failures += 1;
    if (this.#opened && performance.now() - this.#opened > GOOD) this.#delay = this.#options.minDelay;
    this.#opened = 0;
    // After these codes the server does not want the client back.
    if ((code >= 3500 && code < 4000) || (code >= 4500 && code < 5000)) return this.#end(code, reason);
    this.#state = "connecting";
    for (const subscription of this.#channels.values()) subscription.isReady = false;
    this.#settleAll(new CometError("unknown", "the connection was lost before the answer"));
    this.#tell("close", { code, reason, isFinal: false });
    if (this.#state === "connecting") this.#later();
  }

  #later() {
    // Spread out, so that not all clients come back at once.
    this.#timers.connect = setTimeout(() => this.#hurry(), spread(this.#delay));
    this.#delay = Math.min(this.#delay * 2, this.#options.maxDelay);
  }

  /** Connects now, if the client waits before its next attempt. */
  #hurry() {
    if (this.#timers.connect === undefined) return;
    clearTimeout(this.#timers.connect);
    this.#timers.connect = undefined;
    this.#connect();
  }

  #end(code, reason) {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#stopTimers();
    globalThis.removeEventListener?.("online", this.#online);
    const link = this.#link;
    this.#link = undefined;
    // A browser refuses other codes.
    link?.close(1000);
    const error = new CometError("closed", reason || `the server has closed the connection with ${code}`);
    for (const subscription of this.#channels.values()) subscription.isReady = false;
    this.#settleAll(error);
    for (const door of [...this.#doors]) door(error);
    this.#tell("close", { code, reason, isFinal: true });
  }

  #stopTimers() {
    for (const name of Object.keys(this.#timers)) {
      clearTimeout(this.#timers[name]);
      this.#timers[name] = undefined;
    }
    for (const subscription of this.#channels.values()) clearTimeout(subscription.timer);
  }

  /** Resolves when there is a connection. */
  #opening() {
    if (this.#state === "closed") return Promise.reject(new CometError("closed", "the client is closed"));
    if (this.#doors.size >= MOST_WAITING) return Promise.reject(new CometError("unavailable", "not connected"));
    return new Promise((resolve, reject) => {
      const door = (error) => {
        clearTimeout(timer);
        this.#doors.delete(door);
        error ? reject(error) : resolve();
      };
      const timer = setTimeout(() => door(new CometError("unavailable", "not connected")), this.#options.patience);
      this.#doors.add(door);
    });
  }

  /** Asks whether the server is there, when it has been silent. */
  #watch() {
    const { idle } = this.#options;
    this.#timers.watch = setTimeout(() => {
      if (performance.now() - this.#heard < idle) return this.#watch();
      const link = this.#link;
      this.#ask({ type: "ping" }, (error) => {
        if (link !== this.#link) return;
        if (error) this.#drop("the server does not answer");
        else this.#watch();
      });
    }, idle);
  }

  #welcomed(welcome, token) {
    this.#failures = 0;
    if (token === undefined) return this.#open(welcome);
    this.#ask({ type: "auth", token }, (error, answer) => {
      if (!error) {
        this.#authorized(token, answer);
        return this.#open({ ...welcome, user: answer.user });
      }
      if (error.code === "unknown") return;
      this.#report(error);
      if (typeof this.#options.token !== "function") return this.#open(welcome);
      // Another token may be better.
      this.#token = undefined;
      this.#drop("the server has refused the token");
    });
  }

  #open(welcome) {
    clearTimeout(this.#timers.opening);
    this.#state = "open";
    this.#opened = performance.now();
    this.#watch();
    this.#rejoin();
    for (const door of [...this.#doors]) door();
    this.#tell("open", welcome);
  }

  // Tokens.

  async #currentToken() {
    const source = this.#options.token;
    const isOver = this.#tokenEnd !== undefined && this.#tokenEnd <= Date.now();
    if (typeof source === "function" && (this.#token === undefined || isOver)) this.#token = await this.#anotherToken();
    return this.#token;
  }

  #anotherToken() {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new CometError("unknown", "no token came")), this.#options.patience);
      Promise.resolve(this.#options.token()).then((token) => resolve(token ?? undefined), reject).finally(() => clearTimeout(timer));
    });
  }

  #authorized(token, { expires_in: left = timeLeft(token) }) {
    clearTimeout(this.#timers.renewal);
    this.#tokenEnd = left === undefined ? undefined : Date.now() + left * 1000;
    if (left === undefined || typeof this.#options.token !== "function") return;
    this.#renewIn(Math.max(left * 1000 - EARLY, left * 500, 500), 1000);
  }

  #renewIn(time, delay) {
    this.#timers.renewal = setTimeout(async () => {
      if (time > LONGEST) return this.#renewIn(time - LONGEST, delay);
      const link = this.#link;
      try {
        const token = await this.#anotherToken();
        if (link !== this.#link || !this.isOpen) return;
        await this.authorize(token);
      } catch (error) {
        this.#report(error);
        // The server ends the connection with the token. Until then, the client tries again.
        if (link === this.#link && this.isOpen) this.#renewIn(spread(delay), Math.min(2 * delay, this.#options.maxDelay));
      }
    }, Math.min(time, LONGEST));
  }

  // Messages.

  #ask(message, done) {
    const id = this.#next++;
    const timer = setTimeout(() => {
      this.#settle(id, new CometError("unknown", "the server has not answered"));
    }, this.#options.patience);
    this.#waiting.set(id, { done, timer });
    this.#link.send(JSON.stringify({ ...message, id }));
    return id;
  }

  #settle(id, error, answer) {
    const request = this.#waiting.get(id);
    this.#waiting.delete(id);
    clearTimeout(request?.timer);
    request?.done(error, answer);
  }

  #settleAll(error) {
    for (const id of [...this.#waiting.keys()]) this.#settle(id, error);
  }

  #hear(message, token) {
    this.#heard = performance.now();
    if (message.id && this.#waiting.has(message.id)) {
      const error = message.type === "error" ? new CometError(message.code, message.reason) : undefined;
      return this.#settle(message.id, error, message);
    }
    if (message.type === "welcome") return this.#welcomed(message, token);
    const subscription = this.#channels.get(message.channel);
    if (message.type === "subscribed" && !message.id) return this.#given(message, subscription);
    // What is still on its way from an earlier subscription counts no more.
    if (!subscription?.isReady) return;
    switch (message.type) {
      case "publication":
        this.#take(subscription, message);
        break;
      case "missed":
        subscription.offset = message.to;
        subscription.tell("gap", { why: "missed", from: message.from, to: message.to });
        break;
      case "reset":
        subscription.epoch = message.epoch;
        subscription.offset = message.offset;
        // Where only the epoch is another, nothing is missing.
        if (!message.recovered) subscription.tell("gap", { why: "reset" });
        break;
      case "unsubscribed":
        // The client has not asked for it: its rights no longer allow it, or the back end has ended it.
        if (message.id) break;
        subscription.isReady = false;
        if (message.code === "unsubscribed") this.#channels.delete(message.channel);
        subscription.tell("refused", new CometError(message.code, message.reason ?? "the rights to read have ended"));
        break;
      case "join":
      case "leave":
        subscription.tell(message.type, { client: message.client, user: message.user, info: message.info });
        break;
      case "joins-missed":
        subscription.tell("joinsMissed");
        break;
    }
  }

  // Channels.

  #rejoin() {
    for (const subscription of [...this.#channels.values()]) {
      if (!subscription.isReady && !subscription.request) this.#join(subscription);
    }
  }

  #join(subscription) {
    clearTimeout(subscription.timer);
    const { channel, limit, position } = subscription;
    subscription.request = this.#ask({ type: "subscribe", channel, ...(position ?? { limit }) }, (error, answer) => {
      subscription.request = undefined;
      if (this.#channels.get(channel) !== subscription) return;
      if (!error) return this.#stands(subscription, answer);
      if (!this.isOpen) return;
      if (!PASSING.has(error.code)) return subscription.tell("refused", error);
      subscription.delay = Math.min(2 * subscription.delay || this.#options.minDelay, this.#options.maxDelay);
      subscription.timer = setTimeout(() => {
        if (this.isOpen && this.#channels.get(channel) === subscription) this.#join(subscription);
      }, spread(subscription.delay));
    });
  }

  #stands(subscription, { epoch, offset, recovered, publications }) {
    const isAgain = subscription.hasStood;
    // Without a position nobody can say whether something is missing.
    const isUnknown = isAgain && subscription.epoch === undefined;
    Object.assign(subscription, { isReady: true, hasStood: true, delay: 0 });
    subscription.epoch = epoch;
    subscription.offset = offset - publications.length;
    if (recovered === false || isUnknown) subscription.tell("gap", { why: "unrecovered" });
    for (const publication of publications) this.#take(subscription, publication);
    subscription.offset = offset;
    if (this.#channels.get(subscription.channel) === subscription) subscription.tell("ready", { epoch, offset, recovered });
  }

  /** The server has subscribed the client. */
  #given(answer, subscription) {
    // The client asks for the channel itself, from where it stands.
    if (subscription) return;
    const { channel } = answer;
    const made = new Subscription(channel, {}, () => this.#leave(made));
    this.#channels.set(channel, made);
    this.#tell("subscribed", made);
    this.#stands(made, answer);
  }

  #leave(subscription) {
    const { channel } = subscription;
    clearTimeout(subscription.timer);
    if (this.#channels.get(channel) !== subscription) return;
    this.#channels.delete(channel);
    if (this.isOpen && (subscription.isReady || subscription.request)) {
      // A request that is not answered yet never will be.
      if (subscription.request) this.#settle(subscription.request, new CometError("unsubscribed", "unsubscribed"));
      this.#ask({ type: "unsubscribe", channel }, () => {});
    }
    subscription.isReady = false;
  }

  #take(subscription, { epoch, offset, data, user }) {
    // Events carry their epoch.
    if (epoch !== undefined && epoch !== subscription.epoch) subscription.epoch = epoch;
    else if (offset <= subscription.offset) return;
    subscription.offset = offset;
    if (this.#channels.get(subscription.channel) === subscription) subscription.tell("publication", { offset, data, user });
  }

  // Events.

  #report(error) {
    this.#tell("error", error);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** A random time, half of `delay` at least. */
function spread(delay) {
  return delay * (0.5 + Math.random() / 2);
}

/** The seconds until a JSON Web Token ends, by this machine's clock; undefined if it does not end. */
function timeLeft(token) {
  try {
    const { exp } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    return typeof exp === "number" ? Math.max(0, exp - Date.now() / 1000) : undefined;
  } catch {
    return undefined;
  }
}
