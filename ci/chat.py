#!/usr/bin/env python3
"""Chats through comet with Python clients and a real browser, on every driver.

usage: chat.py COMET [--screenshot FILE]

Needs the package `websockets`. The browser is a headless Chromium; without one its part is skipped, and said so.
"""

import argparse
import asyncio
import base64
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request

import websockets

PATIENCE = 20


async def hear(client, kind):
    """The next message of a kind."""
    async with asyncio.timeout(PATIENCE):
        while True:
            message = json.loads(await client.recv())
            if message["type"] == kind:
                return message


def say(text):
    return json.dumps({"type": "say", "text": text})


async def python_clients(url):
    async with websockets.connect(url) as one, websockets.connect(url) as two:
        names = [(await hear(client, "welcome"))["name"] for client in (one, two)]
        for client, name, text in ((one, names[0], "hello"), (two, names[1], "grüß dich ✓")):
            await client.send(say(text))
            for listener in (one, two):
                assert await hear(listener, "said") == {"type": "said", "from": name, "text": text}
        while (await hear(one, "count"))["connections"] != 2:
            pass
        await two.send("nonsense")
        assert "not a message" in (await hear(two, "error"))["reason"]


class Browser:
    """A page in headless Chromium, driven by its debugging protocol."""

    FLAGS = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --remote-debugging-port=0 --window-size=900,600"
    ).split()

    def __init__(self, program):
        self.home = tempfile.TemporaryDirectory()
        command = [program, *self.FLAGS, f"--user-data-dir={self.home.name}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.calls = 0

    async def open(self, url):
        port_file = pathlib.Path(self.home.name, "DevToolsActivePort")
        async with asyncio.timeout(PATIENCE):
            while not (port_file.exists() and port_file.read_text().count("\n")):
                await asyncio.sleep(0.05)
        port = port_file.read_text().split("\n")[0]
        request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?{url}", method="PUT")
        target = json.load(urllib.request.urlopen(request))
        self.page = await websockets.connect(target["webSocketDebuggerUrl"], max_size=None)

    async def call(self, method, **params):
        self.calls += 1
        await self.page.send(json.dumps({"id": self.calls, "method": method, "params": params}))
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = json.loads(await self.page.recv())
                if answer.get("id") == self.calls:
                    return answer["result"]

    async def value(self, script):
        return (await self.call("Runtime.evaluate", expression=script))["result"].get("value")

    async def until(self, script):
        async with asyncio.timeout(PATIENCE):
            while not await self.value(script):
                await asyncio.sleep(0.05)

    async def screenshot(self, path):
        image = await self.call("Page.captureScreenshot", format="png")
        pathlib.Path(path).write_bytes(base64.b64decode(image["data"]))

    async def close(self):
        await self.page.close()
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.home.cleanup()


async def browser_chats(program, address, screenshot):
    browser = Browser(program)
    await browser.open(f"http://{address}/")
    await browser.until("document.body.classList.contains('open')")
    async with websockets.connect(f"ws://{address}/ws") as client:
        await browser.until("document.getElementById('count').textContent === '2'")
        await client.send(say("from python"))
        await browser.until("document.getElementById('log').textContent.includes('from python')")
        await browser.value(
            "document.getElementById('name').value = 'browser';"
            "document.getElementById('text').value = 'from <b>chromium</b>';"
            "document.querySelector('form button').click()"
        )
        while True:
            said = await hear(client, "said")
            if said["from"] == "browser":
                break
        assert said["text"] == "from <b>chromium</b>", said
        # Said text is text on the page, never markup.
        await browser.until("document.getElementById('log').textContent.includes('<b>chromium</b>')")
        if screenshot:
            await browser.screenshot(screenshot)
    await browser.close()


async def foreign_page_is_refused(address):
    try:
        async with websockets.connect(f"ws://{address}/ws", origin="https://elsewhere.example"):
            raise AssertionError("a page of another host was let in")
    except websockets.exceptions.InvalidStatus as refused:
        assert refused.response.status_code == 403


def metrics(address):
    for path in ("healthz", "readyz"):
        assert urllib.request.urlopen(f"http://{address}/{path}").status == 200
    text = urllib.request.urlopen(f"http://{address}/metrics").read().decode()
    samples = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {name: int(value) for name, value in samples}


def activated(comet, driver):
    """A socket that somebody else has bound, handed over as a service manager does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.dup2(listener.fileno(), 3)
        command = f"LISTEN_PID=$$ LISTEN_FDS=1 exec '{comet}' --driver {driver}"
        server = subprocess.Popen(["sh", "-c", command], pass_fds=[3], stdout=subprocess.PIPE, text=True)
        try:
            address = server.stdout.readline().strip().removeprefix("listening on http://")
            assert address == "%s:%d" % listener.getsockname(), address
            assert urllib.request.urlopen(f"http://{address}/healthz").status == 200
        finally:
            server.terminate()
            assert server.wait(PATIENCE) == 0
    print(f"{driver}: serves a socket that was bound by another")


async def check(comet, driver, screenshot):
    command = [comet, "--driver", driver, "--listen", "127.0.0.1:0", "--threads", "2"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip().removeprefix("listening on http://")
        await python_clients(f"ws://{address}/ws")
        await foreign_page_is_refused(address)
        watched = metrics(address)
        assert watched["comet_accepted_total"] >= 3 and watched["comet_panics_total"] == 0, watched
        print(f"{driver}: Python clients chat")
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if chromium:
            await browser_chats(chromium, address, screenshot)
            print(f"{driver}: a browser chats")
        else:
            print(f"{driver}: SKIPPED the browser: there is no Chromium here")
        async with websockets.connect(f"ws://{address}/ws") as last:
            await hear(last, "welcome")
            server.send_signal(signal.SIGTERM)
            await last.wait_closed()
            assert last.close_code == 1001, last.close_code
        assert server.wait(PATIENCE) == 0
        print(f"{driver}: SIGTERM drains, exit 0")
    finally:
        server.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("comet")
    parser.add_argument("--screenshot")
    options = parser.parse_args()
    for driver in ("epoll", "tokio"):
        activated(os.path.abspath(options.comet), driver)
        asyncio.run(check(os.path.abspath(options.comet), driver, options.screenshot))


if __name__ == "__main__":
    sys.exit(main())
