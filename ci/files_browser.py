#!/usr/bin/env python3
"""Chromium plays a long recording from the example `files`, and jumps in it: it asks for ranges. On every driver, also over HTTP/2.

usage: files_browser.py FILES

Needs the package `websockets` and Chromium; without Chromium this says so and does nothing.
"""

import asyncio
import pathlib
import sys
import tempfile
import wave

import browser
from lib import DRIVERS, ROOT, Server

PAIR = ROOT / "fuzz/bodies/src/tls"
# 53 MB: more than a player loads in advance.
SECONDS, RATE = 300, 44_100
PAGE = '<!doctype html><link rel="icon" href="data:,"><video id="video" src="/long.wav" preload="metadata" controls></video>'
FLAGS = ("--autoplay-policy=no-user-gesture-required", "--ignore-certificate-errors", "--mute-audio")


def make(root):
    (root / "index.html").write_text(PAGE)
    with wave.open(str(root / "long.wav"), "wb") as recording:
        recording.setparams((2, 2, RATE, 0, "NONE", ""))
        second = b"".join((at % 100 * 100).to_bytes(2, "little") * 2 for at in range(RATE))
        for _ in range(SECONDS):
            recording.writeframes(second)


async def play(program, url, protocol):
    tabs = browser.Browser(program, *FLAGS)
    try:
        page = await tabs.page(url)
        await page.call("Network.enable")
        await page.until("document.getElementById('video').readyState >= 1")
        assert round(await page.value("document.getElementById('video').duration")) == SECONDS
        await page.value("document.getElementById('video').play()")
        await page.until("document.getElementById('video').currentTime > 0.3")
        for to in (SECONDS - 20, 40):
            await page.value(f"document.getElementById('video').currentTime = {to}")
            await page.until(f"document.getElementById('video').currentTime > {to} + 0.3")
            assert await page.value(f"document.getElementById('video').currentTime < {to} + 15")
        assert await page.value("document.getElementById('video').error === null")
        ranges = [answer for answer in page.answers if answer["url"].endswith("/long.wav")]
        # The jump to the end is a request of its own, from far behind the beginning.
        starts = [int(answer["headers"]["content-range"].split()[1].split("-")[0]) for answer in ranges if answer["status"] == 206]
        assert starts and max(starts) > (SECONDS - 40) * RATE * 4, ranges
        assert {answer["protocol"] for answer in ranges} == {protocol}, ranges
        assert not page.faults, page.faults
    finally:
        tabs.close()


def main(files):
    program = browser.find()
    if not program:
        return print("SKIPPED files_browser.py: there is no Chromium here")
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        make(root)
        for driver in DRIVERS:
            for flags, scheme, protocol in (([], "http", "http/1.1"), (["--tls-cert", PAIR / "cert.pem", "--tls-key", PAIR / "key.pem"], "https", "h2")):
                with Server(files, "--root", root, "--driver", driver, *flags) as server:
                    asyncio.run(play(program, f"{scheme}://{server.address}/", protocol))
                    server.stop()
            print(f"{driver}: Chromium plays a long recording and jumps in it, over HTTP/1.1 and HTTP/2", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
