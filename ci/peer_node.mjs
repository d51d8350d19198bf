// Node's http and fetch as clients of the testbed. usage: node peer_node.mjs HOST:PORT
import assert from "node:assert/strict";
import http from "node:http";

const [host, port] = process.argv[2].split(":");
const base = `http://${process.argv[2]}`;
const blob = Buffer.alloc(2_000_000, (_, i) => i);
for (let i = 0; i < blob.length; i++) blob[i] = (i * 31 + (i >> 8)) & 255;

// One connection for everything sent through it.
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const sockets = new Set();

function exchange(method, path, { headers = {}, pieces = [], expect = false } = {}) {
    return new Promise((resolve, reject) => {
        let continued = false;
        const request = http.request({ host, port, method, path, headers, agent }, (response) => {
            const content = [];
            response.on("data", (piece) => content.push(piece));
            response.on("end", () =>
                resolve({ status: response.statusCode, headers: response.headers, content: Buffer.concat(content), continued }),
            );
        });
        request.on("socket", (socket) => sockets.add(socket));
        request.on("error", reject);
        const send = () => {
            for (const piece of pieces) request.write(piece);
            request.end();
        };
        if (expect) {
            request.on("continue", () => {
                continued = true;
                send();
            });
            request.flushHeaders();
        } else {
            send();
        }
    });
}

const greeting = await exchange("GET", "/");
assert.equal(greeting.content.toString(), "Hello, World!");
assert.ok(Date.parse(greeting.headers.date) > 0);
const head = await exchange("HEAD", "/");
assert.deepEqual([head.status, head.content.length, head.headers["content-length"]], [200, 0, "13"]);
for (const status of [204, 304]) {
    const answer = await exchange("GET", `/${status}`);
    assert.deepEqual([answer.status, answer.content.length], [status, 0]);
}
assert.equal((await exchange("GET", "/none")).status, 404);
assert.equal((await exchange("DELETE", "/")).headers.allow, "GET, HEAD");

const measured = await exchange("POST", "/echo", { headers: { "Content-Length": blob.length }, pieces: [blob] });
assert.ok(measured.content.equals(blob));
assert.equal(measured.headers["content-length"], String(blob.length));
const chunked = await exchange("POST", "/echo", { pieces: [blob.subarray(0, 1), blob.subarray(1, 99_999), blob.subarray(99_999)] });
assert.ok(chunked.content.equals(blob));
assert.equal(chunked.headers["transfer-encoding"], "chunked");
const asked = await exchange("POST", "/echo", { headers: { Expect: "100-continue" }, pieces: ["hello"], expect: true });
assert.deepEqual([asked.continued, asked.content.toString()], [true, "hello"]);
assert.equal(sockets.size, 1, "the connection was not kept");
agent.destroy();

const fetched = await fetch(base);
assert.deepEqual([fetched.status, await fetched.text()], [200, "Hello, World!"]);
const echoed = await fetch(`${base}/echo`, { method: "POST", body: blob });
assert.ok(Buffer.from(await echoed.arrayBuffer()).equals(blob));
const streamed = await fetch(`${base}/echo`, { method: "POST", body: new Blob([blob]).stream(), duplex: "half" });
assert.ok(Buffer.from(await streamed.arrayBuffer()).equals(blob));
assert.equal((await fetch(`${base}/204`)).status, 204);
assert.equal((await fetch(`${base}/`, { method: "DELETE" })).status, 405);
const many = await Promise.all(Array.from({ length: 50 }, () => fetch(base).then((answer) => answer.text())));
assert.ok(many.every((text) => text === "Hello, World!"));
