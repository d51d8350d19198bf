#!/usr/bin/env python3
"""Fetches files from the example `files` with curl and Python, on every driver, with and without TLS, and compares with nginx.

usage: files.py FILES [--nginx]

With --nginx, nginx serves the same directory, and the statuses and fields of both are compared; the known differences are listed
below with their reasons.
"""

import email.utils
import hashlib
import http.client
import os
import pathlib
import random
import subprocess
import sys
import tempfile

from lib import DRIVERS, PATIENCE, Server, free_port, listening

LONG = 40 << 20
# Sun, 06 Nov 1994 08:49:37 GMT
DATE = 784111777


def make(root):
    """A directory with what the requests below ask for."""
    content = random.Random(1).randbytes(LONG)
    files = {
        "index.html": b"<p>home\n",
        "long.bin": content,
        "small.txt": content[:4096].hex().encode(),
        "empty.txt": b"",
        "sub/index.html": b"<p>sub\n",
        "a b/\u00e4.css": b"p{}\n",
        ".hidden": b"secret\n",
    }
    for name, bytes_ in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes_)
        os.utime(path, (DATE, DATE))
    (root / "link").symlink_to("small.txt")
    os.mkfifo(root / "fifo")
    return content


def curl(*arguments, check=True):
    command = ["curl", "-sS", "-k", "--max-time", str(PATIENCE), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=check)
    return done.stdout


def code(*arguments):
    return curl("-o", "/dev/null", "-w", "%{http_code}", *arguments).decode()


def with_curl(url, root, work, content, *version):
    """Whole files, parts, resumed and conditional downloads."""
    digest = hashlib.sha256(content).digest()
    whole = work / "whole"
    curl(*version, "-o", whole, f"{url}/long.bin")
    assert hashlib.sha256(whole.read_bytes()).digest() == digest, "another file came"
    # A download that was cut off goes on (curl -C -).
    for cut in (1, 100_000, LONG - 1):
        whole.write_bytes(content[:cut])
        curl(*version, "-C", "-", "-o", whole, f"{url}/long.bin")
        assert hashlib.sha256(whole.read_bytes()).digest() == digest, f"resumed at {cut}: another file"
    for asked, wanted in (("0-99", content[:100]), ("-5", content[-5:]), ("1000000-1999999", content[1000000:2000000])):
        assert curl(*version, "-r", asked, f"{url}/long.bin") == wanted, asked
    # Only what is newer (curl -z).
    date = email.utils.formatdate(DATE, usegmt=True)
    before = email.utils.formatdate(DATE - 1, usegmt=True)
    for since, wanted in ((date, "304"), (before, "200")):
        assert code(*version, "-z", since, f"{url}/small.txt") == wanted, since
    tags = work / "etag"
    curl(*version, "--etag-save", tags, "-o", whole, f"{url}/small.txt")
    assert code(*version, "--etag-compare", tags, f"{url}/small.txt") == "304"
    head = curl(*version, "-I", f"{url}/long.bin").lower()
    assert f"content-length: {LONG}".encode() in head and b"accept-ranges: bytes" in head, head
    # curl 7.88 fails where it uses a connection of HTTP/2 without TLS again, to nginx too.
    if "--http2-prior-knowledge" not in version:
        assert curl(*version, "-L", f"{url}/sub") == b"<p>sub\n"
    assert curl(*version, f"{url}/a%20b/%C3%A4.css") == b"p{}\n"
    for path in ("/.hidden", "/link", "/fifo", "/nothing"):
        assert code(*version, f"{url}{path}") == "404", path
    for path in ("/../files.py", "/%2e%2e/files.py", "/sub/../../x", "/..%2fx"):
        assert code(*version, "--path-as-is", f"{url}{path}") == "400", path


def with_python(endpoint, content):
    """Several ranges, as a client of another make reads them; many requests on one connection."""
    peer = http.client.HTTPConnection(*endpoint, timeout=PATIENCE)
    asked = [(5, 105), (1_000_000, 3_000_000), (LONG - 7, LONG)]
    ranges = ", ".join(f"{start}-{end - 1}" for start, end in asked)
    peer.request("GET", "/long.bin", headers={"Range": f"bytes={ranges}"})
    answer = peer.getresponse()
    body = answer.read()
    assert answer.status == 206 and len(body) == int(answer.getheader("Content-Length")), answer.status
    boundary = answer.getheader("Content-Type").removeprefix("multipart/byteranges; boundary=")
    parts = body.removesuffix(f"\r\n--{boundary}--\r\n".encode()).split(f"--{boundary}\r\n".encode())
    assert parts[0] == b"" and len(parts) == 4, len(parts)
    for part, (start, end) in zip(parts[1:], asked):
        head, _, part = part.partition(b"\r\n\r\n")
        part = part[: end - start]
        assert f"Content-Range: bytes {start}-{end - 1}/{LONG}".encode() in head, head
        assert part == content[start:end], (start, end)
    for _ in range(200):
        peer.request("GET", "/small.txt")
        assert peer.getresponse().read() == content[:4096].hex().encode()
    peer.close()


def a_file_that_shrinks(endpoint, root):
    """The answer ends before its announced length, whatever stands behind it."""
    path = root / "shrinks.bin"
    path.write_bytes(b"x" * LONG)
    peer = http.client.HTTPConnection(*endpoint, timeout=PATIENCE)
    peer.request("GET", "/shrinks.bin")
    answer = peer.getresponse()
    answer.read(100_000)
    os.truncate(path, LONG // 2)
    try:
        seen = 100_000 + len(answer.read())
        raise AssertionError(f"{seen} bytes came, as if all was well")
    except (http.client.IncompleteRead, ConnectionError):
        pass
    path.unlink()


NGINX = """
daemon off; worker_processes 1; error_log {work}/error.log; pid {work}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    include /etc/nginx/mime.types; access_log off; sendfile on; max_ranges 16; disable_symlinks on;
    client_body_temp_path {work}/a; proxy_temp_path {work}/b; fastcgi_temp_path {work}/c;
    uwsgi_temp_path {work}/d; scgi_temp_path {work}/e;
    server {{ listen 127.0.0.1:{port}; root {root}; location ~ /\\.(?!well-known) {{ return 404; }} }}
}}
"""

# Path and fields, and what nginx answers otherwise than we do.
DIFFERENT = {
    # nginx says that it may not; to us a link, and a directory without an index, is nothing that is served.
    ("/link", ()): 403,
    ("/a%20b/", ()): 403,
    # nginx compares for the exact date unless told otherwise (if_modified_since); RFC 9110 section 13.1.3 says "not later".
    ("/small.txt", (("If-Modified-Since", email.utils.formatdate(DATE + 5, usegmt=True)),)): 200,
    # nginx refuses a Range field that it cannot read; RFC 9110 section 14.2 permits both.
    ("/small.txt", (("Range", "bytes=5-4"),)): 416,
    ("/small.txt", (("Range", "bytes=a-b"),)): 416,
    # nginx sends an empty file for a range that it does not have.
    ("/empty.txt", (("Range", "bytes=0-0"),)): 200,
}

REQUESTS = [
    ("/", ()),
    ("/index.html", ()),
    ("/sub", ()),
    ("/sub/", ()),
    ("/a%20b/", ()),
    ("/a%20b/%C3%A4.css", ()),
    ("/small.txt", ()),
    ("/small.txt/", ()),
    ("/small.txt/x", ()),
    ("//small.txt", ()),
    ("/./small.txt", ()),
    ("/sub/../small.txt", ()),
    ("/sub/%2e%2e/small.txt", ()),
    ("/../small.txt", ()),
    ("/nothing", ()),
    ("/.hidden", ()),
    ("/link", ()),
    ("/fifo", ()),
    ("/empty.txt", ()),
    *(
        ("/small.txt", ((name, value),))
        for name, value in [
            ("Range", "bytes=0-0"),
            ("Range", "bytes=-1"),
            ("Range", "bytes=100-"),
            ("Range", "bytes=8000-9000"),
            ("Range", "bytes=8192-"),
            ("Range", "bytes=5-4"),
            ("Range", "bytes=a-b"),
            ("Range", "lines=1-2"),
            ("Range", "bytes=0-0, 500-600"),
            ("If-Modified-Since", email.utils.formatdate(DATE, usegmt=True)),
            ("If-Modified-Since", email.utils.formatdate(DATE - 1, usegmt=True)),
            ("If-Modified-Since", email.utils.formatdate(DATE + 5, usegmt=True)),
            ("If-Unmodified-Since", email.utils.formatdate(DATE, usegmt=True)),
            ("If-Unmodified-Since", email.utils.formatdate(DATE - 1, usegmt=True)),
            ("If-None-Match", "*"),
            ("If-None-Match", '"x"'),
            ("If-Match", "*"),
            ("If-Match", '"x"'),
        ]
    ),
    ("/empty.txt", (("Range", "bytes=0-0"),)),
]

# What both must say alike where the status is the same.
FIELDS = ("Content-Length", "Content-Range", "Last-Modified", "Accept-Ranges")


def ask(endpoint, method, path, fields):
    peer = http.client.HTTPConnection(*endpoint, timeout=PATIENCE)
    peer.putrequest(method, path, skip_accept_encoding=True)
    for name, value in fields:
        peer.putheader(name, value)
    peer.endheaders()
    answer = peer.getresponse()
    body = answer.read()
    peer.close()
    multipart = (answer.getheader("Content-Type") or "").startswith("multipart/")
    said = {name: answer.getheader(name) for name in FIELDS if not multipart or name != "Content-Length"}
    return answer.status, said, body if answer.status in (200, 206) and not multipart else None


def beside_nginx(ours, root, work):
    work.mkdir()
    port = free_port()
    config = work / "nginx.conf"
    config.write_text(NGINX.format(work=work, port=port, root=root))
    compared, differ = 0, []
    with listening(["nginx", "-c", str(config), "-e", str(work / "start.log")], port):
        theirs = ("127.0.0.1", port)
        for path, fields in REQUESTS:
            for method in ("GET", "HEAD"):
                mine, his = ask(ours, method, path, fields), ask(theirs, method, path, fields)
                known = DIFFERENT.get((path, fields))
                if method == "HEAD" and fields and fields[0][0] == "Range":
                    # nginx answers HEAD with a range as a GET; to RFC 9110 section 14.2 ranges are for GET alone.
                    assert mine[0] == 200, (path, fields, mine)
                    continue
                compared += 1
                if his[0] != (mine[0] if known is None else known):
                    differ.append(f"{method} {path} {fields}: {mine[0]}, nginx says {his[0]}")
                if known is None and mine[0] in (200, 206, 304):
                    # nginx tells no Accept-Ranges in a 206 and 304.
                    for name in FIELDS if mine[0] == 200 else FIELDS[:3]:
                        if mine[1].get(name) != his[1].get(name):
                            differ.append(f"{method} {path} {fields}: {name}: {mine[1].get(name)}, nginx says {his[1].get(name)}")
                    if mine[2] != his[2]:
                        differ.append(f"{method} {path} {fields}: another content")
    assert not differ, "\n".join(differ)
    print(f"nginx: {compared} answers agree", flush=True)


def certificate(work):
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", work / "key.pem", "-out", work / "cert.pem"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return ["--tls-cert", work / "cert.pem", "--tls-key", work / "key.pem"]


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--nginx"]):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        # nginx has a user of its own.
        work.chmod(0o755)
        root = work / "root"
        root.mkdir()
        content = make(root)
        tls = certificate(work)
        for driver in DRIVERS:
            command = [sys.argv[1], "--root", root, "--driver", driver]
            with Server(*command) as server:
                with_curl(f"http://{server.address}", root, work, content, "--http1.1")
                with_curl(f"http://{server.address}", root, work, content, "--http2-prior-knowledge")
                with_python(server.endpoint, content)
                a_file_that_shrinks(server.endpoint, root)
                if "--nginx" in sys.argv:
                    beside_nginx(server.endpoint, root, work / f"nginx-{driver}")
                server.stop()
            with Server(*command, *tls) as server:
                with_curl(f"https://{server.address}", root, work, content, "--http1.1")
                with_curl(f"https://{server.address}", root, work, content, "--http2")
                server.stop()
            print(f"{driver}: curl and Python get every file, whole and in parts, over HTTP/1.1, HTTP/2 and TLS", flush=True)


if __name__ == "__main__":
    main()
