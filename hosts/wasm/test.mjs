// What the module promises; the same in Node and in a browser. Returns the number of checks.
import { load, ProtoError } from "./proto.mjs";

export async function test(source) {
    let checks = 0;
    const same = (got, wanted) => {
        checks++;
        const [one, other] = [got, wanted].map((value) => JSON.stringify(value));
        if (one !== other) throw new Error(`${one}, not ${other}`);
    };
    const fails = (call, name) => {
        try {
            call();
        } catch (error) {
            same(error instanceof ProtoError && error.name, name);
            return error;
        }
        throw new Error(`no ${name}`);
    };
    const bytes = (string) => new TextEncoder().encode(string);
    const string = (some) => new TextDecoder().decode(some);
    const proto = await load(source);
    same(proto.version, "0.1.0");

    // Heads.
    const head = proto.parseRequest("GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-Y: z\r\n\r\nrest");
    same([head.method, head.path, head.query, head.version, head.keepAlive, head.length], ["GET", "/a", "b=c", 1.1, true, 40]);
    same(head.fields, [["Host", "x"], ["X-Y", "z"]]);
    same(proto.parseRequest("GET / HTTP"), undefined);
    const wrong = fails(() => proto.parseRequest("GET / HTTP/1.1\n\n"), "PROTO_HTTP_BARE_LF");
    same([wrong.section, wrong.status], ["RFC 9112 section 2.2", 400]);
    same(proto.parseResponse("HTTP/1.1 404 Not Found\r\n\r\n").status, 404);

    // A server, byte by byte.
    const server = new proto.HttpServer();
    const kinds = [];
    let content = "";
    for (const byte of bytes("PUT /n HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")) {
        for (const event of server.receive(Uint8Array.of(byte))) {
            kinds.push(event.kind);
            if (event.kind === "data") content += string(event.data);
        }
    }
    same([kinds[0], content, kinds.at(-1) === "paused" || kinds.includes("end")], ["head", "abc", true]);
    fails(() => server.respond(200, [["A", "b\r\nC: d"]]), "PROTO_HTTP_MISUSE_FIELD_VALUE");
    server.respond(200, [["Content-Type", "text/plain"]], "gr\u00fc\u00df dich");
    same(string(server.output()), "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\ngr\u00fc\u00df dich");
    fails(() => server.receive(bytes("GET / HTTP/1.1\r\n\r\n")), "PROTO_HTTP_HOST_MISSING");
    server.free();

    // WebSocket: the handshake, then both roles.
    const http = new proto.HttpServer();
    const client = new proto.WebSocket("client");
    client.send("hello");
    const upgrade = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    const early = new Uint8Array([...bytes(upgrade), ...client.output()]);
    const [asked] = http.receive(early);
    const socket = http.websocket(asked.head);
    same(string(http.output()).includes("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), true);
    same(socket.receive(), [{ kind: "message", data: "hello" }]);
    const large = new Uint8Array(300000).map((_, index) => index * 7);
    client.send(large);
    client.ping("?");
    const stream = client.output();
    const got = [];
    for (let from = 0; from < stream.length; from += 1000) got.push(...socket.receive(stream.slice(from, from + 1000)));
    same(got.map(({ kind }) => kind), ["message", "ping"]);
    same(got[0].data.length === large.length && got[0].data.every((byte, index) => byte === large[index]), true);
    same(client.receive(socket.output()).map(({ kind, data }) => [kind, string(data)]), [["pong", "?"]]);
    socket.close(4000, "enough");
    same(client.receive(socket.output()), [{ kind: "close", data: "enough", code: 4000 }]);
    fails(() => client.send("late"), "PROTO_WS_MISUSE_CLOSED");
    const strict = new proto.WebSocket("server");
    fails(() => strict.receive(Uint8Array.of(0x81, 1, 97)), "PROTO_WS_UNMASKED");
    same(strict.output()[0], 0x88);
    [http, client, socket, strict].forEach((one) => one.free());
    return checks;
}
