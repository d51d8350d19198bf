#!/usr/bin/env python3
"""Lets other people's HTTP clients talk to the testbed, and the example `get` to other people's servers, on every driver.

usage: peers_http.py TESTBED GET

Clients: Python's http.client, the Python package `requests`, Node's http and fetch. Servers: Python's http.server, nginx.
What is not installed is named as SKIPPED.
"""

import contextlib
import http.client
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile

from lib import DRIVERS, PATIENCE, Server, free_port, listening, skipped

try:
    import requests
except ImportError:
    requests = None

HERE = os.path.dirname(os.path.abspath(__file__))
GREETING = b"Hello, World!"
BLOB = random.Random(3).randbytes(3_000_000)


def with_http_client(address):
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)

    def exchange(method, path, status, body=None, headers={}, **options):
        connection.request(method, path, body, headers, **options)
        response = connection.getresponse()
        content = response.read()
        assert response.status == status, (method, path, response.status)
        assert response.version == 11 and response.getheader("Date")
        return response, content

    response, content = exchange("GET", "/", 200)
    assert content == GREETING and response.getheader("Content-Type") == "text/plain"
    # All following requests use the same connection.
    first = connection.sock
    response, content = exchange("HEAD", "/", 200)
    assert content == b"" and response.getheader("Content-Length") == str(len(GREETING))
    for status in (204, 304):
        response, content = exchange("GET", f"/{status}", status)
        assert content == b"" and response.getheader("Content-Length") is None
    assert exchange("GET", "/none", 404)[1] == b""
    assert exchange("PUT", "/echo", 405)[0].getheader("Allow") == "POST"
    for body in (b"", b"x", BLOB):
        response, content = exchange("POST", "/echo", 200, body, {"Content-Type": "a/b"})
        assert content == body and response.getheader("Content-Length") == str(len(body))
        assert response.getheader("Content-Type") == "a/b"
    pieces = [BLOB[:1], BLOB[1:70_000], BLOB[70_000:]]
    response, content = exchange("POST", "/echo", 200, iter(pieces), encode_chunked=True)
    assert content == BLOB and response.getheader("Transfer-Encoding") == "chunked"
    assert connection.sock is first, "the connection was not kept"
    # An HTTP/1.0 client gets no chunks, and the connection closes.
    connection.close()
    connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"
    response, content = exchange("GET", "/", 200)
    assert content == GREETING and response.getheader("Connection") == "close"


def read_response(stream, method="GET"):
    response = http.client.HTTPResponse(stream, method=method)
    response.begin()
    return response.status, response.read()


def with_sockets(address):
    """Requests that no client library makes: pipelining, 100-continue, errors."""
    get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.create_connection(address, PATIENCE) as peer:
        peer.sendall(get * 500 + b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        peer.shutdown(socket.SHUT_WR)
        everything = b"".join(iter(lambda: peer.recv(65536), b""))
        assert everything.count(b"HTTP/1.1 200 OK\r\n") == 501 and everything.count(GREETING) == 500
        assert everything.endswith(b"\r\n\r\n") and everything.count(b"Connection: close\r\n") == 1
    with socket.create_connection(address, PATIENCE) as peer:
        peer.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert peer.recv(len(interim), socket.MSG_WAITALL) == interim
        peer.sendall(b"hello")
        assert read_response(peer) == (200, b"hello")
    for request, status in (
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    ):
        with socket.create_connection(address, PATIENCE) as peer:
            peer.sendall(request + get)
            assert read_response(peer)[0] == status, request[:60]
            # Requests after a broken one are not answered.
            with contextlib.suppress(ConnectionResetError):
                assert peer.recv(1) == b"", request[:60]


def with_requests(address):
    url = "http://%s:%d" % address
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(url + "/?a=b", timeout=PATIENCE)
        assert (answer.status_code, answer.content) == (200, GREETING)
        assert session.head(url + "/", timeout=PATIENCE).headers["Content-Length"] == str(len(GREETING))
        assert session.get(url + "/204", timeout=PATIENCE).status_code == 204
        assert session.delete(url + "/", timeout=PATIENCE).status_code == 405
        assert session.post(url + "/echo", data=BLOB, timeout=PATIENCE).content == BLOB
        pieces = (BLOB[at : at + 50_000] for at in range(0, len(BLOB), 50_000))
        assert session.post(url + "/echo", data=pieces, timeout=PATIENCE).content == BLOB
        files = {"file": ("name", BLOB[:1000])}
        assert BLOB[:1000] in session.post(url + "/echo", files=files, timeout=PATIENCE).content
        pools = session.get_adapter(url).poolmanager.pools
        assert [pools[key].num_connections for key in pools.keys()] == [1], "the connection was not kept"


def get(program, driver, *arguments):
    command = [program, "--driver", driver, *arguments]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE)


def fetch(program, driver, base, files, chunks=None):
    """Fetches existing resources of the server at `base`, one by one and together, and then missing ones."""
    for name, content in files.items():
        done = get(program, driver, f"{base}/{name}")
        assert (done.returncode, done.stdout) == (0, content), (name, done.stderr)
    done = get(program, driver, *(f"{base}/{name}" for name in files))
    assert (done.returncode, done.stdout) == (0, b"".join(files.values())), done.stderr
    done = get(program, driver, "--head", *(f"{base}/{name}" for name in files))
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    done = get(program, driver, f"{base}/none")
    assert done.returncode == 1 and done.stderr.startswith(b"404 "), done.stderr


def to_servers(program):
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        files = {"empty": b"", "small": b"small\n", "large": BLOB}
        for name, content in files.items():
            with open(os.path.join(root, name), "wb") as file:
                file.write(content)
        for version in ("HTTP/1.0", "HTTP/1.1"):
            port = free_port()
            command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", root]
            with listening([*command, "--protocol", version, str(port)], port):
                for driver in DRIVERS:
                    fetch(program, driver, f"http://127.0.0.1:{port}", files)
            print(f"Python's http.server, {version}: fetched from")
        if nginx := shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"):
            to_nginx(nginx, program, root, files)
        else:
            skipped("nginx", "not installed")


def to_nginx(nginx, program, root, files):
    port = free_port()
    sent = os.path.join(root, "large")
    with tempfile.TemporaryDirectory() as work, open(os.path.join(work, "nginx.conf"), "w") as conf:
        os.chmod(work, 0o755)
        # /form answers in chunks, since what SSI makes has no length; /sent proxies to a location that keeps what it gets.
        conf.write(f"""
            daemon off; master_process off; pid {work}/pid; error_log {work}/errors;
            events {{}}
            http {{
                access_log off;
                client_body_temp_path {work}/1; proxy_temp_path {work}/2; fastcgi_temp_path {work}/3;
                uwsgi_temp_path {work}/4; scgi_temp_path {work}/5;
                client_max_body_size 10m; default_type text/plain;
                server {{
                    listen 127.0.0.1:{port}; root {root};
                    location = /made {{ ssi on; ssi_types *; alias {root}/small; }}
                    location = /sent {{ proxy_pass http://127.0.0.1:{port}/kept; proxy_request_buffering on; }}
                    location = /kept {{ return 200 '$http_content_length'; }}
                    location = /few {{ keepalive_requests 1; alias {root}/small; }}
                }}
            }}""")
        conf.flush()
        # Given twice, because nginx writes to its built-in path until it has read its configuration.
        command = [nginx, "-p", work, "-e", f"{work}/errors", "-c", conf.name]
        with listening(command, port):
            base = f"http://127.0.0.1:{port}"
            for driver in DRIVERS:
                fetch(program, driver, base, files)
                done = get(program, driver, f"{base}/made", f"{base}/made")
                assert (done.returncode, done.stdout) == (0, files["small"] * 2), done.stderr
                done = get(program, driver, f"{base}/few", f"{base}/few")
                assert (done.returncode, done.stdout) == (0, files["small"] * 2), done.stderr
                for chunked in ([], ["--chunked"]):
                    done = get(program, driver, "--send", sent, *chunked, f"{base}/sent")
                    assert (done.returncode, done.stdout) == (0, b"%d" % len(BLOB)), done.stderr
    print("nginx: fetched from, and sent to")


def main():
    testbed, program = sys.argv[1:]
    node = shutil.which("node")
    for driver in DRIVERS:
        with Server(testbed, "--driver", driver) as server:
            address = server.endpoint
            with_http_client(address)
            with_sockets(address)
            if requests:
                with_requests(address)
            if node:
                subprocess.run([node, os.path.join(HERE, "peer_node.mjs"), server.address], check=True, timeout=PATIENCE)
            server.stop()
        print(f"{driver}: http.client{', requests' if requests else ''}{', Node' if node else ''} and bare sockets agree")
    if not requests:
        skipped("requests", "the Python package is not installed")
    if not node:
        skipped("Node", "not installed")
    to_servers(program)


if __name__ == "__main__":
    main()
