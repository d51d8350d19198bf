#!/usr/bin/env python3
"""The example `get`, which is `http-client` as a small curl, on every driver: against a server with faults, nginx, and proxies.

usage: client.py GET

Its exit code must be 0 for a complete answer, and for nothing else. Proxies: one written here (SOCKS5 and CONNECT), microsocks, tinyproxy.
What is not installed is named as SKIPPED.
"""

import asyncio
import gzip
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

from lib import DRIVERS, PATIENCE, free_port, listening, skipped

BODY = bytes(range(256)) * 4000
PAIR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fuzz/bodies/src/tls")


def get(program, driver, *arguments):
    command = [program, "--driver", driver, *arguments]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE)


def head(status="200 OK", *fields):
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *fields, "")).encode()


# Path: the bytes of the answer, how the connection ends ("keep", "close" or "reset"), and the exit code that is right.
LENGTH = f"Content-Length: {len(BODY)}"
ANSWERS = {
    "/whole": (head("200 OK", LENGTH) + BODY, "keep", 0),
    "/to-the-end": (head() + BODY, "close", 0),
    "/chunks": (head("200 OK", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", "keep", 0),
    "/none": (head("204 No Content"), "keep", 0),
    "/early": (head("103 Early Hints", "Link: </a>") + head("200 OK", "Content-Length: 1") + b"x", "keep", 0),
    "/missing": (head("404 Not Found", "Content-Length: 0"), "keep", 1),
    "/short": (head("200 OK", LENGTH) + BODY[:-1], "close", 2),
    "/reset": (head("200 OK", LENGTH) + BODY[:1000], "reset", 2),
    "/reset-to-the-end": (head() + BODY[:1000], "reset", 2),
    "/bad-chunk": (head("200 OK", "Transfer-Encoding: chunked") + b"3\r\nabcX\r\n0\r\n\r\n", "keep", 2),
    "/no-last-chunk": (head("200 OK", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n", "close", 2),
    "/huge-chunk": (head("200 OK", "Transfer-Encoding: chunked") + b"f" * 17 + b"\r\n", "keep", 2),
    "/two-lengths": (head("200 OK", "Content-Length: 1", "Content-Length: 2") + b"ab", "close", 2),
    "/half-a-head": (head("200 OK", LENGTH)[:20], "close", 2),
    "/nothing": (b"", "close", 2),
    "/nonsense": (b"220 mail.test ESMTP\r\n", "close", 2),
    "/cut-gzip": (head("200 OK", "Content-Encoding: gzip") + gzip.compress(BODY)[:-5], "close", 2),
    "/gzip": (head("200 OK", "Content-Encoding: gzip") + gzip.compress(BODY), "close", 0),
    "/bomb": (head("200 OK", "Content-Encoding: gzip") + gzip.compress(bytes(50_000_000)), "close", 0),
    "/loop": (head("302 Found", "Location: /loop", "Content-Length: 0"), "keep", 2),
    "/away": (head("302 Found", "Location: whole", "Content-Length: 4") + b"away", "keep", 0),
    "/mail": (head("302 Found", "Location: mailto:a@b", "Content-Length: 0"), "keep", 2),
}


class Faulty:
    """Serves ANSWERS, in pieces of odd sizes, and counts the requests."""

    def __init__(self):
        self.seen = []
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.main(ready)), daemon=True).start()
        ready.wait()

    async def main(self, ready):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    async def serve(self, reader, writer):
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                method, target, _ = request.decode().split(" ", 2)
                path = "/" + target.removeprefix("http://").split("/", 1)[1]
                self.seen.append(f"{method} {target}")
                if method == "POST":
                    length = int(request.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                    body = await reader.readexactly(length)
                    answer, ends = head("200 OK", f"Content-Length: {length}") + body, "keep"
                else:
                    answer, ends, _ = ANSWERS[path]
                for at in range(0, len(answer), 99_991):
                    writer.write(answer[at : at + 99_991])
                    await writer.drain()
                if ends == "reset":
                    await asyncio.sleep(0.05)
                    writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    writer.transport.abort()
                if ends != "keep":
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def faults(program, server):
    base = f"http://127.0.0.1:{server.port}"
    for driver in DRIVERS:
        for path, (_, _, expected) in ANSWERS.items():
            done = get(program, driver, "-L", "--compressed", base + path)
            assert done.returncode == expected, (driver, path, done.returncode, done.stderr)
        for path in ("/whole", "/to-the-end", "/gzip", "/away"):
            done = get(program, driver, "-L", "--compressed", base + path)
            assert done.stdout == BODY, (driver, path)
        done = get(program, driver, base + "/away")
        assert (done.returncode, done.stdout) == (0, b"away"), done.stderr
        done = get(program, driver, "-d", "a=b", base + "/echo")
        assert (done.returncode, done.stdout) == (0, b"a=b"), done.stderr
        done = get(program, driver, base + "/whole", base + "/short", base + "/whole")
        assert done.returncode == 2, done.stderr
        for url in ("http://127.0.0.1:1/", "http://name.invalid/", "ftp://127.0.0.1/"):
            done = get(program, driver, url)
            assert done.returncode == 2 and done.stderr.startswith(b"get: "), (url, done.stderr)
    print(f"a server with {len(ANSWERS)} kinds of answers: the exit code is 0 only for complete ones")


def to_nginx(program):
    nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if not nginx:
        return skipped("nginx", "not installed")
    port, secure = free_port(), free_port()
    with tempfile.TemporaryDirectory() as work, open(os.path.join(work, "nginx.conf"), "w") as conf:
        os.chmod(work, 0o755)
        with open(f"{work}/file", "wb") as file:
            file.write(BODY)
        conf.write(f"""
            daemon off; master_process off; pid {work}/pid; error_log {work}/errors;
            events {{}}
            http {{
                access_log off; default_type text/plain; gzip on;
                client_body_temp_path {work}/1; proxy_temp_path {work}/2; fastcgi_temp_path {work}/3;
                uwsgi_temp_path {work}/4; scgi_temp_path {work}/5;
                server {{
                    listen 127.0.0.1:{port}; listen 127.0.0.1:{secure} ssl http2; root {work};
                    ssl_certificate {PAIR}/cert.pem; ssl_certificate_key {PAIR}/key.pem;
                    location = /moved {{ return 301 https://localhost:{secure}/file; }}
                }}
            }}""")
        conf.flush()
        with listening([nginx, "-p", work, "-e", f"{work}/errors", "-c", conf.name], port):
            base, tls = f"http://127.0.0.1:{port}", f"https://localhost:{secure}"
            trust = ("--cacert", f"{PAIR}/cert.pem")
            for driver in DRIVERS:
                for arguments, content in (
                    ((f"{base}/file",), BODY),
                    (("--compressed", f"{base}/file"), BODY),
                    (("-r", "0-99", f"{base}/file"), BODY[:100]),
                    (("-r", "-7", f"{tls}/file", *trust), BODY[-7:]),
                    (("-L", f"{base}/moved", *trust), BODY),
                    (("-k", f"https://127.0.0.1:{secure}/file"), BODY),
                    (("-k", "--http1.1", f"{tls}/file"), BODY),
                ):
                    done = get(program, driver, *arguments)
                    assert (done.returncode, done.stdout) == (0, content), (driver, arguments, done.stderr)
                for arguments in ((f"https://127.0.0.1:{secure}/file", *trust), (f"{tls}/file",), (f"http://localhost:{secure}/file",)):
                    assert get(program, driver, *arguments).returncode != 0, arguments
                done = get(program, driver, "-o", f"{work}/copy", f"{tls}/file", *trust)
                assert done.returncode == 0 and done.stdout == b"", done.stderr
                with open(f"{work}/copy", "rb") as copy:
                    assert copy.read() == BODY
    print("nginx: ranges, redirects, compression, TLS, HTTP/2")


class Proxy:
    """SOCKS5 (RFC 1928, 1929) with the credentials me:secret, and CONNECT, on one port."""

    def __init__(self):
        self.tunnels = []
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.main(ready)), daemon=True).start()
        ready.wait()

    async def main(self, ready):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    async def serve(self, reader, writer):
        try:
            first = await reader.readexactly(1)
            to = await (self.socks if first == b"\5" else self.connect)(reader, writer)
            if to is None:
                return
            self.tunnels.append(to)
            far_reader, far_writer = await asyncio.open_connection(*to)
            await asyncio.gather(self.carry(reader, far_writer), self.carry(far_reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def socks(self, reader, writer):
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        if 2 not in methods:
            writer.write(b"\5\xff")
            return None
        # Byte by byte, as a network may carry it.
        for byte in b"\5\2":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.01)
        _, length = await reader.readexactly(2)
        user = await reader.readexactly(length)
        password = await reader.readexactly((await reader.readexactly(1))[0])
        good = (user, password) == (b"me", b"secret")
        writer.write(b"\1\0" if good else b"\1\1")
        if not good:
            return None
        kind = (await reader.readexactly(4))[3]
        if kind == 1:
            host = socket.inet_ntoa(await reader.readexactly(4))
        else:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        writer.write(b"\5\0\0\3\4some\0\0")
        return host, port

    async def connect(self, reader, writer):
        head = b"C" + await reader.readuntil(b"\r\n\r\n")
        if b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n" not in head:
            writer.write(b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n")
            return None
        host, port = head.split(b" ")[1].decode().rsplit(":", 1)
        writer.write(b"HTTP/1.1 200 Go\r\n\r\n")
        return host, int(port)

    async def carry(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except ConnectionError:
            writer.close()


def by_proxies(program, server):
    base = f"http://127.0.0.1:{server.port}/whole"
    own = Proxy()
    for driver in DRIVERS:
        done = get(program, driver, "-x", f"socks5://me:secret@127.0.0.1:{own.port}", base, base)
        assert (done.returncode, done.stdout) == (0, BODY * 2), done.stderr
        # A tunnel by CONNECT is for https; the server behind it speaks no TLS, which is the client's error.
        done = get(program, driver, "-k", "-x", f"http://me:secret@127.0.0.1:{own.port}", base.replace("http", "https"))
        assert done.returncode == 2 and b"TLS" in done.stderr, done.stderr
        for proxy in (f"socks5h://me:wrong@127.0.0.1:{own.port}", f"socks5://127.0.0.1:{own.port}", "socks5://127.0.0.1:1"):
            assert get(program, driver, "-x", proxy, base).returncode == 2
        refused = get(program, driver, "-x", f"127.0.0.1:{own.port}", base.replace("http", "https"))
        assert refused.returncode == 2 and b"407" in refused.stderr, refused.stderr
        before = len(server.seen)
        done = get(program, driver, "-x", f"127.0.0.1:{server.port}", "http://elsewhere.test/whole")
        assert (done.returncode, done.stdout) == (0, BODY), done.stderr
        assert server.seen[before:] == ["GET http://elsewhere.test/whole"]
    assert len(own.tunnels) == 2 * len(DRIVERS), own.tunnels
    print("a proxy of our own: SOCKS5, CONNECT, absolute form, credentials")
    if microsocks := shutil.which("microsocks"):
        port = free_port()
        with listening([microsocks, "-i", "127.0.0.1", "-p", str(port), "-u", "me", "-P", "secret"], port):
            for driver in DRIVERS:
                done = get(program, driver, "-x", f"socks5h://me:secret@127.0.0.1:{port}", base)
                assert (done.returncode, done.stdout) == (0, BODY), done.stderr
        print("microsocks: fetched through")
    else:
        skipped("microsocks", "not installed")
    if tinyproxy := shutil.which("tinyproxy"):
        port = free_port()
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
            conf.write(f"Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\nLogLevel Critical\nBasicAuth me secret\n")
            conf.flush()
            with listening([tinyproxy, "-d", "-c", conf.name], port):
                for driver in DRIVERS:
                    done = get(program, driver, "-x", f"http://me:secret@127.0.0.1:{port}", base)
                    assert (done.returncode, done.stdout) == (0, BODY), done.stderr
                    assert get(program, driver, "-x", f"http://127.0.0.1:{port}", base).returncode != 0
        print("tinyproxy: fetched through")
    else:
        skipped("tinyproxy", "not installed")


def main():
    program = sys.argv[1]
    server = Faulty()
    faults(program, server)
    to_nginx(program)
    by_proxies(program, server)


if __name__ == "__main__":
    main()
