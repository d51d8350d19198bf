// The client in Node against a real comet, some of whose processes are killed and frozen.
//
// usage: node node.mjs COMET DRIVER [REDIS_URL]
//
// where `@wirestate/comet` and `ws` can be imported from the current directory; COMET_SECRET, COMET_API_TOKEN and COMET_CONFIG are
// for the servers.

import assert from "node:assert";
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.cwd()}/`);
const WebSocket = require("ws");
const { Comet } = await import(pathToFileURL(require.resolve("@wirestate/comet")));
const [program, driver, redis] = process.argv.slice(2);
const options = { WebSocket, minDelay: 20, maxDelay: 100, patience: 2000 };
const passed = [];
setTimeout(() => { throw new Error("out of patience"); }, 60_000).unref();

class Server {
  static all = [];

  async start(...flags) {
    if (flags.length || !this.flags) this.flags = flags;
    const command = ["--driver", driver, "--listen", this.address ?? "127.0.0.1:0", ...this.flags];
    this.process = spawn(program, command, { stdio: ["ignore", "pipe", "inherit"] });
    Server.all.push(this.process);
    for await (const line of this.process.stdout) {
      this.address = /listening on http:\/\/(\S+)/.exec(line)[1];
      break;
    }
    return this;
  }

  get url() {
    return `ws://${this.address}/ws`;
  }

  async kill() {
    this.process.kill("SIGKILL");
    await once(this.process, "exit");
  }

  async ask(path, body) {
    const answer = await fetch(`http://${this.address}${path}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${process.env.COMET_API_TOKEN}` },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }
}

process.on("exit", () => Server.all.forEach((server) => server.kill("SIGKILL")));

function token(seconds, claims) {
  const encode = (value) => Buffer.from(value).toString("base64url");
  const parts = [{ alg: "HS256" }, { exp: Date.now() / 1000 + seconds, ...claims }];
  const signed = parts.map((part) => encode(JSON.stringify(part))).join(".");
  return `${signed}.${createHmac("sha256", process.env.COMET_SECRET).update(signed).digest("base64url")}`;
}

/** Listens, and keeps what the handlers are called with. */
function listen(comet, channel) {
  const heard = { data: [], gaps: [], ready: 0 };
  comet.subscribe(channel, {
    publication: ({ data }) => heard.data.push(data),
    gap: ({ why }) => heard.gaps.push(why),
    ready: () => heard.ready++,
  });
  return heard;
}

async function until(holds) {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

function pass(name) {
  passed.push(name);
}

/** A server that is killed and started again, with its channels in memory: what was there is gone, and that is told. */
async function restarted() {
  const server = await new Server().start();
  const comet = new Comet(server.url, options);
  const heard = listen(comet, "room:1");
  await comet.publish("room:1", 1);
  await until(() => heard.data.length === 1);
  await server.kill();
  const waiting = comet.publish("room:1", 2, { key: true });
  await new Promise((resolve) => setTimeout(resolve, 300));
  await server.start();
  await waiting;
  await until(() => heard.data.length === 2 && heard.ready === 2);
  assert.deepStrictEqual([heard.data, heard.gaps], [[1, 2], ["unrecovered"]]);
  pass("after a crash that loses the history, the gap is told, and a publication with a key is made");

  // Frozen: the connection stays, but nobody answers.
  comet.close();
  const patient = new Comet(server.url, { ...options, idle: 200, patience: 300 });
  const again = listen(patient, "room:1");
  await until(() => again.ready === 1);
  server.process.kill("SIGSTOP");
  const closed = await new Promise((resolve) => patient.addEventListener("close", resolve, { once: true }));
  assert.strictEqual(closed.detail.code, 1006);
  server.process.kill("SIGCONT");
  await until(() => again.ready === 2);
  await patient.publish("room:1", 3);
  await until(() => again.data.length === 1);
  assert.deepStrictEqual(again.gaps, []);
  patient.close();
  await server.kill();
  pass("a server that is frozen is noticed, and nothing is missed when it goes on");
}

/** Two servers with one Redis: one is killed, the other goes on. */
async function overRedis() {
  const [one, other] = [await new Server().start("--broker", redis), await new Server().start("--broker", redis)];
  const comet = new Comet(one.url, options);
  const heard = listen(comet, "room:redis");
  await until(() => heard.ready === 1);
  await other.ask("/api/publish", { channel: "room:redis", data: 1 });
  await until(() => heard.data.length === 1);
  await one.kill();
  for (const data of [2, 3]) await other.ask("/api/publish", { channel: "room:redis", data });
  await one.start();
  await until(() => heard.data.length === 3);
  assert.deepStrictEqual([heard.data, heard.gaps], [[1, 2, 3], []]);
  comet.close();
  await Promise.all([one.kill(), other.kill()]);
  pass("after a crash of one of two servers with Redis, nothing is missed");
}

/** A server of this process, which answers as it is told. */
async function scripted() {
  const server = new WebSocket.WebSocketServer({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  const asked = [];
  server.on("connection", (socket) => {
    socket.send('{"type":"welcome","client":"c","node":"n","worker":0}');
    socket.on("message", (text) => {
      const { id, type, key } = JSON.parse(text);
      asked.push(key);
      if (type === "subscribe") {
        // In one packet: the client must not mistake the second for one that it has.
        const answer = { type: "subscribed", id, channel: "a", epoch: "1", offset: 1, publications: [{ offset: 1, data: 1 }] };
        socket._socket.cork();
        socket.send(JSON.stringify(answer));
        for (const offset of [1, 2]) socket.send(JSON.stringify({ type: "publication", channel: "a", offset, data: offset }));
        return socket._socket.uncork();
      }
      const errors = { 1: "unknown", 2: "unavailable" };
      if (asked.length === 3) return socket.terminate();
      const answer = errors[asked.length] ? { type: "error", code: errors[asked.length], reason: "" } : { type: "published", epoch: "1", offset: 9 };
      socket.send(JSON.stringify({ ...answer, id }));
    });
  });
  const comet = new Comet(`ws://127.0.0.1:${server.address().port}`, options);
  assert.deepStrictEqual(await comet.publish("a", 1, { key: "k" }), { epoch: "1", offset: 9 });
  assert.deepStrictEqual(asked, ["k", "k", "k", "k"]);
  asked.length = 0;
  await assert.rejects(comet.publish("a", 1), { name: "CometError", code: "unknown" });
  const heard = listen(comet, "a");
  const failure = once(process, "uncaughtException");
  comet.subscribe("b", { ready: () => { throw new Error("from a handler"); } });
  await until(() => heard.data.length === 2);
  assert.deepStrictEqual(heard.data, [1, 2]);
  assert.strictEqual((await failure)[0].message, "from a handler");
  comet.close();
  server.close();
  pass("a publication with a key is repeated until its outcome is known, one without is not");
  pass("what a handler throws stops nothing");
}

/** Pauses between attempts grow up to a bound, and are random. */
async function pauses() {
  const times = [];
  class Never {
    constructor() {
      times.push(performance.now());
      setTimeout(() => this.onclose({ code: 1006, reason: "" }));
    }
    close() {}
  }
  const comet = new Comet("ws://127.0.0.1:1/ws", { ...options, WebSocket: Never, minDelay: 40, maxDelay: 160, patience: 100 });
  await assert.rejects(comet.publish("a", 1), { code: "unavailable" });
  await until(() => times.length === 9);
  comet.close();
  const between = times.slice(1).map((time, index) => time - times[index]);
  between.forEach((pause, index) => {
    assert(pause >= Math.min(40 * 2 ** index, 160) / 2 - 2, `pause ${index} is ${pause} ms`);
  });
  // Without the bound they would last 5 s at least.
  assert(times.at(-1) - times[0] < 4000, `the attempts took ${times.at(-1) - times[0]} ms`);
  assert(new Set(between.slice(3).map(Math.round)).size > 1, "the pauses are equal");
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.strictEqual(times.length, 9);
  pass("pauses between attempts grow up to a bound, and end with the client");
}

async function shared() {
  const server = await new Server().start();
  const { EventSource } = globalThis;
  const checks = new Function(`${readFileSync(new URL("checks.js", import.meta.url))}; return checks;`)();
  const tokens = {
    ann: token(3600, { sub: "ann", info: { name: "Ann" }, subscribe: ["*"] }),
    served: token(3600, { sub: "served", subscribe: ["*"], channels: ["many:served"] }),
    ended: token(-1, { sub: "ann" }),
    short: [2, 2, 3600].map((seconds) => token(seconds, { sub: "short", subscribe: ["*"] })),
  };
  const ask = (path, body) => server.ask(path, body);
  const found = { Comet, url: server.url, events: `http://${server.address}/events`, tokens, ask };
  const names = await checks({ ...found, options: { WebSocket, EventSource } });
  names.forEach(pass);
  await server.kill();
}

await Promise.all([shared(), restarted(), redis && overRedis(), scripted(), pauses()]);
console.log(JSON.stringify(passed));
process.exit(0);
