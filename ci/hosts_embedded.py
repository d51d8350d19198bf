#!/usr/bin/env python3
"""The example for a Cortex-M4: linked, held to a size, without panics, and used in QEMU.

usage: hosts_embedded.py
"""

import re
import socket
import struct
import subprocess
import sys

from hosts_c import OUT, frame, until
from lib.build import ROOT, TARGET
from lib.process import free_port
from lib.tools import command, skipped
from lib.without_std import build_std, linker

HOME = ROOT / "hosts/embedded"
TARGET_NAME = "thumbv7em-none-eabihf"
# Bytes of code and constants, and of the stack at its highest. A change that is worth more raises them.
BUDGET, STACK = 27_000, 3_500


def build():
    lld = linker("ld.lld")
    if not lld:
        skipped(TARGET_NAME, "lld is not installed")
        return None
    flags = f"-C linker={lld} -C link-arg=-T{HOME}/link.ld -C strip=none"
    words = ["--release", "--manifest-path", HOME / "Cargo.toml"]
    if not build_std("build", [TARGET_NAME], *words, flags=flags):
        return None
    return TARGET / "build-std" / TARGET_NAME / "release/embedded-example"


def read(program):
    """The size of the program's one section, and its symbols, from the ELF file."""
    elf = program.read_bytes()
    offset, = struct.unpack_from("<I", elf, 32)
    size, count, names = struct.unpack_from("<HHH", elf, 46)
    sections = [struct.unpack_from("<10I", elf, offset + at * size) for at in range(count)]

    def name(at, table):
        start = table[4] + at
        return elf[start : elf.index(b"\0", start)].decode()

    sizes = {name(section[0], sections[names]): section[5] for section in sections}
    symbols = []
    for section in sections:
        if section[1] == 2:  # SHT_SYMTAB
            table = sections[section[6]]
            entries = range(section[4], section[4] + section[5], 16)
            symbols += [name(struct.unpack_from("<I", elf, entry)[0], table) for entry in entries]
    return sizes[".text"], symbols


def connected(port):
    stream = socket.create_connection(("127.0.0.1", port), timeout=20)
    stream.settimeout(20)
    return stream


def used(program):
    """QEMU runs the board; both serial lines are sockets."""
    qemu = command("qemu-system-arm", "qemu-system-arm")
    if not qemu:
        return skipped("the board in QEMU", "qemu-system-arm is not installed")
    ports = [free_port(), free_port()]
    lines = [word for port in ports for word in ("-serial", f"tcp:127.0.0.1:{port},server=on,wait=on")]
    words = [qemu, "-machine", "mps2-an386", "-display", "none", "-monitor", "none", "-kernel", program, *lines]
    board = subprocess.Popen([str(word) for word in words], stderr=subprocess.DEVNULL)
    try:
        streams = []
        for port in ports:
            while True:
                try:
                    streams.append(connected(port))
                    break
                except ConnectionRefusedError:
                    if board.poll() is not None:
                        sys.exit(f"QEMU ended with {board.returncode}")
        http, frames = streams
        http.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        until(http, b"Content-Length: 13\r\n\r\nHello, World!")
        http.sendall(b"PUT /n HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        until(http, b"Hello, World!")
        http.sendall(b"GET / HTTP/1.1\nHost: x\r\n\r\n")
        assert until(http, b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        frames.sendall(frame(1, b"Hello") + frame(9, b"?"))
        echoed(frames, b"Hello?")
        large = bytes(range(256)) * 8
        frames.sendall(frame(2, large))
        echoed(frames, large)
        frames.sendall(b"\x81\x01a")  # not masked
        until(frames, struct.pack(">BBH", 0x88, 2, 1002))
        http.sendall(b"GET /stack HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = until(http, b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", answer)[1])
        while len(answer.partition(b"\r\n\r\n")[2]) < length:
            answer += http.recv(16)
        stack = int(answer.partition(b"\r\n\r\n")[2])
        print(f"on the board: HTTP and frames, {stack:,} bytes of stack")
        if not 0 < stack <= STACK:
            sys.exit(f"more stack than its budget of {STACK:,} bytes")
    finally:
        board.kill()
        board.wait()


def echoed(stream, wanted):
    """Reads frames until their payloads are those. How many there are depends on how the bytes came to the board."""
    got, payload = b"", b""
    while len(payload) < len(wanted):
        got += stream.recv(65536)
        payload = unframed(got)
    assert payload == wanted, payload


def unframed(got):
    """The payloads of the unmasked frames that are complete."""
    payload, at = b"", 0
    while at + 2 <= len(got):
        length, start = got[at + 1], at + 2
        if length == 126:
            if start + 2 > len(got):
                break
            length, start = struct.unpack_from(">H", got, start)[0], start + 2
        if start + length > len(got):
            break
        payload, at = payload + got[start : start + length], start + length
    return payload


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    program = build()
    if not program:
        return
    size, symbols = read(program)
    print(f"{TARGET_NAME}: {size:,} bytes of code and constants")
    panics = [symbol for symbol in symbols if "panic" in symbol or "_fail" in symbol or "fmt" in symbol]
    assert "reset" in symbols and not panics, f"panics are linked: {panics}"
    if size > BUDGET:
        sys.exit(f"the program is larger than its budget of {BUDGET:,} bytes")
    used(program)


if __name__ == "__main__":
    main()
