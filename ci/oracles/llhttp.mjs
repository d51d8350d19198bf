// What Node's http makes of messages: the same lines in and out as the example `verdicts` of proto-http.
//
// The server and the client are Node's own, over streams in memory; below them is llhttp.
import http from "node:http";
import { Duplex } from "node:stream";
import readline from "node:readline";

/// A connection on which `bytes` arrive.
class Wire extends Duplex {
    written = "";
    _read() {}
    _write(chunk, _encoding, done) {
        this.written += chunk.toString("latin1");
        done();
    }
    setTimeout() {}
    setNoDelay() {}
    setKeepAlive() {}
    ref() {}
    unref() {}
}

/// Until nothing happens any more.
async function quiet(wire) {
    let before = -1;
    for (let calm = 0; calm < 4; ) {
        await new Promise(setImmediate);
        calm = wire.written.length === before ? calm + 1 : 0;
        before = wire.written.length;
    }
}

/// Byte by byte, so that what happens at one is not hidden by what happens at the next.
async function arrive(wire, bytes) {
    const step = bytes.length < 1000 ? 1 : bytes.length;
    for (let at = 0; at < bytes.length; at += step) {
        wire.push(bytes.subarray(at, at + step));
        await new Promise(setImmediate);
    }
}

async function serve(bytes) {
    const verdict = [];
    let error = null;
    const answer = (request, response) => {
        const body = [];
        request.on("data", (piece) => body.push(piece));
        request.on("error", () => {});
        request.on("end", () => {
            verdict.push(`Q ${request.method} ${request.url} ${Buffer.concat(body).toString("hex")}`);
            response.end();
        });
    };
    const server = http.createServer({ keepAlive: true }, answer);
    const wire = new Wire();
    wire.on("error", () => {});
    server.on("checkExpectation", (_, response) => {
        error ??= "expectation";
        response.destroy();
    });
    server.on("connect", (request, socket) => {
        verdict.push(`Q ${request.method} ${request.url} `);
        socket.destroy();
    });
    server.on("clientError", (fault, socket) => {
        error ??= fault.code;
        socket.destroy();
    });
    server.emit("connection", wire);
    await arrive(wire, bytes);
    await quiet(wire);
    const refused = /HTTP\/1\.1 ([45]\d\d)/.exec(wire.written);
    error ??= refused && `status ${refused[1]}`;
    const end = error ? `error ${error}` : wire.destroyed || wire.writableEnded ? "close" : "more";
    wire.destroy();
    server.close();
    return [...verdict, end].join("\t");
}

async function call(method, eof, bytes) {
    const verdict = [];
    let end = null;
    const wire = new Wire();
    const path = method === "CONNECT" ? "h:1" : "/";
    const request = http.request({ method, path, host: "h", createConnection: () => wire });
    request.on("information", (head) => verdict.push(`I ${head.statusCode}`));
    request.on("upgrade", () => (end ??= "switched"));
    request.on("connect", () => (end ??= "switched"));
    request.on("error", (fault) => (end ??= `error ${fault.code}`));
    wire.on("error", () => {});
    request.on("response", (response) => {
        const body = [];
        response.on("data", (piece) => body.push(piece));
        response.on("error", (fault) => (end ??= `error ${fault.code}`));
        response.on("end", () => verdict.push(`S ${response.statusCode} ${Buffer.concat(body).toString("hex")}`));
    });
    request.end();
    await quiet(wire);
    await arrive(wire, bytes);
    await quiet(wire);
    if (eof) wire.push(null);
    await quiet(wire);
    const last = end ?? (wire.destroyed || wire.writableEnded ? "close" : "more");
    wire.destroy();
    return [...verdict, last].join("\t");
}

for await (const line of readline.createInterface({ input: process.stdin })) {
    const [kind, digits] = line.split("\t");
    const [what, method, eof] = kind.split(" ");
    const bytes = Buffer.from(digits, "hex");
    console.log(what === "request" ? await serve(bytes) : await call(method, eof === "eof", bytes));
}
