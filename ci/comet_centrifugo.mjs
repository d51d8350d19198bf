// Uses comet through centrifuge-js, unchanged: node comet_centrifugo.mjs ADDRESS API_TOKEN TOKENS, where TOKENS is JSON.
// Needs the packages `centrifuge` and `ws`, found through NODE_PATH.

import { createRequire } from "node:module";

const require = createRequire(process.env.NODE_PATH + "/");
const { Centrifuge } = require("centrifuge");
const WebSocket = require("ws");

const [address, apiToken, given] = process.argv.slice(2);
const tokens = JSON.parse(given);
const checks = [];

function fail(text) {
  throw new Error(text);
}

function check(name, holds, seen) {
  if (!holds) fail(`${name}: ${JSON.stringify(seen)}`);
  checks.push(name);
}

/** Resolves to the next event of this name that `fits`. */
function next(emitter, name, fits = () => true) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${name}`)), 10_000);
    const listener = (context) => {
      if (!fits(context)) return;
      clearTimeout(timer);
      emitter.off(name, listener);
      resolve(context);
    };
    emitter.on(name, listener);
  });
}

async function ask(path, body) {
  const answer = await fetch(`http://${address}${path}`, {
    method: "POST",
    headers: { Authorization: `Bearer ${apiToken}` },
    body: JSON.stringify(body),
  });
  if (!answer.ok) fail(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

function client(options = {}) {
  return new Centrifuge(`ws://${address}/connection/websocket`, { websocket: WebSocket, minReconnectDelay: 20, ...options });
}

async function connected(options) {
  const made = client(options);
  const open = next(made, "connected");
  made.connect();
  return [made, await open];
}

async function code(promise) {
  try {
    return await promise;
  } catch (error) {
    return error.code;
  }
}

const [ann, welcome] = await connected({ token: tokens.ann });
check("connect", welcome.client && welcome.transport === "websocket", welcome);

const room = ann.newSubscription("room", { joinLeave: true });
const subscribed = next(room, "subscribed");
const itself = next(room, "join");
room.subscribe();
const first = await subscribed;
check("subscribe", first.recoverable && first.positioned && first.streamPosition.offset === 0, first);
check("join of itself", (await itself).info.client === welcome.client);

const [bob, bobs] = await connected({ token: tokens.bob });
const bobsRoom = bob.newSubscription("room");
const joined = next(room, "join", ({ info }) => info.user === "bob");
const bobSubscribed = next(bobsRoom, "subscribed");
bobsRoom.subscribe();
await bobSubscribed;
check("join", (await joined).info.client === bobs.client);

const heard = next(room, "publication");
await bobsRoom.publish({ text: "hello" });
const publication = await heard;
check("publish", publication.data.text === "hello" && publication.offset === 1 && publication.info.user === "bob", publication);

const { clients } = await room.presence();
check("presence", Object.keys(clients).length === 2 && clients[bobs.client].user === "bob", clients);
check("presence info", clients[welcome.client].connInfo.name === "Ann", clients);
const stats = await room.presenceStats();
check("presence stats", stats.numClients === 2 && stats.numUsers === 2, stats);

for (const number of [2, 3, 4]) await ask("/api/publish", { channel: "room", data: number });
const history = await room.history({ limit: 2, since: { offset: 1, epoch: first.streamPosition.epoch } });
check("history", history.publications.map(({ data }) => data).join() === "2,3" && history.offset === 4, history);
const reverse = await room.history({ limit: 2, reverse: true });
check("history backwards", reverse.publications.map(({ data }) => data).join() === "4,3", reverse);
check("history position", (await room.history({ limit: 0 })).publications.length === 0);

check("error 103", (await code(ann.publish("private", 1))) === 103);
check("error 102", (await code(ann.history("nowhere", { limit: 1 }))) === 102);
check("error 104", (await code(ann.rpc("x", {}))) === 104);
check("error 108", (await code(ann.presence("quiet"))) === 108);
const forbidden = ann.newSubscription("private");
const refused = next(forbidden, "unsubscribed");
forbidden.subscribe();
check("refused subscription", (await refused).code === 103);

// The connection is lost: what was published meanwhile is recovered, once.
const seen = [];
room.on("publication", ({ data }) => seen.push(data));
const standing = next(room, "subscribed");
ann._transport.close();
for (const number of [5, 6]) await ask("/api/publish", { channel: "room", data: number });
const back = await standing;
check("recover", back.wasRecovering && back.recovered, back);
await ask("/api/publish", { channel: "room", data: 7 });
while (!seen.includes(7)) await next(room, "publication");
check("recovered once", seen.join() === "5,6,7", seen);

// More than the history holds was missed: the client is told.
for (const data of ["old", "newest"]) await ask("/api/publish", { channel: "state", data });
for (const options of [{}, { since: { offset: 0, epoch: "" } }]) {
  const [viewer] = await connected();
  const state = viewer.newSubscription("state", options);
  const latest = next(state, "publication");
  state.subscribe();
  check("latest state", (await latest).data === "newest");
  viewer.disconnect();
}

const score = ann.newSubscription("score", { delta: "fossil" });
const scores = [];
score.on("publication", ({ data }) => scores.push(data));
const scored = next(score, "publication", ({ data }) => data.home === 19);
const follows = next(score, "subscribed");
score.subscribe();
await follows;
const games = Array.from({ length: 20 }, (_, home) => ({ game: "Grün – Weiß 💧", clock: `${home}:00`, home, away: 3 }));
for (const data of games) await ask("/api/publish", { channel: "score", data });
await scored;
check("deltas", JSON.stringify(scores) === JSON.stringify(games), scores);
const { numDeltaPayloads, bytesReceived, bytesDecoded } = score.deltaStats();
check("deltas are short", numDeltaPayloads >= 15 && bytesReceived < bytesDecoded * 0.7, score.deltaStats());

const few = ann.newSubscription("few");
const begun = next(few, "subscribed");
few.subscribe();
await begun;
ann.disconnect();
for (let number = 0; number < 20; number++) await ask("/api/publish", { channel: "few", data: number });
const renewed = next(few, "subscribed");
ann.connect();
const late = await renewed;
check("loss told", late.wasRecovering && !late.recovered, late);

const left = next(room, "leave", ({ info }) => info.user === "bob");
bobsRoom.unsubscribe();
check("leave", (await left).info.client === bobs.client);

// A token that ends is refreshed before.
let refreshed = 0;
const [short] = await connected({ token: tokens.short, getToken: async () => (refreshed++, tokens.long) });
short.on("disconnected", (context) => fail(`refresh: ${JSON.stringify(context)}`));
short.on("connecting", (context) => fail(`refresh: ${JSON.stringify(context)}`));
for (let waited = 0; !refreshed && waited < 100; waited++) await new Promise((resolve) => setTimeout(resolve, 100));
await new Promise((resolve) => setTimeout(resolve, 3000));
check("refresh", refreshed === 1, refreshed);
short.removeAllListeners();
short.disconnect();

// A token that has ended is replaced as the client connects; one that is wrong ends it.
const [replaced] = await connected({ token: tokens.ended, getToken: async () => tokens.long });
check("error 109", replaced.state === "connected");
replaced.disconnect();
const wrong = client({ token: "wrong" });
const ended = next(wrong, "disconnected");
wrong.connect();
check("disconnect 3500", (await ended).code === 3500);

// The token subscribes to a channel.
const served = client({ token: tokens.served });
const stands = next(served, "subscribed", ({ channel }) => channel === "news");
served.connect();
await stands;
const pushed = next(served, "publication", ({ channel }) => channel === "news");
await ask("/api/publish", { channel: "news", data: "to all" });
check("server-side subscription", (await pushed).data === "to all");
served.disconnect();

const unsubscribed = next(room, "unsubscribed");
await ask("/api/unsubscribe", { user: "ann", channel: "room", reason: "moved" });
check("unsubscribe by API", (await unsubscribed).code === 2000);
const gone = next(ann, "disconnected");
await ask("/api/disconnect", { user: "ann", code: 4501, reason: "banned" });
const why = await gone;
check("disconnect by API", why.code === 4501 && why.reason === "banned", why);
bob.disconnect();

console.log(JSON.stringify(checks));
process.exit(0);
