"""A headless Chromium, driven by its debugging protocol. Needs the package `websockets`."""

import asyncio
import base64
import json
import pathlib
import shutil
import subprocess
import tempfile
import urllib.request

import websockets

PATIENCE = 20

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-background-timer-throttling "
    "--disable-renderer-backgrounding --disable-backgrounding-occluded-windows --remote-debugging-port=0"
).split()


def find():
    """Returns the path of the browser, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    def __init__(self, program, *flags):
        self.home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [program, *FLAGS, *flags, f"--user-data-dir={self.home.name}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def page(self, url, width=1100, height=800, dark=False):
        """Opens a page in a tab of its own."""
        port_file = pathlib.Path(self.home.name, "DevToolsActivePort")
        async with asyncio.timeout(PATIENCE):
            while not (port_file.exists() and port_file.read_text().count("\n")):
                await asyncio.sleep(0.05)
        port = port_file.read_text().split("\n")[0]
        request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
        target = json.load(urllib.request.urlopen(request))
        page = Page(await websockets.connect(target["webSocketDebuggerUrl"], max_size=None))
        await page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await page.call("Emulation.setEmulatedMedia", features=scheme)
        await page.call("Runtime.enable")
        await page.call("Log.enable")
        await page.call("Page.navigate", url=url)
        await page.until("document.readyState === 'complete' && location.href !== 'about:blank'")
        return page

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.home.cleanup()


class Page:
    def __init__(self, socket):
        self.socket = socket
        self.calls = 0
        # Errors of the page, which a browser shows nowhere else.
        self.faults = []
        # The heads of responses, once `Network.enable` was called; names of fields in lower case.
        self.answers = []

    async def call(self, method, **params):
        self.calls += 1
        await self.socket.send(json.dumps({"id": self.calls, "method": method, "params": params}))
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = json.loads(await self.socket.recv())
                if answer.get("method") == "Runtime.exceptionThrown":
                    self.faults.append(answer["params"]["exceptionDetails"])
                if answer.get("method") == "Log.entryAdded" and answer["params"]["entry"]["level"] == "error":
                    self.faults.append(answer["params"]["entry"])
                if answer.get("method") == "Network.responseReceived":
                    response = answer["params"]["response"]
                    response["headers"] = {name.lower(): value for name, value in response["headers"].items()}
                    self.answers.append(response)
                if answer.get("id") == self.calls:
                    return answer["result"]

    async def value(self, script):
        outcome = await self.call("Runtime.evaluate", expression=script, awaitPromise=True)
        assert "exceptionDetails" not in outcome, outcome
        return outcome["result"].get("value")

    async def until(self, script, patience=PATIENCE):
        try:
            async with asyncio.timeout(patience):
                while not await self.value(script):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"never came true: {script}; the page says: {await self.value('document.body.innerText')}")

    async def press(self, *keys):
        """Presses keys, as a user without a mouse."""
        for key in keys:
            text = "\r" if key == "Enter" else key if len(key) == 1 else ""
            code = {"Enter": 13, "Tab": 9}.get(key, 0)
            common = {"key": key, "windowsVirtualKeyCode": code}
            await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
            await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def screenshot(self, path):
        image = await self.call("Page.captureScreenshot", format="png")
        pathlib.Path(path).write_bytes(base64.b64decode(image["data"]))
