// Node's https and tls as clients of the testbed. usage: node peer_tls_node.mjs HOST:PORT AUTHORITY
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import https from "node:https";
import tls from "node:tls";

const [host, port] = process.argv[2].split(":");
const ca = fs.readFileSync(process.argv[3]);
const blob = crypto.randomBytes(1_000_000);

function post(agent) {
    return new Promise((resolve, reject) => {
        const request = https.request({ host, port, path: "/echo", method: "POST", agent, servername: "localhost" }, (response) => {
            const content = [];
            response.on("data", (piece) => content.push(piece));
            response.on("end", () => resolve(Buffer.concat(content)));
        });
        request.on("error", reject);
        request.end(blob);
    });
}

for (const version of ["TLSv1.2", "TLSv1.3"]) {
    const agent = new https.Agent({ ca, keepAlive: true, maxSockets: 1, minVersion: version, maxVersion: version });
    for (let i = 0; i < 3; i++) assert.ok(blob.equals(await post(agent)));
    agent.destroy();

    // A WebSocket by hand (RFC 6455): Node has no client of its own that takes an authority.
    const socket = tls.connect({ host, port, ca, servername: "localhost", minVersion: version, maxVersion: version });
    const said = await new Promise((resolve, reject) => {
        let heard = Buffer.alloc(0);
        socket.on("secureConnect", () => {
            const key = crypto.randomBytes(16).toString("base64");
            const fields = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}`;
            socket.write(`GET /ws HTTP/1.1\r\nHost: localhost\r\n${fields}\r\n\r\n`);
        });
        socket.on("data", (piece) => {
            heard = Buffer.concat([heard, piece]);
            const end = heard.indexOf("\r\n\r\n");
            if (end >= 0 && heard.length === end + 4) {
                // A text of "hello", masked with zeros; then the end of this side's stream.
                socket.end(Buffer.concat([Buffer.from([0x81, 0x85, 0, 0, 0, 0]), Buffer.from("hello")]));
            }
        });
        socket.on("end", () => resolve(heard));
        socket.on("error", reject);
    });
    assert.ok(said.toString("latin1").startsWith("HTTP/1.1 101"), said.toString("latin1"));
    assert.ok(said.includes(Buffer.from([0x81, 5, ...Buffer.from("hello")])), said.toString("latin1"));
}
