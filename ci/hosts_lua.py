#!/usr/bin/env python3
"""The Lua module, by LuaJIT and by Lua 5.4: its tests, its examples, and what a request costs.

usage: hosts_lua.py [--cdef | --speed LOAD]

--cdef writes proto/cdef.lua anew from proto.h. --speed compares the CPU time of the web servers in C and Lua under LOAD.
"""

import argparse
import os
import pathlib
import re
import statistics
import struct
import subprocess
import sys

from hosts_c import OUT, PREFIX, UPGRADE, Example, built, frame, linked, until
from lib.build import ROOT, TARGET
from lib.tools import command, skipped

HOME = ROOT / "hosts/lua"
INTERPRETERS = {"luajit": "luajit", "lua5.4": "lua5.4"}


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], timeout=300, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(str(word) for word in words)}: exit status {done.returncode}")
    return done


def cdef(write):
    """The declarations for LuaJIT are those of the header."""
    words = ["gcc", "-E", "-P", "-nostdinc", "-I", HOME / "tests/empty", ROOT / "hosts/c/include/proto.h"]
    text = run(*words, capture_output=True, text=True).stdout
    text = re.sub(r"_Static_assert\(.*?\);\n?", "", text)
    made = f"-- Generated from hosts/c/include/proto.h by `ci/check lua --cdef`: do not change it here.\nreturn [[\n{text.strip()}\n]]\n"
    kept = HOME / "proto/cdef.lua"
    if write:
        kept.write_text(made)
    elif kept.read_text() != made:
        sys.exit("hosts/lua/proto/cdef.lua is out of date: ci/check lua --cdef writes it anew")


def environment():
    return os.environ | {
        "LUA_PATH": f"{HOME}/?.lua;{HOME}/?/init.lua;;",
        "LUA_CPATH": f"{OUT}/lua/?.so;;",
        "LIBPROTO": str(PREFIX / "lib/libproto.so"),
    }


def module():
    """Compiles the C module. False without Lua's header."""
    header = pathlib.Path("/usr/include/lua5.4/lua.h")
    if not header.exists():
        command("liblua5.4-dev", "liblua5.4-dev")  # a package without a program of that name
    if not header.exists():
        skipped("the module for Lua 5.4", "the header of Lua 5.4 is not installed")
        return False
    (OUT / "lua/proto").mkdir(parents=True, exist_ok=True)
    flags = ["-O2", "-shared", "-fPIC", "-I/usr/include/lua5.4", *linked()]
    words = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", HOME / "proto/core.c", "-o", OUT / "lua/proto/core.so"]
    run(*words, *flags)
    return True


class Script(Example):
    """A Lua program that serves."""

    def __init__(self, interpreter, script, *arguments):
        words = [interpreter, HOME / script, *arguments]
        self.process = subprocess.Popen(
            [str(word) for word in words], stdout=subprocess.PIPE, text=True, env=environment()
        )
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), f"{words}: {line!r}"
        self.port = int(line.rsplit(":", 1)[1])


def ask(server, head, end):
    with server.connect() as stream:
        stream.sendall(head)
        return until(stream, end)


def tested(interpreter):
    server = Script(interpreter, "tests/test.lua")
    try:
        with server.connect() as stream:
            stream.sendall(b"PUT /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /q HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"PUT /p abc" in until(stream, b"GET /q ")
        answer = ask(server, b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n0\r\n\r\n")
        assert b"A: 1\r\nA: 2\r\n" in answer and answer.count(b"piece ") == 3, answer
        assert b" 413 " in ask(server, b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", b"\r\n\r\n")
        foreign = UPGRADE.replace(b"/ws", b"/foreign")[:-2] + b"Origin: http://evil.example\r\n\r\n"
        assert b" 403 " in ask(server, foreign, b"\r\n\r\n")
        with server.connect() as stream:
            stream.sendall(UPGRADE[:-2] + b"Sec-WebSocket-Protocol: chat\r\n\r\n" + frame(1, b"echo"))
            answer = until(stream, b"\x81\x04echo")
            assert b"Sec-WebSocket-Protocol: chat" in answer and b"\x81\x07welcome" in answer, answer
            stream.sendall(frame(2, b"bytes"))
            until(stream, b"\x88\x0a" + struct.pack(">H", 4000) + b"no bytes")
            stream.sendall(frame(8, struct.pack(">H", 4000)))
            assert stream.recv(1) == b""
        assert b" 204 " in ask(server, b"GET /stop HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n\r\n")
        print(f"{interpreter}: {server.process.stdout.read().strip()}")
        status = server.process.wait(timeout=20)
        assert status == 0, f"{interpreter}: exit status {status}"
    finally:
        server.process.kill()


def example(interpreter):
    shown = run(interpreter, HOME / "examples/parse.lua", env=environment(), capture_output=True, text=True).stdout
    assert "/search\tq=lua" in shown and "PROTO_HTTP_BARE_LF" in shown, shown
    server = Script(interpreter, "examples/web.lua", "127.0.0.1:0")
    try:
        assert ask(server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"hello, world !\n")
        assert ask(server, UPGRADE + frame(1, b"echo"), b"\x81\x04echo")
    finally:
        server.process.kill()
        server.process.wait()


def prepared():
    run("make", "-s", "-C", ROOT / "hosts/c", "install", f"PREFIX={PREFIX}", f"TARGET={TARGET}")
    compiled = module()
    found = []
    for name, package in INTERPRETERS.items():
        if not command(name, package):
            skipped(name, "not installed")
        elif compiled or name == "luajit":
            found.append(name)
    return found


def check():
    interpreters = prepared()
    for interpreter in interpreters:
        tested(interpreter)
        example(interpreter)
    rocks(interpreters)


def rocks(interpreters):
    """The rockspecs install what a program then finds."""
    if not command("luarocks", "luarocks"):
        return skipped("the rockspecs", "luarocks is not installed")
    for package, version, interpreter in (("proto", "5.4", "lua5.4"), ("proto-luajit", "5.1", "luajit")):
        if interpreter not in interpreters:
            continue
        tree, spec = OUT / f"rocks-{version}", f"{package}-0.1.0-1.rockspec"
        words = ["luarocks", "--lua-version", version, "make", "--tree", tree, f"PROTO_DIR={PREFIX}", spec]
        run(*words, cwd=HOME, stdout=subprocess.DEVNULL)
        lua = tree / f"share/lua/{version}"
        paths = {"LUA_PATH": f"{lua}/?.lua;{lua}/?/init.lua", "LUA_CPATH": f"{tree}/lib/lua/{version}/?.so"}
        words = [interpreter, "-e", f"print('{spec}: ' .. require('proto').version())"]
        run(*words, env=os.environ | paths | {"LD_LIBRARY_PATH": str(PREFIX / "lib")})


def speed(load):
    """Requests per second of CPU time, of the servers in C and in Lua; the median of five runs of each, taken in turns."""
    prepared()
    servers = {}
    for name in ("server", "pull"):
        program = built(f"{name}-gcc", f"examples/{name}.c", "gcc", "-O2", *linked())
        servers[f"{name}.c"] = (Example(program), "Hello, World!")
    for interpreter in INTERPRETERS:
        servers[f"web.lua, {interpreter}"] = (Script(interpreter, "examples/web.lua", "127.0.0.1:0"), "hello, world !\n")
    rates = {name: [] for name in servers}
    for _ in range(5):
        for name, (server, expected) in servers.items():
            before = spent(server)
            run(load, "--target", f"127.0.0.1:{server.port}", "--requests", "100000", "--expect", expected, stdout=subprocess.DEVNULL)
            rates[name].append(100000 / (spent(server) - before))
    for server, _ in servers.values():
        server.process.kill()
    first = statistics.median(rates["server.c"])
    for name, all_of_it in rates.items():
        rate = statistics.median(all_of_it)
        print(f"| {name} | {rate:,.0f} | {rate / first:.0%} |")


def spent(server):
    """Seconds of CPU time that a server has used."""
    with open(f"/proc/{server.process.pid}/stat") as stat:
        words = stat.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--cdef", action="store_true")
    arguments.add_argument("--speed", metavar="LOAD")
    asked = arguments.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if asked.speed:
        return speed(asked.speed)
    cdef(asked.cdef)
    if not asked.cdef:
        check()


if __name__ == "__main__":
    main()
