// The codecs in JavaScript: libproto as WebAssembly, for Node and for browsers. README.md shows how to use it.

const EVENT = 1;
const HTTP_KINDS = ["head", "data", "end", "paused", "closed", "informational", "switched"];
const WS_KINDS = ["message", "part", "ping", "pong", "close"];
const ROLES = { server: 0, client: 1 };
const utf8 = new TextEncoder();
const text = new TextDecoder();
const binary = new TextDecoder("latin1");

/// An error of the library: `name`, such as PROTO_HTTP_BARE_LF, and `section`, such as RFC 9112 section 2.2.
export class ProtoError extends Error {
    constructor(name, section, status) {
        super(section ? `${name} (${section})` : name);
        Object.assign(this, { name, section, status });
    }
}

/// Loads the library from the bytes of proto.wasm, or from a `Response` of `fetch`.
export async function load(source) {
    const env = { proto_random: (at, length) => crypto.getRandomValues(new Uint8Array(c.memory.buffer, at, length)) };
    const bytes = source instanceof Response ? await source.arrayBuffer() : source;
    const c = (await WebAssembly.instantiate(bytes, { env })).instance.exports;

    // The memory moves when it grows, so views are made anew.
    const view = () => new DataView(c.memory.buffer);
    const at = (place, length) => new Uint8Array(c.memory.buffer, place, length);
    const allocate = (size) => c.proto_wasm_alloc(size) || raise(-6);
    const copied = (place) => at(view().getUint32(place, true), view().getUint32(place + 4, true)).slice();
    const string = (place) => {
        const all = at(place, 64);
        return binary.decode(all.subarray(0, all.indexOf(0)));
    };

    function raise(code) {
        throw new ProtoError(string(c.proto_error_name(code)), string(c.proto_error_section(code)), c.proto_error_status(code));
    }
    const checked = (code) => (code < 0 ? raise(code) : code);
    const bytesOf = (data) => (typeof data === "string" ? utf8.encode(data) : data);

    /// Calls with bytes in the library's memory, each as address and length.
    function lend(all, call) {
        const places = all.map((bytes) => [allocate(bytes.length), bytes.length]);
        try {
            places.forEach(([place], index) => at(place, all[index].length).set(all[index]));
            return call(...places.flat());
        } finally {
            places.forEach(([place, length]) => c.proto_wasm_free(place, length));
        }
    }

    /// What a head says. Its bytes are copied.
    function headAt(place) {
        const seen = view();
        const count = c.proto_http_field_list(place + 24, 0, 0);
        const list = allocate(16 * count + 24);
        c.proto_http_field_list(place + 24, list, count);
        const fields = Array.from({ length: count }, (_, index) =>
            [0, 8].map((part) => binary.decode(copied(list + 16 * index + part))));
        const status = seen.getUint16(place + 52, true);
        const head = { fields, version: seen.getUint8(place + 54) / 10, keepAlive: seen.getUint8(place + 55) === 1 };
        if (status) {
            Object.assign(head, { status, reason: binary.decode(copied(place + 16)) });
        } else {
            const [method, target] = [0, 8].map((part) => binary.decode(copied(place + part)));
            const parts = list + 16 * count;
            const known = c.proto_http_path(place, parts, parts + 8) === 0;
            Object.assign(head, { method, target, path: known ? binary.decode(copied(parts)) : undefined });
            if (known && view().getUint32(parts + 8, true)) head.query = binary.decode(copied(parts + 8));
            head.expectsContinue = seen.getUint8(place + 56) === 1;
            head.wantsUpgrade = seen.getUint8(place + 57) === 1;
        }
        c.proto_wasm_free(list, 16 * count + 24);
        return head;
    }

    /// Input that waits, a state, and a place for events; freed by `free`.
    class Receiver {
        constructor(size, begin) {
            this.size = size + 128;
            this.place = allocate(this.size); // the state, then `used`, then the event
            this.used = this.place + size;
            this.event = this.used + 8;
            this.rest = new Uint8Array();
            begin?.(this.place);
        }

        free() {
            c.proto_wasm_free(this.place, this.size);
            this.place = 0;
        }

        /// All events that `bytes` complete. The bytes that are left wait for the next ones.
        drain(bytes, next, make) {
            const events = [];
            const input = new Uint8Array(this.rest.length + bytes.length);
            input.set(this.rest);
            input.set(bytes, this.rest.length);
            const place = allocate(input.length);
            at(place, input.length).set(input);
            let from = 0;
            try {
                for (;;) {
                    const code = next(place + from, input.length - from);
                    from += view().getUint32(this.used, true);
                    if (checked(code) !== EVENT) break;
                    const event = make();
                    events.push(event);
                    if (event.kind === "paused" || event.kind === "closed" || event.kind === "switched" || event.stops) break;
                }
            } catch (error) {
                error.events = events;
                throw error;
            } finally {
                this.rest = at(place + from, input.length - from).slice();
                c.proto_wasm_free(place, input.length);
            }
            return events;
        }
    }

    /// The server's side of an HTTP/1.1 connection.
    class HttpServer extends Receiver {
        constructor() {
            super(56, (place) => c.proto_http_server_init(place));
            this.written = [];
        }

        /// Takes bytes of the client; returns events. After a head, answer before you hand in more. Throws a `ProtoError` with the
        /// `status` to answer and the `events` before it.
        receive(bytes) {
            const next = (place, length) => c.proto_http_server_next(this.place, 0, place, length, this.used, this.event);
            return this.drain(bytes, next, () => {
                const kind = HTTP_KINDS[view().getUint32(this.event, true)];
                if (kind === "head") {
                    const head = headAt(this.event + 8);
                    // What waits behind an upgrade belongs to the next protocol.
                    return { kind, head, stops: head.wantsUpgrade };
                }
                return kind === "data" ? { kind, data: copied(this.event + 72) } : { kind };
            });
        }

        /// Answers with a whole response; `fields` is a list of pairs.
        respond(status, fields = [], body = "") {
            this.write(fields, bytesOf(body), (list, count, data, length, out) =>
                c.proto_http_server_respond(this.place, status, list, count, data, length, 0, out));
        }

        /// Hands the connection to another protocol, as `websocket` does for its own.
        switch(status, fields) {
            this.write(fields, new Uint8Array(), (list, count, data, length, out) =>
                c.proto_http_server_switch(this.place, status, list, count, out));
        }

        /// Answers the head of a request for WebSocket, and returns the server's side of it. The bytes behind the head are its first.
        websocket(head) {
            const key = head.fields.find(([name]) => name.toLowerCase() === "sec-websocket-key")?.[1] ?? "";
            this.switch(101, [["Upgrade", "websocket"], ["Connection", "Upgrade"], ["Sec-WebSocket-Accept", accept(key)]]);
            const socket = new WebSocket("server");
            socket.rest = this.rest;
            return socket;
        }

        write(fields, body, call) {
            const all = fields.flat().map(bytesOf);
            const room = body.length + all.reduce((sum, part) => sum + part.length + 4, 0) + 512;
            lend([body, new Uint8Array(room), new Uint8Array(16 * fields.length), new Uint8Array(12), ...all], (...places) => {
                const [data, length, memory, , list, , out] = places;
                for (let index = 0; index < 2 * all.length; index++) {
                    view().setUint32(list + 4 * index, places[8 + index], true);
                }
                [memory, room, 0].forEach((word, index) => view().setUint32(out + 4 * index, word, true));
                checked(call(list, fields.length, data, length, out));
                this.written.push(at(memory, view().getUint32(out + 8, true)).slice());
            });
        }

        /// Takes the bytes that are to be sent.
        output() {
            return joined(this.written.splice(0));
        }

        get mustClose() {
            return c.proto_http_server_must_close(this.place) === 1;
        }
    }

    /// A WebSocket connection after its opening handshake, of a "server" or a "client".
    class WebSocket extends Receiver {
        constructor(role) {
            super(0);
            this.socket = c.proto_ws_new(ROLES[role] ?? raise(-5), 0);
        }

        free() {
            c.proto_ws_free(this.socket);
            super.free();
        }

        /// Takes bytes of the peer; returns events: `kind`, and `data`, a string or bytes. Pings are answered. Throws a `ProtoError`; the Close
        /// frame that reports it is in the output.
        receive(bytes = new Uint8Array()) {
            const next = (place, length) => c.proto_ws_next(this.socket, place, length, this.used, this.event);
            return this.drain(bytes, next, () => {
                const seen = view();
                const kind = WS_KINDS[seen.getUint32(this.event, true)];
                const isText = seen.getUint8(this.event + 4) === 1;
                const data = copied(this.event + 8);
                const event = { kind, data: isText ? text.decode(data) : data };
                return kind === "close" ? { ...event, code: seen.getUint16(this.event + 6, true) } : event;
            });
        }

        /// Sends a message: a string as text, bytes as they are.
        send(data) {
            lend([bytesOf(data)], (place, length) => checked(c.proto_ws_message(this.socket, typeof data === "string", place, length)));
        }

        ping(data = "") {
            lend([bytesOf(data)], (place, length) => checked(c.proto_ws_ping(this.socket, place, length)));
        }

        close(code = 1000, reason = "") {
            lend([bytesOf(reason)], (place, length) => checked(c.proto_ws_close(this.socket, code, place, length)));
        }

        /// Takes the bytes that are to be sent.
        output() {
            const place = allocate(8);
            c.proto_ws_output(place, this.socket);
            const bytes = copied(place);
            c.proto_wasm_free(place, 8);
            c.proto_ws_sent(this.socket, bytes.length);
            return bytes;
        }
    }

    function parse(call, bytes) {
        return lend([bytesOf(bytes), new Uint8Array(80)], (data, length, place) => {
            if (checked(call(data, length, 0, place, place + 72)) !== EVENT) return undefined;
            return { ...headAt(place), length: view().getUint32(place + 72, true) };
        });
    }

    /// The Sec-WebSocket-Accept that answers a key.
    function accept(key) {
        return lend([utf8.encode(key), new Uint8Array(28)], (place, length, value) => {
            checked(c.proto_ws_accept(place, length, value));
            return binary.decode(at(value, 28));
        });
    }

    return {
        HttpServer,
        WebSocket,
        accept,
        /// The head of a request, with its `length`; undefined if it is not complete.
        parseRequest: (bytes) => parse(c.proto_http_request_parse, bytes),
        parseResponse: (bytes) => parse(c.proto_http_response_parse, bytes),
        version: string(c.proto_version_text()),
    };
}

function joined(parts) {
    const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    parts.reduce((place, part) => (all.set(part, place), place + part.length), 0);
    return all;
}
