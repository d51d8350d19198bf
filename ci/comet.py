#!/usr/bin/env python3
"""Uses comet as people do, on every driver: Python clients, back ends, readers of events, and two pages in a real browser.

usage: comet.py COMET [--screenshots DIRECTORY]

Needs the package `websockets`. The browser is a headless Chromium; without one its part is skipped, and said so.
"""

import argparse
import asyncio
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import websockets

import browser
import comet_operations
import lib

PATIENCE = 20
API_TOKEN = "let-me-in"
SECRET = "0123456789abcdef0123456789abcdef"


class Server(lib.Server):
    """A running comet."""

    def __init__(self, comet, driver, *flags):
        super().__init__(comet, "--driver", driver, *flags, COMET_API_TOKEN=API_TOKEN, COMET_SECRET=SECRET)
        self.url = f"ws://{self.address}/ws"

    def ask(self, path, body=None, token=API_TOKEN):
        fields = {"Authorization": f"Bearer {token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", data=data, headers=fields)
        return json.load(urllib.request.urlopen(request))

    def publish(self, channel, data):
        return self.ask("/api/publish", {"channel": channel, "data": data})


async def hear(client, kind, **expected):
    """Returns the next message of a type."""
    async with asyncio.timeout(PATIENCE):
        while True:
            message = json.loads(await client.recv())
            if message["type"] == kind:
                assert expected.items() <= message.items(), message
                return message


async def closed(client, code):
    async with asyncio.timeout(PATIENCE):
        await client.wait_closed()
    assert client.close_code == code, client.close_code


async def ask(client, kind, answer, **fields):
    await client.send(json.dumps({"type": kind, "id": 1, **fields}))
    return await hear(client, answer, id=1)


async def clients(server):
    async with websockets.connect(server.url) as one, websockets.connect(server.url) as two:
        for client in (one, two):
            await hear(client, "welcome")
            position = await ask(client, "subscribe", "subscribed", channel="demo:chat")
        await ask(one, "publish", "published", channel="demo:chat", data={"text": "grüß dich ✓"})
        for client in (two,):
            await hear(client, "publication", channel="demo:chat", data={"text": "grüß dich ✓"})
        there = await ask(two, "presence", "presence", channel="demo:chat")
        assert there["total"] == 2, there
        await one.send("nonsense")
        await hear(one, "error", code="bad-request")
    # A client that reconnects gets what it missed, once.
    for text in ("one", "two", "three"):
        server.publish("demo:chat", text)
    async with websockets.connect(server.url) as back:
        answer = await ask(
            back, "subscribe", "subscribed", channel="demo:chat", epoch=position["epoch"], offset=position["offset"]
        )
        data = [publication["data"] for publication in answer["publications"]]
        assert answer["recovered"] and data == [{"text": "grüß dich ✓"}, "one", "two", "three"], answer


async def rights(server, comet):
    command = [comet, "token", "--secret", SECRET, "--user", "ann", "--publish", "news"]
    token = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    async with websockets.connect(f"{server.url}?token={token}") as ann, websockets.connect(server.url) as guest:
        await ask(ann, "subscribe", "subscribed", channel="news")
        await ask(guest, "publish", "error", channel="news", data=1)
        await ask(ann, "publish", "published", channel="news", data=2)
    assert server.ask("/api/history?channel=news")["publications"] == [{"offset": 1, "user": "ann", "data": 2}]
    for url, origin, status in (
        (f"{server.url}?token=x.y.z", None, 401),
        (server.url, "https://elsewhere.example", 403),
    ):
        try:
            async with websockets.connect(url, origin=origin):
                raise AssertionError(f"{url} was let in from {origin}")
        except websockets.exceptions.InvalidStatus as refused:
            assert refused.response.status_code == status


def events(server):
    """A reader of server-sent events that reconnects."""
    last = {}
    for texts in (["a", "b"], ["c"]):
        connection = http.client.HTTPConnection(server.address, timeout=PATIENCE)
        connection.request("GET", "/events?channel=news", headers=last)
        stream = connection.getresponse()
        assert stream.status == 200 and stream.getheader("Content-Type") == "text/event-stream"
        while not stream.readline().startswith(b"id: ") and not last:
            pass
        for text in texts:
            server.publish("news", text)
        read = []
        while len(read) < len(texts):
            line = stream.readline().decode().strip()
            if line.startswith("id: "):
                position = line.removeprefix("id: ")
            if line.startswith("data: "):
                read.append(json.loads(line.removeprefix("data: "))["data"])
                last = {"Last-Event-ID": position}
        assert read == texts, read
        connection.close()
        server.publish("news", "c") if texts == ["a", "b"] else None


def watched(server):
    for path in ("healthz", "readyz"):
        assert urllib.request.urlopen(f"http://{server.address}/{path}").status == 200
    text = urllib.request.urlopen(f"http://{server.address}/metrics").read().decode()
    samples = (line.split() for line in text.splitlines() if not line.startswith("#"))
    samples = {name: float(value) for name, value in samples}
    assert samples['comet_accepted_total{worker="0"}'] >= 3 and samples['comet_panics_total{worker="0"}'] == 0, samples


def check(comet):
    """Invalid settings are refused, and each is named."""
    good = subprocess.run([comet, "check", "--threads", "2"], stdout=subprocess.PIPE, text=True)
    assert good.returncode == 0 and "threads = 2" in good.stdout, good
    path = pathlib.Path("target/tmp/comet.toml")
    path.parent.mkdir(parents=True, exist_ok=True)
    for text, complaints in (
        ("threads = 0\nlisten = ['nowhere']\nsecret = 'short'", ["threads:", "listen:", "secret:"]),
        ("[[channel]]\nname = 'a b'", ["line 2"]),
        ("colour = 'red'", ["unknown field `colour`"]),
        ("drain = 'soon'", ["no time such as"]),
        ("[[channel]]\nname = 'x'\nsubscribe = 'token'", ["neither a secret nor token_keys"]),
    ):
        path.write_text(text)
        bad = subprocess.run([comet, "check", "--config", path], stderr=subprocess.PIPE, text=True)
        assert bad.returncode == 2 and all(complaint in bad.stderr for complaint in complaints), bad.stderr
    path.unlink()


def activated(comet, driver):
    """A socket bound by another program, passed as a service manager does."""
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


async def pages(program, server, screenshots):
    """Two pages chat, one of them without a mouse; a reconnect resumes; the plot moves; the buttons work."""
    tabs = browser.Browser(program)
    try:
        url = f"http://{server.address}/"
        one, two = await tabs.page(url), await tabs.page(url, width=390, height=840, dark=True)
        says = "document.getElementById('{}').textContent".format
        for page in (one, two):
            await page.until("document.body.classList.contains('open')")
        await one.value("document.getElementById('name').value = 'ann'; document.getElementById('text').focus()")
        await one.press(*"hello <b>there</b>", "Enter")
        # Messages appear as text on the page, never as markup.
        await two.until(f"{says('log')}.includes('hello <b>there</b>')")
        await two.value("document.getElementById('text').value = 'hi'; document.querySelector('form button').click()")
        await one.until(f"{says('log')}.includes('hi')")
        await one.until(f"Number({says('connections')}) >= 2")
        await one.value("document.getElementById('more-bots').click()")
        await one.until(f"Number({says('connections')}) >= 12")
        await one.until(f"Number({says('rate')}) > 5")
        await one.until(f"{says('log')}.includes('bot ')")
        # The plot gets a point each second, with a maximum and a median.
        points = "document.querySelector('#latency .p99').getAttribute('points')"
        before = await one.value(points)
        await one.until(f"{points} !== {json.dumps(before)} && {points}.split(' ').length > 5")
        await one.until(f"{says('p50')}.endsWith('ms') && {says('p99')}.endsWith('ms')")
        await one.value("document.getElementById('slow-reader').click()")
        await one.until(f"{says('tried')}.startsWith('Of 2000 messages')")
        # All clients are asked to reconnect, and none misses a publication.
        await one.value("document.getElementById('drain').click()")
        for page in (one, two):
            await page.until(f"{says('log')}.includes('nothing was missed')")
            assert not await page.value(f"{says('log')}.includes('may be missing')")
        await one.until(f"Number({says('connections')}) >= 12")
        if screenshots:
            await asyncio.sleep(15)
            await one.screenshot(pathlib.Path(screenshots, "comet.png"))
            await two.screenshot(pathlib.Path(screenshots, "comet-phone.png"))
        await one.value("document.getElementById('no-bots').click()")
        await one.until(f"Number({says('connections')}) < 12")
        # Every control can be reached by the keyboard.
        await one.value("document.getElementById('log').focus()")
        reached = set()
        for _ in range(9):
            await one.press("Tab")
            reached.add(await one.value("document.activeElement.id || document.activeElement.textContent"))
        assert {"name", "text", "Send", "more-bots", "slow-reader", "drain"} <= reached, reached
        # On a phone nothing is wider than the screen.
        assert await two.value("document.documentElement.scrollWidth <= innerWidth")
        for page in (one, two):
            assert page.faults == [], page.faults
        await administration(tabs, server, screenshots)
    finally:
        tabs.close()


async def administration(tabs, server, screenshots):
    """The page of administration, on a desktop with a mouse and on a phone: what it shows, and what it orders."""
    wide, phone = [
        await tabs.page(f"http://{server.address}/admin", width=width, height=height, dark=dark)
        for width, height, dark in ((1280, 900, False), (390, 840, True))
    ]
    says = "document.getElementById('{}').innerText".format
    for page in (wide, phone):
        await page.value("document.getElementById('token').focus()")
        await page.press(*API_TOKEN, "Enter")
        await page.until(f"{says('nodes')}.includes('ready')")
    async with websockets.connect(server.url) as guest:
        name = (await hear(guest, "welcome"))["client"]
        await ask(guest, "subscribe", "subscribed", channel="demo:admin")
        # The keyboard alone is enough to publish. Data of others appears as text.
        await phone.value("document.querySelector('#publish input').focus()")
        await phone.press(*"demo:admin", "Tab", *'{"a": "<b>"}', "Tab", "Enter")
        await hear(guest, "publication", channel="demo:admin", data={"a": "<b>"})
        await phone.until(f"{says('said')}.startsWith('Published in demo:admin, with offset ')")
        await wide.value("document.querySelector('#publish input').value = 'demo:admin'")
        await wide.value("document.querySelector('#publish textarea').value = '{'; document.querySelector('#publish button').click()")
        await wide.until(f"{says('said')}.includes('the data is no JSON')")
        # The clients of a channel. A refresh keeps the focus where it is.
        await wide.until(f"{says('channels')}.includes('demo:admin')")
        await wide.value("document.getElementById('filter').value = 'demo:admin'; document.querySelector('[data-key=\"demo:admin\"] button').click()")
        await wide.until(f"{says('clients')}.includes({json.dumps(name)})")
        focused = f"[data-key={json.dumps(name)}] button"
        await wide.value(f"document.querySelector({json.dumps(focused)}).focus()")
        await asyncio.sleep(2.5)
        assert await wide.value("document.activeElement.textContent") == "Disconnect"
        if screenshots:
            for page, file in ((wide, "admin.png"), (phone, "admin-phone.png")):
                await page.screenshot(pathlib.Path(screenshots, file))
        # What clients notice is asked first; the focus is on the answer that does nothing.
        await wide.value("document.activeElement.click()")
        await wide.until("document.getElementById('sure').open")
        await wide.press("Enter")
        await wide.until("!document.getElementById('sure').open")
        await wide.value(f"document.querySelector({json.dumps(focused)}).click()")
        await wide.value("document.getElementById('yes').click()")
        await wide.until(f"{says('said')}.startsWith('Disconnected')")
        await closed(guest, 3503)
    async with websockets.connect(server.url) as guest:
        await hear(guest, "welcome")
        await phone.value("document.querySelector('#drain [name=seconds]').value = 0; document.querySelector('#drain [name=ready]').value = 'false'")
        await phone.value("document.querySelector('#drain button').click(); document.getElementById('yes').click()")
        await closed(guest, 1012)
    await wide.until(f"{says('nodes')}.includes('not ready')")
    await phone.value("document.querySelector('#drain [name=ready]').value = 'true'; document.querySelector('#drain button').click()")
    await wide.until(f"!{says('nodes')}.includes('not ready')")
    # On a phone nothing is wider than the screen.
    assert await phone.value("document.documentElement.scrollWidth <= innerWidth")
    for page in (wide, phone):
        assert page.faults == [], page.faults
    # Whoever signs out, or has a wrong token, sees nothing.
    await wide.value("document.getElementById('leave').click()")
    assert await wide.value("document.getElementById('inside').hidden && sessionStorage.length === 0")
    await wide.value("document.getElementById('token').focus()")
    await wide.press(*"wrong", "Enter")
    await wide.until(f"{says('state')} === 'this needs the API token' && document.getElementById('inside').hidden")
    # The browser itself reports the 401, and nothing else.
    assert all("401" in str(fault) for fault in wide.faults), wide.faults


def tools(comet, server):
    """The doctor finds no problem; captured packets are decoded."""
    doctor = subprocess.run(
        [comet, "doctor", server.address, "--connections", "1000", "--json"], stdout=subprocess.PIPE, text=True
    )
    checks = json.loads(doctor.stdout)
    bad = [check for check in checks if check["verdict"] == "bad"]
    assert doctor.returncode == 0 and not bad and len(checks) > 20, bad
    if os.geteuid() != 0 or not shutil.which("tcpdump"):
        return print("SKIPPED inspecting packets: there is no tcpdump here, or no right to capture")
    capture = pathlib.Path("target/tmp/comet.pcap")
    port = server.address.rsplit(":", 1)[1]
    # Packets must be captured immediately: by default the kernel's ring holds only eight (2 MiB of 256 KiB each), and
    # drops packets when it is full.
    command = ["tcpdump", "--immediate-mode", "-U", "-Z", "root", "-s", "65536", "-B", "65536"]
    command += ["-i", "lo", "-w", capture, "port", port]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tcpdump:
        while "listening on" not in tcpdump.stderr.readline():
            assert tcpdump.poll() is None
        asyncio.run(chat(server))
        published = server.publish("demo:seen", "x" * 5000)
        # Packets still in the ring when the capture stops are never written.
        answer = json.dumps(published, separators=(",", ":")).encode()
        until = time.monotonic() + PATIENCE
        while answer not in capture.read_bytes():
            assert time.monotonic() < until, "the last answer was not captured"
            time.sleep(0.05)
        tcpdump.send_signal(signal.SIGINT)
    inspect = subprocess.run([comet, "inspect", "--json", capture], stdout=subprocess.PIPE, text=True)
    found = [json.loads(line) for line in inspect.stdout.splitlines()]
    assert inspect.returncode == 0, found
    kinds = {(line.get("sender"), line["kind"]) for line in found}
    assert {("client", "request"), ("server", "response"), ("client", "text"), ("server", "text"), ("client", "close")} <= kinds
    capture.unlink()


async def chat(server):
    async with websockets.connect(server.url) as client:
        await ask(client, "subscribe", "subscribed", channel="demo:seen")
        await ask(client, "publish", "published", channel="demo:seen", data="seen")


async def exercise(comet, driver, screenshots):
    with Server(comet, driver, "--threads", "2", "--demo", "--compression") as server:
        await clients(server)
        await rights(server, comet)
        await asyncio.to_thread(events, server)
        watched(server)
        await asyncio.to_thread(tools, comet, server)
        print(f"{driver}: Python clients, back ends and readers of events")
        program = browser.find()
        if program:
            await pages(program, server, screenshots)
            print(f"{driver}: two pages in a browser, and the page of administration")
        else:
            print(f"{driver}: SKIPPED the browser: there is no Chromium here")
        async with websockets.connect(server.url) as last:
            await hear(last, "welcome")
            server.process.send_signal(signal.SIGTERM)
            await last.wait_closed()
            assert last.close_code == 1001, last.close_code
        assert server.process.wait(PATIENCE) == 0
        print(f"{driver}: SIGTERM drains, exit 0")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comet")
    parser.add_argument("--screenshots")
    options = parser.parse_args()
    comet = os.path.abspath(options.comet)
    check(comet)
    for driver in ("epoll", "tokio"):
        activated(comet, driver)
        comet_operations.exercise(comet, driver)
        asyncio.run(exercise(comet, driver, options.screenshots if driver == "epoll" else None))


if __name__ == "__main__":
    sys.exit(main())
