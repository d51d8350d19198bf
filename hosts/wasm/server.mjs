// An HTTP server and a WebSocket echo on node:net. Usage: node server.mjs proto.wasm [PORT]
import { readFile } from "node:fs/promises";
import net from "node:net";
import { load } from "./proto.mjs";

const proto = await load(await readFile(process.argv[2]));
const server = net.createServer((stream) => {
    const http = new proto.HttpServer();
    let socket;
    let closing = false;
    const echo = (bytes) => {
        for (const event of socket.receive(bytes)) {
            if (event.kind === "message") socket.send(event.data);
            if (event.kind === "close") closing = true;
        }
    };
    const answer = (bytes) => {
        for (const event of http.receive(bytes)) {
            if (event.kind === "head" && event.head.wantsUpgrade) {
                socket = http.websocket(event.head);
                stream.write(http.output());
                return echo();
            }
            if (event.kind === "paused") http.respond(200, [["Content-Type", "text/plain"]], "Hello, World!");
        }
        if (!http.mustClose && http.written.length && http.rest.length) {
            stream.write(http.output());
            answer(new Uint8Array());
        }
    };
    stream.on("data", (bytes) => {
        let failed = false;
        try {
            if (socket) echo(bytes);
            else answer(bytes);
        } catch (error) {
            failed = true;
            if (!socket) http.respond(error.status ?? 500);
        }
        stream.write(socket ? socket.output() : http.output());
        if (failed || http.mustClose || closing) stream.end();
    });
    stream.on("error", () => {});
    stream.on("close", () => [http, socket].forEach((one) => one?.free()));
});
server.listen(Number(process.argv[3] ?? 8080), "127.0.0.1", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
