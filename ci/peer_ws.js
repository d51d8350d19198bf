// Lets the Node package `ws` talk to the example `blocking_echo`, as its client and as its server, with and without
// permessage-deflate.
//
// usage: NODE_PATH=FOLDER_WITH_WS node peer_ws.js BLOCKING_ECHO

"use strict";

const assert = require("node:assert");
const { spawn } = require("node:child_process");
const { randomBytes } = require("node:crypto");
const { once } = require("node:events");
const net = require("node:net");
const { WebSocket, WebSocketServer } = require("ws");

const program = process.argv[2];
setTimeout(() => { throw new Error("out of patience"); }, 120_000).unref();

const ways = [
  false,
  { threshold: 0 },
  { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
  { threshold: 0, serverMaxWindowBits: 10, clientMaxWindowBits: 9 },
];

// Text and bytes of all sizes that matter, compressible and not.
function messages() {
  return [0, 1, 125, 126, 1000, 65535, 65536, 300_000, 3_000_000]
    .flatMap((size) => [randomBytes(size), `grüß \u{1f600} ${randomBytes(size / 4).toString("hex")}`]);
}

// The arguments of the next event; the end of the connection is a failure.
async function next(socket, event) {
  const patience = new AbortController();
  const closed = once(socket, "close", patience).then(([code]) => { throw new Error(`closed with ${code}`); });
  try {
    return await Promise.race([once(socket, event, patience), closed]);
  } finally {
    closed.catch(() => {});
    patience.abort();
  }
}

// Sends everything and expects it back; then fragments, a Ping, and the closing handshake.
async function converse(socket) {
  for (const message of messages()) {
    socket.send(message);
    const [answer, binary] = await next(socket, "message");
    assert.strictEqual(binary, Buffer.isBuffer(message));
    assert(answer.equals(Buffer.from(message)), `${answer.length} bytes back`);
  }
  for (const [piece, fin] of [["one ", false], ["two € ", false], ["", false], ["three", true]]) {
    socket.send(piece, { fin });
  }
  assert.strictEqual(String((await next(socket, "message"))[0]), "one two € three");
  socket.ping("are you there?");
  assert.strictEqual(String((await next(socket, "pong"))[0]), "are you there?");
  socket.close(4321, "enough");
  const [code] = await once(socket, "close");
  assert.strictEqual(code, 4321);
}

async function freePort() {
  const probe = net.createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

async function listening(port) {
  for (;;) {
    const probe = net.connect(port, "127.0.0.1");
    try {
      await once(probe, "connect");
      probe.destroy();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function theirClient() {
  const port = await freePort();
  const server = spawn(program, ["serve", `127.0.0.1:${port}`], { stdio: "ignore" });
  process.on("exit", () => server.kill());
  try {
    await listening(port);
    for (const perMessageDeflate of ways) {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/`, { perMessageDeflate });
      await once(socket, "open");
      assert.strictEqual(socket.extensions.startsWith("permessage-deflate"), Boolean(perMessageDeflate));
      await converse(socket);
    }
  } finally {
    server.kill();
  }
}

// The echo client asks for the number of conversations, then for one after the other.
async function theirServer() {
  for (const perMessageDeflate of ways.slice(0, 3)) {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate });
    await once(server, "listening");
    const conversations = [];
    server.on("connection", (socket, request) => {
      if (request.url === "/getCaseCount") {
        socket.send("2");
        socket.once("message", () => socket.close(1000));
      } else if (request.url.startsWith("/runCase")) {
        assert.strictEqual(socket.extensions.startsWith("permessage-deflate"), Boolean(perMessageDeflate));
        conversations.push(converse(socket));
      } else {
        socket.close(1000);
      }
    });
    const url = `ws://127.0.0.1:${server.address().port}`;
    const client = spawn(program, ["autobahn", url, "proto-ws"], { stdio: "inherit" });
    assert.strictEqual((await once(client, "exit"))[0], 0);
    assert.strictEqual((await Promise.all(conversations)).length, 2);
    server.close();
  }
}

theirClient()
  .then(theirServer)
  .then(() => console.log(`ws ${require("ws/package.json").version}: client and server, compressed and not`))
  .catch((failure) => {
    console.error(failure);
    process.exit(1);
  });
