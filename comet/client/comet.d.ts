/** Why a request failed. */
export class CometError extends Error {
  constructor(code: string, reason: string);
  readonly name: "CometError";
  /**
   * A code of the server (`forbidden`, `no-such-channel`, `too-many`, …). `unavailable` means that nothing was done, `unknown` that
   * the outcome is not known, `closed` that the client is closed for good.
   */
  readonly code: string;
}

/** A place in one life of a channel. */
export interface Position {
  epoch: string;
  offset: number;
}

export interface Publication<Data = unknown> {
  offset: number;
  data: Data;
  /** The publisher, if it has a token. */
  user?: string;
}

/** Publications may be missing: these offsets were lost; the channel has begun anew; the client was away for too long. */
export type Gap = { why: "missed"; from: number; to: number } | { why: "reset" } | { why: "unrecovered" };

/** A client, as others see it. */
export interface Member {
  client: string;
  user?: string;
  info?: unknown;
}

export interface Ready {
  epoch: string;
  offset: number;
  /** After a reconnect: whether nothing is missing. */
  recovered?: boolean;
}

export interface SubscribeOptions<Data = unknown> extends Handlers<Data> {
  /** Asks for the last publications first. */
  limit?: number;
  /** Asks for the publications after a position first. */
  since?: Position;
}

export interface Handlers<Data = unknown> {
  publication?(publication: Publication<Data>): void;
  /** Publications may be missing. */
  gap?(gap: Gap): void;
  /** The subscription stands, for the first time or again. */
  ready?(ready: Ready): void;
  /** The client may not read the channel, or no longer. It asks again with another token, and after a reconnect. */
  refused?(error: CometError): void;
  join?(member: Member): void;
  leave?(member: Member): void;
  /** Some of these events were lost: ask for the presence. */
  joinsMissed?(): void;
}

export interface Subscription {
  readonly channel: string;
  readonly isReady: boolean;
  /** Where the client stands. */
  readonly position: Position | undefined;
  /** What is called; may be replaced at any time. */
  handlers: Handlers<any>;
  unsubscribe(): void;
}

export interface PublishOptions {
  /** Requests with the same key publish once. `true` makes a key. */
  key?: string | true;
  /** With a key: how long the request is repeated, in milliseconds; 60,000 by default. */
  within?: number;
}

export interface HistoryOptions {
  limit?: number;
  before?: number;
  after?: number;
}

export interface History<Data = unknown> extends Position {
  channel: string;
  publications: Publication<Data>[];
  /** Whether there are more. */
  more?: boolean;
}

export interface Presence {
  channel: string;
  total: number;
  clients: Member[];
}

export interface Authorized {
  user?: string;
  /** The seconds until the rights end. */
  expires_in?: number;
}

export interface Welcome extends Authorized {
  client?: string;
  node?: string;
  worker: number;
}

export interface Options {
  /** A token, or a function that gives one: it is called before the first connection, and before a token ends. */
  token?: string | (() => string | null | undefined | Promise<string | null | undefined>);
  /** The URL of event streams (`https://HOST/events`), to listen to where no WebSocket gets through. */
  events?: string;
  /** The first and the longest pause before a reconnect, in milliseconds: 250 and 15,000 by default. */
  minDelay?: number;
  maxDelay?: number;
  /** How long an answer or a connection may take, in milliseconds; 10,000 by default. */
  patience?: number;
  /** After so much silence the client asks whether the server is there, in milliseconds; 25,000 by default. */
  idle?: number;
  /** Classes that stand in for the platform's: `ws` in Node before version 22, for instance. */
  WebSocket?: new (url: string) => any;
  EventSource?: new (url: string) => any;
}

export interface CometEvents {
  open: CustomEvent<Welcome>;
  /** The connection has ended. The client comes back, unless `isFinal`. */
  close: CustomEvent<{ code: number; reason: string; isFinal: boolean }>;
  /** The server has subscribed the client to a channel, as its token says: set the handlers now. */
  subscribed: CustomEvent<Subscription>;
  /** No token could be had, or it was refused. The client tries again. */
  error: CustomEvent<unknown>;
}

export class Comet extends EventTarget {
  constructor(url: string | URL, options?: Options);
  readonly state: "connecting" | "open" | "closed";
  readonly isOpen: boolean;

  subscribe<Data = unknown>(channel: string, options?: SubscribeOptions<Data>): Subscription;
  publish(channel: string, data: unknown, options?: PublishOptions): Promise<Position>;
  history<Data = unknown>(channel: string, options?: HistoryOptions): Promise<History<Data>>;
  presence(channel: string): Promise<Presence>;
  authorize(token: string): Promise<Authorized>;
  /** Sends any request of the protocol; resolves to its answer. */
  request(message: { type: string; [field: string]: unknown }): Promise<any>;
  close(): void;

  addEventListener<Name extends keyof CometEvents>(
    name: Name,
    listener: ((event: CometEvents[Name]) => void) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    name: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Name extends keyof CometEvents>(
    name: Name,
    listener: ((event: CometEvents[Name]) => void) | null,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    name: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}
