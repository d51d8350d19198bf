#!/usr/bin/env python3
"""The examples stun, turn and ntp talk with coturn and chrony, in both roles, on every driver.

usage: datagrams.py STUN TURN NTP
"""

import re
import socket
import struct
import subprocess
import sys
import tempfile
import time

from lib import DRIVERS, PATIENCE, Server, command, end, free_port

PASSWORD = "secret"


def said(*words, code=0):
    """What a program prints; it must end with `code`."""
    result = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
    assert (result.returncode == 0) == (code == 0), f"{words}: {result.returncode}\n{result.stdout}"
    return result.stdout


def patiently(ask):
    """Repeats a question until the other program has started."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except (AssertionError, OSError):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def stun_asks_coturn(stun, driver, port):
    answer = patiently(lambda: said(stun, "--driver", driver, f"127.0.0.1:{port}"))
    assert re.fullmatch(r"127\.0\.0\.1:\d+\n", answer), answer


def coturn_asks_stun(stun, driver):
    with Server(stun, "--driver", driver) as server:
        _, port = server.endpoint
        text = said(command("turnutils_stunclient"), "-p", port, "127.0.0.1")
        assert "UDP reflexive addr: 127.0.0.1:" in text, text


def coturn_relays_through_turn(turn, driver):
    """Three clients send 20 messages each through their allocations to each other and back, by channels and by indications."""
    client = command("turnutils_uclient")
    with Server(turn, "--driver", driver, "--user", "u", "--password", PASSWORD) as server:
        _, port = server.endpoint
        for way in ([], ["-s"]):
            text = said(client, "-u", "u", "-w", PASSWORD, "-p", port, "-y", "-n", 20, "-m", 3, *way, "127.0.0.1")
            sent, received = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", text)[-1]
            assert sent == received != "0", text
        text = said(client, "-u", "u", "-w", "wrong", "-p", port, "-y", "-n", 1, "-m", 1, "127.0.0.1", code=1)
        assert "Cannot complete Allocation" in text, text


def ntp_asks_chrony(ntp, driver, port):
    text = patiently(lambda: said(ntp, "--driver", driver, f"127.0.0.1:{port}"))
    offset = float(re.match(r"offset (\S+) s, round trip \S+ s", text)[1])
    # Both read one clock.
    assert abs(offset) < 1, text


def ntp_answers(ntp, driver):
    """RFC 5905 section 7.3, as Python reads it; what is no request gets no answer."""
    with Server(ntp, "--driver", driver) as server, socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.sendto(b"x", server.endpoint)
        # An answer, which must not be answered.
        client.sendto(bytes([0x24]) + bytes(47), server.endpoint)
        client.sendto(bytes([0x23]) + bytes(39) + struct.pack(">Q", 12345), server.endpoint)
        answer = client.recv(1000)
        seconds = struct.unpack(">I", answer[40:44])[0] - 2_208_988_800
        assert len(answer) == 48 and answer[0] == 0x24, answer
        assert struct.unpack(">Q", answer[24:32]) == (12345,), answer
        assert abs(seconds - time.time()) < 2, seconds


def main(stun, turn, ntp):
    for driver in DRIVERS:
        ntp_answers(ntp, driver)
    print("ok: ntp answers as RFC 5905 says")
    if command("turnserver", "coturn"):
        port = free_port()
        flags = ["-n", "-L", "127.0.0.1", "-p", str(port), "--no-tls", "--no-dtls", "--no-cli", "-m", "1"]
        with tempfile.TemporaryDirectory() as folder:
            files = ["--log-file", f"{folder}/log", "--pidfile", f"{folder}/pid"]
            coturn = subprocess.Popen([command("turnserver"), *flags, *files], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                for driver in DRIVERS:
                    stun_asks_coturn(stun, driver, port)
            finally:
                end(coturn)
        for driver in DRIVERS:
            coturn_asks_stun(stun, driver)
            coturn_relays_through_turn(turn, driver)
        print("ok: stun and turn with coturn")
    else:
        print("SKIPPED coturn: it is not installed")
    if command("chronyd", "chrony"):
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            settings = (f"port {port}", "allow 127.0.0.1", "local stratum 3", "cmdport 0", f"pidfile {folder}/pid")
            # -x: the clock of this host is not touched.
            words = [command("chronyd"), "-x", "-d", "-u", "root", *settings]
            chrony = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                for driver in DRIVERS:
                    ntp_asks_chrony(ntp, driver, port)
            finally:
                end(chrony)
        print("ok: ntp with chrony")
    else:
        print("SKIPPED chrony: it is not installed")


if __name__ == "__main__":
    main(*sys.argv[1:])
