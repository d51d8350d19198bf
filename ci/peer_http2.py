#!/usr/bin/env python3
"""Other people's clients and servers of HTTP/2, and the hpack package of Python beside our coder.

usage: peer_http2.py TESTBED PEER

TESTBED serves on every driver: curl, nghttp, h2load, node and Python's h2 talk to it, with WebSocket inside a stream, and over TLS a headless
Chromium, which opens its WebSocket inside the connection that it has. PEER is the example of proto-h2: it gets from nghttpd, nginx and node,
and its coder passes blocks to and from Python's. What is not installed is named as SKIPPED.
"""

import asyncio
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile

from lib import DRIVERS, PATIENCE, Server
from lib.process import free_port, wait_for_port

SIZE = 300_000

NODE_CLIENT = """
const http2 = require('http2'), address = process.argv[1];
const session = http2.connect('http://' + address);
session.on('error', (error) => { console.log('error', error.message); process.exit(1); });
session.once('remoteSettings', () => {
  let left = 20;
  for (let n = 0; n < 20; n++) {
    const request = session.request({ ':path': '/' });
    request.on('response', (head) => { if (head[':status'] !== 200) process.exit(2); });
    request.resume().on('end', () => { if (--left === 0) websocket(); });
  }
});
function websocket() {
  const stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/ws', 'sec-websocket-version': '13' },
    { endStream: false });
  stream.on('response', (head) => {
    if (head[':status'] !== 200) process.exit(3);
    stream.write(Buffer.concat([Buffer.from([0x81, 0x85, 0, 0, 0, 0]), Buffer.from('hello')]));
  });
  stream.on('data', (data) => {
    console.log(data.toString('hex'));
    if (data[0] === 0x81) stream.write(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 3, 0xe8]));
  });
  stream.on('end', () => { stream.end(); session.close(); });
}
"""

NODE_SERVER = """
const http2 = require('http2');
const server = http2.createServer();
server.on('stream', (stream, head) => {
  stream.respond({ ':status': 200, 'content-type': 'text/plain', 'x-path': head[':path'] });
  stream.end('x'.repeat(300000));
});
server.listen(Number(process.argv[1]), '127.0.0.1');
"""


def have(*names):
    missing = [name for name in names if not shutil.which(name)]
    for name in missing:
        print(f"SKIPPED: {name} is not installed")
    return not missing


def output(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, (command, done.stdout[-500:], done.stderr[-500:])
    return done.stdout


def curl(address, folder):
    if not have("curl") or b"HTTP2" not in output("curl", "--version"):
        return
    ask = ["curl", "-sS", "--max-time", "10", "--http2-prior-knowledge"]
    assert output(*ask, f"http://{address}/") == b"Hello, World!"
    head = output(*ask, "-I", f"http://{address}/")
    assert head.startswith(b"HTTP/2 200") and b"content-length: 13" in head, head
    assert output(*ask, "--data-binary", f"@{folder}/body", f"http://{address}/echo") == b"x" * SIZE
    told = output(*ask, "-o", "/dev/null", "-w", "%{http_version} %{http_code}", f"http://{address}/none")
    assert told == b"2 404", told
    # The same port serves HTTP/1.1, and rejects h2c upgrades.
    assert output("curl", "-sS", "--max-time", "10", "--http2", f"http://{address}/") == b"Hello, World!"


def nghttp(address, folder):
    if have("nghttp"):
        assert output("nghttp", f"http://{address}/") == b"Hello, World!"
        assert output("nghttp", "-d", f"{folder}/body", f"http://{address}/echo") == b"x" * SIZE
    if have("h2load"):
        for streams in (1, 16, 100):
            told = output("h2load", "-n", 4000, "-c", 8, "-m", streams, f"http://{address}/").decode()
            assert "4000 succeeded, 0 failed, 0 errored" in told, told


def node(address):
    if have("node"):
        told = output("node", "-e", NODE_CLIENT, address).split()
        assert told == [b"810568656c6c6f", b"880203e8"], told


def python_h2(endpoint):
    """Padding, priorities and credit by hand."""
    try:
        import h2.config
        import h2.connection
        import h2.events
    except ImportError:
        print("SKIPPED: the package h2 is not installed")
        return
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    head = [(":method", "POST"), (":scheme", "http"), (":path", "/echo"), (":authority", "a"), ("cookie", "a=b"), ("cookie", "c=d")]
    with socket.create_connection(endpoint, timeout=PATIENCE) as server:
        connection.send_headers(1, head, priority_weight=3, priority_depends_on=0)
        for _ in range(3):
            connection.send_data(1, b"y" * 1000, pad_length=200)
        connection.send_headers(1, [("x-trailer", "1")], end_stream=True)
        connection.ping(b"12345678")
        body, seen = b"", set()
        while h2.events.StreamEnded not in seen:
            server.sendall(connection.data_to_send())
            data = server.recv(65536)
            assert data, "the connection ended"
            for event in connection.receive_data(data):
                seen.add(type(event))
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, 1)
                assert not isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)), event
        assert body == b"y" * 3000 and h2.events.PingAckReceived in seen, (len(body), seen)


# Requests a page, echoes through a WebSocket, requests again; reports the protocol of the page and of the responses.
IN_THE_PAGE = """new Promise((done) => {
  const fetched = [];
  const ask = () => fetch("/", {cache: "no-store"}).then((answer) => answer.text()).then((text) => fetched.push(text));
  const socket = new WebSocket(location.origin.replace("https", "wss") + "/ws");
  socket.onerror = () => done("error");
  socket.onopen = () => ask().then(() => socket.send("hello"));
  socket.onmessage = (message) => {
    const answer = message.data;
    ask().then(() => {
      const entries = performance.getEntries().filter((entry) => "nextHopProtocol" in entry);
      done(JSON.stringify([answer, fetched, [...new Set(entries.map((entry) => entry.nextHopProtocol))]]));
    });
  };
})"""


async def in_chromium(program, server):
    import browser

    chromium = browser.Browser(program, "--ignore-certificate-errors")
    try:
        page = await chromium.page(f"https://{server.address}/")
        told = await page.value(IN_THE_PAGE)
        assert told == '["hello",["Hello, World!","Hello, World!"],["h2"]]', told
        # The WebSocket is a stream of the page's connection (RFC 8441): there is no other.
        connections = established(server.endpoint[1])
        assert connections == 1, f"{connections} connections"
    finally:
        chromium.close()


def established(port):
    """Returns the number of connections of the server on `port`."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in list(table)[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def chromium(testbed, driver, folder):
    try:
        import browser
    except ImportError:
        print("SKIPPED: Chromium, as the package websockets is not installed")
        return
    program = browser.find()
    if not program:
        print("SKIPPED: Chromium is not installed")
        return
    if not have("openssl"):
        return
    key, certificate = os.path.join(folder, "key.pem"), os.path.join(folder, "certificate.pem")
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    output("openssl", *new, "-keyout", key, "-out", certificate)
    with Server(testbed, "--driver", driver, "--tls-cert", certificate, "--tls-key", key) as server:
        asyncio.run(in_chromium(program, server))
        server.stop()


NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; events {{}}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port} http2; root {folder}; }}
}}
"""


def servers(peer, folder):
    paths = ["/"] * 30
    path = f"{os.environ['PATH']}:/usr/sbin"
    nginx = shutil.which("nginx", path=path)
    if nginx:
        port, config = free_port(), os.path.join(folder, "nginx.conf")
        with open(os.path.join(folder, "index.html"), "wb") as file:
            file.write(b"x" * SIZE)
        with open(config, "w") as file:
            file.write(NGINX.format(folder=folder, port=port))
        # nginx serves as another user, which must be able to read the folder.
        os.chmod(folder, 0o755)
        server = subprocess.Popen([nginx, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        gets(peer, port, server, paths)
    else:
        print("SKIPPED: nginx is not installed")
    if have("nghttpd"):
        with open(os.path.join(folder, "index.html"), "wb") as file:
            file.write(b"x" * SIZE)
        port = free_port()
        server = subprocess.Popen(["nghttpd", "--no-tls", "-d", folder, str(port)], stdout=subprocess.DEVNULL)
        gets(peer, port, server, paths)
    if have("node"):
        port = free_port()
        server = subprocess.Popen(["node", "-e", NODE_SERVER, str(port)])
        gets(peer, port, server, paths)


def gets(peer, port, server, paths):
    try:
        wait_for_port(port, server)
        lines = output(peer, "get", f"127.0.0.1:{port}", *paths).decode().split("\n")
        assert lines[:-1] == [f"{2 * n + 1} 200 {SIZE}" for n in range(len(paths))], lines
    finally:
        server.terminate()
        server.wait(PATIENCE)


def coder(peer):
    try:
        import hpack
    except ImportError:
        print("SKIPPED: the package hpack is not installed")
        return
    numbers = random.Random(7541)
    names = [b":path", b"cookie", b"date", b"x-request-id", b"accept-encoding", b"authorization", b"content-type"]
    with subprocess.Popen([peer, "hpack"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(line):
            process.stdin.write(line + "\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        encoder, decoder = hpack.Encoder(), hpack.Decoder()
        for _ in range(3000):
            fields = []
            for _ in range(numbers.randrange(1, 8)):
                length = numbers.choice([0, 1, 5, 30, 200])
                value = bytes(numbers.choice(b"abc 0123/;=-\xc3\xa4~") for _ in range(length))
                fields.append((numbers.choice(names), numbers.choice([value, b"gzip, deflate", b"/"])))
            text = " ".join(f"{name.hex()}={value.hex()}" for name, value in fields)
            told = ask("d " + encoder.encode(fields, huffman=numbers.random() < 0.7).hex())
            assert told == text, (told, text)
            told = decoder.decode(bytes.fromhex(ask("e " + text)), raw=True)
            assert [(bytes(name), bytes(value)) for name, value in told] == fields, (told, fields)
            if numbers.random() < 0.02:
                encoder.header_table_size = numbers.choice([0, 100, 1000, 4096])
        process.stdin.close()


def main():
    testbed, peer = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "body"), "wb") as file:
            file.write(b"x" * SIZE)
        for driver in DRIVERS:
            with Server(testbed, "--driver", driver) as server:
                curl(server.address, folder)
                nghttp(server.address, folder)
                node(server.address)
                python_h2(server.endpoint)
                server.stop()
            chromium(testbed, driver, folder)
        servers(peer, folder)
    coder(peer)
    print("HTTP/2 peers: ok")


main()
