#!/usr/bin/env python3
"""The C library: installed, linked in every way, tested under valgrind and the address sanitizer, its examples used.

usage: hosts_c.py [--header | --speed]

--header writes include/proto.h anew. --speed compares with picohttpparser and llhttp, which it takes from Python's packages.
"""

import argparse
import filecmp
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile

from lib.build import ROOT, TARGET
from lib.tools import command, skipped

HOME = ROOT / "hosts/c"
OUT = TARGET / "c"
PREFIX = OUT / "prefix"
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wno-sign-conversion", "-Werror", "-pedantic", "-g"]
NEEDS = ["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl"]


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], timeout=300, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(str(word) for word in words)}: exit status {done.returncode}")
    return done


def header(write):
    """The header is what cbindgen makes of the sources."""
    cbindgen = command("cbindgen")
    if not cbindgen:
        install = ["install", "--quiet", "--locked", "--debug", "--root", TARGET / "tools", "cbindgen@0.29.4"]
        subprocess.run(["cargo", *install, "--target-dir", TARGET / "tools/build"])
        cbindgen = command("cbindgen")
    if not cbindgen:
        return skipped("the header", "cbindgen could not be installed")
    made, kept = OUT / "proto.h", HOME / "include/proto.h"
    run(cbindgen, "--quiet", "--config", HOME / "cbindgen.toml", "--output", made, HOME)
    if write:
        shutil.copyfile(made, kept)
    elif not filecmp.cmp(made, kept, shallow=False):
        sys.exit("hosts/c/include/proto.h is out of date: ci/check c --header writes it anew")


def built(name, source, compiler, *flags):
    program = OUT / name
    run(compiler, *WARNINGS, f"-I{PREFIX}/include", HOME / source, "-o", program, *flags)
    return program


def linked():
    """What pkg-config says, as users ask it."""
    environment = os.environ | {"PKG_CONFIG_PATH": str(PREFIX / "lib/pkgconfig")}
    words = ["pkg-config", "--cflags", "--libs", "proto"]
    flags = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.split()
    return [*flags, f"-Wl,-rpath,{PREFIX}/lib"]


class Example:
    """An example that serves, under valgrind or alone."""

    def __init__(self, *words):
        self.process = subprocess.Popen([str(word) for word in words] + ["0"], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=30)
        if status != 0:
            sys.exit(f"{self.process.args}: exit status {status}")


def until(stream, end):
    got = b""
    while end not in got:
        more = stream.recv(65536)
        if not more:
            sys.exit(f"the stream ended after {got[-80:]!r}, before {end[:80]!r}")
        got += more
    return got


def frame(opcode, payload, key=b"\1\2\3\4"):
    length = len(payload)
    size = bytes([0x80 | length]) if length < 126 else b"\xfe" + struct.pack(">H", length)
    masked = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    return bytes([0x80 | opcode]) + size + key + masked


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def use(example):
    """Talks to an example server as good and bad clients do."""
    with example.connect() as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20)  # pipelined
        got = b""
        while got.count(b"Hello, World!") < 20:
            got += until(stream, b"World!")
        stream.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        rest = b""
        while more := stream.recv(65536):
            rest += more
        assert rest.endswith(b"Hello, World!"), rest
    with example.connect() as stream:
        for byte in b"GET / HTTP/1.1\r\nHost: x\r\n\r\n":
            stream.sendall(bytes([byte]))
        until(stream, b"Hello, World!")
    for bad, status in ((b"GET / HTTP/1.1\n\n", b" 400 "), (b"GET / HTTP/1.1\r\n\r\n", b" 400 "), (b"GET /" + b"x" * 9000, b" 414 ")):
        with example.connect() as stream:
            stream.sendall(bad)
            answer = until(stream, b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1" + status), answer
    with example.connect() as stream:
        stream.sendall(UPGRADE + frame(1, b"early"))
        answer = until(stream, b"early")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer, answer
        large = os.urandom(5000)
        for byte in frame(2, large)[:20]:
            stream.sendall(bytes([byte]))
        stream.sendall(frame(2, large)[20:] + frame(9, b"?"))
        echoed = until(stream, large)
        if b"\x8a\x01?" not in echoed:
            until(stream, b"\x8a\x01?")
        stream.sendall(frame(8, struct.pack(">H", 1000)))
        until(stream, b"\x88\x02\x03\xe8")
        assert stream.recv(1) == b""
    with example.connect() as stream:  # not masked
        stream.sendall(UPGRADE + b"\x81\x01a")
        until(stream, struct.pack(">H", 1002))
    with example.connect() as stream:  # another site's page
        stream.sendall(UPGRADE[:-2] + b"Origin: http://evil.example\r\n\r\n")
        assert until(stream, b"\r\n\r\n").startswith(b"HTTP/1.1 403 ")
    example.connect().close()


def frames(program):
    """The frame reader shows what is there, and what is wrong."""
    stream = frame(1, b"Hello") + frame(9, b"?") + frame(8, struct.pack(">H", 1000) + b"bye")
    shown = run(program, "server", input=stream, capture_output=True).stdout
    assert shown == b"message text 5 bytes: Hello\nping binary 1 bytes\nclose text 3 bytes code 1000: bye\n", shown
    wrong = subprocess.run([program, "client"], input=stream, capture_output=True)
    assert wrong.returncode == 1 and wrong.stderr == b"PROTO_WS_MASKED (RFC 6455 section 5.1)\n", wrong


def check():
    run("make", "-s", "-C", HOME, "install", "no-std", f"PREFIX={PREFIX}", f"TARGET={TARGET}")
    static, bare = PREFIX / "lib/libproto.a", TARGET / "no-std/host/libproto.a"
    exported = run("nm", "-D", "--defined-only", PREFIX / "lib/libproto.so", capture_output=True, text=True).stdout.split()[2::3]
    strangers = [name for name in exported if not name.startswith("proto_")]
    assert not strangers and len(exported) > 90, strangers
    for compiler, package in (("gcc", "gcc"), ("clang", "clang")):
        if not command(compiler, package):
            skipped(compiler, "not installed")
            continue
        ways = {"shared": linked(), "static": [static, *NEEDS], "bare": ["-DPROTO_NO_STD", bare]}
        for way, flags in ways.items():
            print(f"{compiler}, {way}: ", end="", flush=True)
            run(built(f"test-{compiler}-{way}", "tests/test.c", compiler, *flags))
        for name in ("server", "pull", "frames"):
            built(f"{name}-{compiler}", f"examples/{name}.c", compiler, "-O2", *linked())
        frames(OUT / f"frames-{compiler}")
    run("g++", "-Wall", "-Wextra", "-Werror", "-pedantic", "-std=c++17", "-fsyntax-only", "-x", "c++", HOME / "include/proto.h")
    sanitized = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    print("address sanitizer: ", end="", flush=True)
    run(built("test-asan", "tests/test.c", "gcc", *sanitized, static, *NEEDS))
    valgrind = []
    if command("valgrind", "valgrind"):
        valgrind = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect"]
        print("valgrind: ", end="", flush=True)
        run(*valgrind, OUT / "test-gcc-shared")
    else:
        skipped("the library under valgrind", "not installed")
    for name in ("server", "pull"):
        programs = [[built(f"{name}-asan", f"examples/{name}.c", "gcc", *sanitized, static, *NEEDS)], [*valgrind, OUT / f"{name}-gcc"]]
        for words in programs:
            example = Example(*words)
            try:
                use(example)
                example.stop()
            finally:
                example.process.kill()
    print(f"{len(exported)} functions; the examples served good and bad clients, under the address sanitizer and valgrind")


def unpacked(package):
    """The sources of a Python package, for the C library in them."""
    home = OUT / "peers"
    home.mkdir(exist_ok=True)
    if not (found := [path for path in home.glob(f"{package}-*") if path.is_dir()]):
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", package, "-d", home)
        with tarfile.open(next(home.glob(f"{package}-*.tar.gz"))) as archive:
            archive.extractall(home, filter="data")
        found = [path for path in home.glob(f"{package}-*") if path.is_dir()]
    return found[0]


def speed():
    run("make", "-s", "-C", HOME, "install", f"PREFIX={PREFIX}", f"TARGET={TARGET}")
    pico = next(unpacked("gunicorn_h1c").rglob("picohttpparser.c"))
    llhttp = next(unpacked("httptools").rglob("llhttp.h")).parents[1]
    includes = [f"-I{PREFIX}/include", f"-I{pico.parent}", f"-I{llhttp}/include"]
    sources = [HOME / "benches/heads.c", pico, *(llhttp / "src").glob("*.c")]
    program = OUT / "heads"
    run("gcc", "-O3", "-march=x86-64-v2", *includes, *sources, "-o", program, PREFIX / "lib/libproto.a", *NEEDS)
    run(program)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--header", action="store_true")
    arguments.add_argument("--speed", action="store_true")
    asked = arguments.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if asked.speed:
        return speed()
    header(asked.header)
    if not asked.header:
        check()


if __name__ == "__main__":
    main()
