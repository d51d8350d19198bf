#!/usr/bin/env python3
"""Puts nginx, haproxy and Caddy in front of comet, with the configurations of docs/comet-behind-a-proxy.md, on every driver.

usage: comet_proxies.py COMET

The configurations are run as the page has them, except for addresses and the paths of certificates. Clients connect from several addresses
of the loopback network, so that the proxies have several clients. What is not installed is named as SKIPPED.
"""

import base64
import contextlib
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from lib import DRIVERS, PATIENCE, Server, free_port, listening, skipped

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs/comet-behind-a-proxy.md"
PATH = os.environ["PATH"] + ":/usr/sbin"
PROXY, ALICE, BOB, CAROL = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"
# The most connections of one client.
MOST = 2


def blocks(language):
    """The configurations of the page in one language."""
    found = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, f"the page has no block of {language}"
    return found


class Client:
    """A connection from an address, over TLS if there is a certificate."""

    def __init__(self, port, source, authority=None):
        self.stream = socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0))
        try:
            if authority:
                context = ssl.create_default_context(cafile=authority)
                self.stream = context.wrap_socket(self.stream, server_hostname="localhost")
        except BaseException:
            self.stream.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def ask(self, path, *fields, host="localhost"):
        """Sends a request, and returns the status of the answer; None if the connection ends instead."""
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]
        with contextlib.suppress(ConnectionError):
            self.stream.sendall("\r\n".join(lines).encode())
            head = self.hear(b"\r\n\r\n")
            if head:
                return int(head.split()[1])
        return None

    def open(self, *fields, host="localhost"):
        """Asks for a WebSocket. Returns the status."""
        key = base64.b64encode(os.urandom(16)).decode()
        upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
        status = self.ask("/ws", *upgrade, *fields, host=host)
        if status == 101:
            self.hear(b'"welcome"')
        return status

    def hear(self, end):
        heard = b""
        while not heard.endswith(end):
            byte = self.stream.recv(1)
            if not byte:
                assert not heard, heard
                return None
            heard += byte
        return heard


def soon(expected, action):
    """Repeats an action until it has the expected outcome: comet learns a moment later that a client has left."""
    until = time.monotonic() + PATIENCE
    while (outcome := action()) != expected:
        assert time.monotonic() < until, f"{outcome} instead of {expected}"
        time.sleep(0.05)


def opened(port, source, authority=None, fields=()):
    """The status of a WebSocket that is closed at once; None if the connection ends instead."""
    with contextlib.suppress(ConnectionError, ssl.SSLError), Client(port, source, authority) as client:
        return client.open(*fields)
    return None


def counts_clients(port, authority=None, refused=429):
    """Each client may have its connections, whatever it says, and gets its places back."""
    lies = ["X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.2", 'Forwarded: for=192.0.2.3;x="']
    with contextlib.ExitStack() as stack:
        for lie in lies[:MOST]:
            client = stack.enter_context(Client(port, ALICE, authority))
            assert client.open(lie) == 101
        for lie in lies:
            status = opened(port, ALICE, authority, [lie])
            assert status == refused, f"{status} after {lie}"
        reader = stack.enter_context(Client(port, BOB, authority))
        assert reader.ask("/events?channel=news") == 200
        assert opened(port, BOB, authority) == 101
    soon(101, lambda: opened(port, ALICE, authority))


def comet(program, driver, *flags, stderr=subprocess.DEVNULL):
    return Server(program, "--driver", driver, "--max-per-address", str(MOST), *flags, stderr=stderr)


@contextlib.contextmanager
def nginx(home, config, server, authority, key):
    """nginx with a configuration of the page. Gives its port."""
    port = free_port()
    for old, new in {
        "127.0.0.1:8080": server.address,
        "listen 443": f"listen 127.0.0.1:{port}",
        "/etc/ssl/comet.pem": str(authority),
        "/etc/ssl/comet.key": str(key),
    }.items():
        assert old in config, f"the page's nginx lacks {old}"
        config = config.replace(old, new)
    paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    temporary = "".join(f"{path}_temp_path {home}/{path};\n" for path in paths)
    whole = f"daemon off; pid {home}/pid; error_log {home}/errors; events {{}}\nhttp {{ access_log off;\n{temporary}{config}}}\n"
    path = home / "nginx.conf"
    path.write_text(whole)
    program = shutil.which("nginx", path=PATH)
    with listening([program, "-p", home, "-e", home / "errors", "-c", path], port):
        yield port


@contextlib.contextmanager
def haproxy(home, config, server):
    port = free_port()
    for old, new in {"127.0.0.1:8080": server.address, "bind :": f"bind 127.0.0.1:{port} #"}.items():
        assert old in config, f"the page's haproxy lacks {old}"
        config = config.replace(old, new)
    path = home / "haproxy.cfg"
    path.write_text("global\n    maxconn 200\n" + config)
    with listening([shutil.which("haproxy", path=PATH), "-db", "-f", path], port):
        # Until its check has found comet, haproxy closes connections.
        yield port


@contextlib.contextmanager
def caddy(home, config, server, authority, key):
    port = free_port()
    for old, new in {
        "127.0.0.1:8080": server.address,
        "push.example.org {": f"https://localhost:{port} {{\n    bind 127.0.0.1\n    tls {authority} {key}",
    }.items():
        assert old in config, f"the page's Caddy lacks {old}"
        config = config.replace(old, new)
    path = home / "Caddyfile"
    path.write_text("{\n    admin off\n    auto_https disable_redirects\n}\n" + config)
    program = ["env", f"HOME={home}", f"XDG_DATA_HOME={home}", f"XDG_CONFIG_HOME={home}", shutil.which("caddy", path=PATH)]
    with listening([*program, "run", "--config", path, "--adapter", "caddyfile"], port, stderr=subprocess.DEVNULL):
        yield port


def behind_nginx(program, driver, home, authority, key):
    [config] = blocks("nginx")
    origin = "Origin: https://page.example"
    log = home / "comet.log"
    with open(log, "w") as errors, comet(program, driver, "--trusted-proxies", PROXY, stderr=errors) as server:
        with nginx(home, config, server, authority, key) as port:
            counts_clients(port, authority)
            with Client(port, ALICE, authority) as client:
                assert client.open(origin, host="page.example") == 101
        # nginx replaces Host unless it is told not to: then comet needs X-Forwarded-Host.
        keep = "proxy_set_header Host $http_host;"
        assert keep in config
        with nginx(home, config.replace(keep, ""), server, authority, key) as port:
            with Client(port, ALICE, authority) as client:
                assert client.open(origin, host="page.example") == 101
            with Client(port, ALICE, authority) as client:
                assert client.open(origin, host="other.example") == 403
        said = log.read_text()
        assert '"https://page.example"' in said and '"comet"' in said and '"other.example"' in said, said
        assert f"{ALICE} has its {MOST} connections" in said, said
        # From an address that is not trusted, the same fields mean nothing.
        port = server.endpoint[1]
        with Client(port, CAROL) as first, Client(port, CAROL) as second:
            assert first.open("X-Forwarded-For: 192.0.2.1") == second.open("X-Forwarded-For: 192.0.2.2") == 101
            assert opened(port, CAROL, fields=["X-Forwarded-For: 192.0.2.3"]) is None
        soon(403, lambda: opened(port, CAROL, fields=[origin, "X-Forwarded-Host: page.example"]))
        server.stop()


def behind_haproxy(program, driver, home, authority, key):
    announcing, forwarding = blocks("haproxy")
    tls = ["--tls-cert", authority, "--tls-key", key]
    with comet(program, driver, "--proxy-protocol", PROXY, *tls) as server, haproxy(home, announcing, server) as port:
        soon(101, lambda: opened(port, ALICE, authority))
        counts_clients(port, authority, refused=None)
        curl = ["curl", "-sS", "--http2", "--cacert", authority, "-w", "%{http_version}", f"https://localhost:{port}/healthz"]
        done = subprocess.run(curl, capture_output=True, timeout=PATIENCE)
        assert done.stdout == b"ok\n2", done
        speaks_directly(server, authority)
        server.stop()
    with comet(program, driver, "--trusted-proxies", PROXY) as server, haproxy(home, forwarding, server) as port:
        soon(101, lambda: opened(port, ALICE))
        counts_clients(port)
        server.stop()


def behind_caddy(program, driver, home, authority, key):
    [config] = blocks("caddy")
    origin = "Origin: https://page.example"
    with comet(program, driver, "--trusted-proxies", PROXY) as server, caddy(home, config, server, authority, key) as port:
        counts_clients(port, authority)
        # Caddy serves one name, so the page's host is this one.
        with Client(port, ALICE, authority) as client:
            assert client.open(f"Origin: https://localhost:{port}", host=f"localhost:{port}") == 101
        with Client(port, ALICE, authority) as client:
            assert client.open(origin, host=f"localhost:{port}") == 403
        server.stop()


def speaks_directly(server, authority):
    """Connections from the proxy's address must have a header; others have none."""
    with Client(server.endpoint[1], BOB, authority) as client:
        assert client.ask("/healthz") == 200
    try:
        with Client(server.endpoint[1], PROXY, authority) as client:
            assert client.ask("/healthz") is None, "a connection of the proxy without a header was served"
    except (ConnectionError, ssl.SSLError):
        pass


def in_processes(program, driver, home):
    """Several processes, and a successor that takes over the sockets."""
    config = blocks("haproxy")[0]
    flags = ["--proxy-protocol", PROXY, "--prefork", "2", "--drain", "1s", "--handover", home / "handover"]
    with comet(program, driver, *flags) as first, haproxy(home, config, first) as port:
        soon(101, lambda: opened(port, ALICE))
        with comet(program, driver, *flags) as second:
            assert first.process.wait(PATIENCE) == 0
            soon(101, lambda: opened(port, ALICE))
            with Client(second.endpoint[1], BOB) as client:
                assert client.ask("/healthz") == 200
            second.stop()


def main():
    program = sys.argv[1]
    for name in ("nginx", "haproxy", "openssl", "curl"):
        if not shutil.which(name, path=PATH):
            return skipped("comet_proxies.py", f"{name} is not installed")
    # Short: a Unix socket lies in it.
    with tempfile.TemporaryDirectory(prefix="proxies") as home:
        home = pathlib.Path(home)
        authority, key = home / "comet.pem", home / "comet.key"
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        subprocess.run([*new, *names, "-keyout", key, "-out", authority], check=True, capture_output=True)
        for driver in DRIVERS:
            behind_nginx(program, driver, home, authority, key)
            print(f"nginx in front of comet on {driver}: clients counted, whatever they say; the page's origin known")
            behind_haproxy(program, driver, home, authority, key)
            print(f"haproxy in front of comet on {driver}: clients counted, by header and by field; TLS and HTTP/2 behind the header")
            if shutil.which("caddy", path=PATH):
                behind_caddy(program, driver, home, authority, key)
                print(f"Caddy in front of comet on {driver}: clients counted, whatever they say; the page's origin known")
            else:
                skipped("Caddy in front of comet", "it is not installed")
            in_processes(program, driver, home)
            print(f"haproxy in front of several processes on {driver}, and of their successor")


if __name__ == "__main__":
    main()
