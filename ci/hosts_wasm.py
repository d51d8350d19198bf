#!/usr/bin/env python3
"""The codecs as WebAssembly: built, held to a size, tested in Node and in Chromium, and a server in Node that is used.

Only the functions that proto.mjs calls are linked. The target has no precompiled core here, so that is built from Debian's sources.

usage: hosts_wasm.py
"""

import asyncio
import gzip
import http.server
import pathlib
import re
import subprocess
import sys
import threading

from hosts_c import OUT, UPGRADE, Example, frame, until
from lib.build import ROOT, TARGET
from lib.tools import command, skipped
from lib.without_std import build_std, linker

HOME = ROOT / "hosts/wasm"
WASM = OUT / "proto.wasm"
# Bytes of the module, and of what gzip makes of it. A change that is worth more raises them.
BUDGET, ZIPPED = 100_000, 42_000

PAGE = """<!doctype html><title>proto</title><script type="module">
import { test } from "./test.mjs";
try {
    document.title = `${await test(await fetch("proto.wasm"))} checks`;
} catch (error) {
    document.title = `failed: ${error.message}`;
}
</script>"""


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], timeout=600, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(str(word) for word in words[:6])}...: exit status {done.returncode}")
    return done


def build():
    target = "wasm32-unknown-unknown"
    words = ["--profile", "small", "-p", "wirestate-c", "--no-default-features", "--features", "alloc", "--crate-type", "staticlib"]
    lld = linker("wasm-ld")
    if not lld:
        skipped(target, "lld is not installed")
        return False
    if not build_std("rustc", [target], *words):
        return False
    used = sorted(set(re.findall(r"\bc\.(proto_\w+)", (HOME / "proto.mjs").read_text())))
    archive = TARGET / "build-std" / target / "small/libproto.a"
    words = [lld, "--no-entry", "--gc-sections", "--strip-all", "--stack-first", "-z", "stack-size=65536", "-O2"]
    exports = [f"--export={name}" for name in used]
    run(*words, "--import-undefined", *exports, archive, "-o", WASM)
    module = WASM.read_bytes()
    zipped = len(gzip.compress(module, 9))
    print(f"proto.wasm: {len(module):,} bytes with {len(used)} functions for JavaScript, {zipped:,} bytes by gzip")
    if len(module) > BUDGET or zipped > ZIPPED:
        sys.exit(f"the module is larger than its budget of {BUDGET:,} and {ZIPPED:,} bytes")
    return True


def node():
    script = f"""
        import {{ readFile }} from "node:fs/promises";
        import {{ test }} from "{HOME}/test.mjs";
        console.log(`node: ${{await test(await readFile("{WASM}"))}} checks`);
    """
    run("node", "--input-type=module", "-e", script)


class Server(Example):
    def __init__(self):
        words = ["node", HOME / "server.mjs", WASM, "0"]
        self.process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])


def served():
    server = Server()
    try:
        with server.connect() as stream:
            stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            got = b""
            while got.count(b"Hello, World!") < 3:
                got += until(stream, b"World!")
        with server.connect() as stream:
            stream.sendall(b"GET / HTTP/1.1\n\n")
            assert until(stream, b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        with server.connect() as stream:
            stream.sendall(UPGRADE + frame(1, b"early"))
            until(stream, b"\x81\x05early")
            stream.sendall(frame(8, b"\x03\xe8"))
            until(stream, b"\x88\x02\x03\xe8")
    finally:
        server.process.kill()
    print("node: an HTTP server and a WebSocket echo on node:net served")


class Files(http.server.SimpleHTTPRequestHandler):
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, *_):
        pass

    def translate_path(self, path):
        return str(WASM if path == "/proto.wasm" else HOME / pathlib.PurePath(path).name)

    def do_GET(self):
        if self.path != "/":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE.encode())


async def chromium():
    try:
        import browser
    except ImportError:
        return skipped("proto.wasm in Chromium", "the Python package websockets is not installed")
    program = browser.find()
    if not program:
        return skipped("proto.wasm in Chromium", "not installed")
    files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=files.serve_forever, daemon=True).start()
    chromium = browser.Browser(program)
    try:
        page = await chromium.page(f"http://127.0.0.1:{files.server_address[1]}/")
        await page.until("document.title !== 'proto'")
        title = await page.value("document.title")
        assert title.endswith(" checks"), title
        print(f"chromium: {title}")
    finally:
        chromium.close()
        files.shutdown()


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    if not build():
        return
    if not command("node"):
        skipped("proto.wasm in Node", "not installed")
    else:
        node()
        served()
    asyncio.run(chromium())


if __name__ == "__main__":
    main()
