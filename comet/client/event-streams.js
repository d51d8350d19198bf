// Server-sent events in the place of a WebSocket, where a proxy lets none through: one stream for each channel, and only to listen.
//
// The class looks like a WebSocket that speaks comet's protocol, so that the client needs to know only one.

/** The most streams: a browser allows few connections to a server over HTTP/1.1. */
const MOST = 100;

export class EventStreams {
  #url;
  #token;
  #Source;
  #streams = new Map();

  constructor(url, token, Source) {
    this.#url = url;
    this.#token = token;
    this.#Source = Source;
    queueMicrotask(() => this.#say({ type: "welcome", worker: 0 }));
  }

  /** Takes a request of the protocol. */
  send(json) {
    const { type, id, channel, ...rest } = JSON.parse(json);
    switch (type) {
      case "auth":
        this.#token = rest.token;
        for (const stream of this.#streams.values()) if (stream.source.readyState !== 2) this.#open(stream);
        return this.#answer({ type: "authorized", id });
      case "ping":
        return this.#answer({ type: "pong", id });
      case "subscribe": {
        const since = rest.epoch === undefined ? undefined : `${rest.epoch}:${rest.offset}`;
        if (this.#streams.size >= MOST) return this.#answer({ type: "error", id, code: "bad-request", reason: "too many event streams" });
        const stream = { channel, id, since, limit: rest.limit, offset: rest.offset ?? 0 };
        this.#streams.set(channel, stream);
        return this.#open(stream);
      }
      case "unsubscribe":
        this.#streams.get(channel)?.source.close();
        this.#streams.delete(channel);
        return this.#answer({ type: "unsubscribed", id, channel });
      default:
        return this.#answer({ type: "error", id, code: "unavailable", reason: "over event streams a client only listens" });
    }
  }

  close() {
    for (const { source } of this.#streams.values()) source.close();
    this.#streams.clear();
  }

  /** Opens a stream, or opens it again with another token. */
  #open(stream) {
    stream.source?.close();
    const { channel } = stream;
    const parameters = new URLSearchParams({ channel });
    if (stream.since) parameters.set("since", stream.since);
    else if (stream.limit) parameters.set("limit", stream.limit);
    if (this.#token) parameters.set("token", this.#token);
    const source = (stream.source = new this.#Source(`${this.#url}?${parameters}`));
    const on = (name, act) => source.addEventListener(name, (event) => source === stream.source && act(event));
    on("open", () => {
      // Opened again by the browser, which resumes by itself.
      if (stream.id === undefined) return;
      const [epoch] = stream.since?.split(":") ?? [];
      // Whether all was recovered shows later: `reset` is the first event if not.
      this.#say({ type: "subscribed", id: stream.id, channel, epoch, offset: stream.offset, publications: [] });
      stream.id = undefined;
    });
    on("message", ({ data, lastEventId }) => {
      const [epoch] = lastEventId.split(":");
      stream.since = lastEventId;
      this.#say({ type: "publication", channel, epoch, ...JSON.parse(data) });
    });
    on("missed", ({ data }) => this.#say({ type: "missed", channel, ...JSON.parse(data) }));
    on("reset", ({ data, lastEventId }) => {
      stream.since = lastEventId;
      this.#say({ type: "reset", channel, ...JSON.parse(data) });
    });
    on("unsubscribed", ({ data }) => {
      this.#remove(stream);
      this.#say({ type: "unsubscribed", channel, ...JSON.parse(data), code: "unsubscribed" });
    });
    on("disconnected", ({ data }) => {
      this.close();
      this.onclose?.(JSON.parse(data));
    });
    on("error", () => {
      // The browser comes back by itself, unless the answer was no stream: then it does not say why.
      if (source.readyState !== 2) return;
      const { id } = stream;
      this.#remove(stream);
      if (id !== undefined) return this.#say({ type: "error", id, code: "unavailable", reason: "no stream of this channel" });
      this.close();
      this.onclose?.({ code: 1006, reason: "the stream was refused" });
    });
  }

  #remove(stream) {
    stream.source.close();
    this.#streams.delete(stream.channel);
  }

  /** Answers a request, after it was made. */
  #answer(message) {
    queueMicrotask(() => this.#say(message));
  }

  #say(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}
