#!/usr/bin/env python3
"""The JavaScript client of comet: its package, its types, and what it does in Node and in a browser, against servers that are killed.

usage: comet_client.py COMET

With NODE_PATH the Node packages `ws` and `typescript`. Needs the Python package `websockets` for the browser, a headless Chromium.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import time

import browser
import lib
from comet_nodes import Redis

CLIENT = pathlib.Path(__file__).resolve().parent.parent / "comet/client"
API_TOKEN = "let-me-in"
SECRET = "0123456789abcdef0123456789abcdef"
PATIENCE = 90
RULES = """
[[channel]]
name = "room:*"
publish = "anyone"
presence = true
join_leave = true
[[channel]]
name = "private"
subscribe = "token"
[[channel]]
name = "few:*"
history = 3
[[channel]]
name = "many:*"
[[channel]]
name = "state:*"
latest = true
"""
PACKED = {"comet.js", "comet.d.ts", "event-streams.js", "package.json", "README.md"}


def token(seconds=3600, **claims):
    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
    parts = ({"alg": "HS256"}, {"exp": time.time() + seconds, **claims})
    signed = b".".join(encode(json.dumps(part).encode()) for part in parts)
    return (signed + b"." + encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest())).decode()


def run(*command, **options):
    ran = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=PATIENCE, **options)
    assert ran.returncode == 0, f"{command[0]}: {ran.stdout}{ran.stderr}"
    return ran.stdout


def package(home):
    """Packs the client as npm would publish it, and installs the result."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / "package.json").write_text('{"type":"module"}')
    (home / "comet.toml").write_text(RULES)
    [packed] = run("npm", "pack", "--silent", CLIENT, cwd=home).split()
    with tarfile.open(home / packed) as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
    assert names == PACKED, names
    run("npm", "install", "--silent", "--no-fund", "--no-audit", "--offline", f"./{packed}", cwd=home)
    for name in ("ws", "typescript"):
        (home / "node_modules" / name).symlink_to(pathlib.Path(os.environ["NODE_PATH"], name))
    shutil.copy(CLIENT / "test/types.ts", home)
    flags = "--noEmit --strict --target es2022 --module nodenext --lib es2022,dom --types".split()
    run("node", home / "node_modules/typescript/bin/tsc", *flags, "", "types.ts", cwd=home)


def node(comet, home, driver, redis):
    environment = os.environ | {
        "COMET_SECRET": SECRET,
        "COMET_API_TOKEN": API_TOKEN,
        "COMET_CONFIG": str(home / "comet.toml"),
        "COMET_LOG_LEVEL": "error",
    }
    redis = [redis.url] if redis else []
    return len(json.loads(run("node", CLIENT / "test/node.mjs", comet, driver, *redis, cwd=home, env=environment)))


def script(server):
    """The checks for a page of the server, with tokens that last from now on."""
    tokens = {
        "ann": token(sub="ann", info={"name": "Ann"}, subscribe=["*"]),
        "served": token(sub="served", subscribe=["*"], channels=["many:served"]),
        "ended": token(-1, sub="ann"),
        "short": [token(seconds, sub="short", subscribe=["*"]) for seconds in (2, 2, 3600)],
    }
    given = {"tokens": tokens, "url": f"ws://{server.address}/ws", "events": f"http://{server.address}/events", "options": {}}
    return f"""(async () => {{
      {(CLIENT / "test/checks.js").read_text()}
      const {{ Comet }} = await import("/comet.js");
      const ask = async (path, body) => {{
        const headers = {{ Authorization: "Bearer {API_TOKEN}" }};
        const answer = await fetch(path, {{ method: "POST", headers, body: JSON.stringify(body) }});
        if (!answer.ok) throw new Error(`${{path}}: ${{answer.status}} ${{await answer.text()}}`);
        return answer.json();
      }};
      try {{
        return (await checks({{ Comet, ask, ...{json.dumps(given)} }})).join("\\n");
      }} catch (error) {{
        return `FAILED ${{error.message}}`;
      }}
    }})()"""


async def page(program, server):
    """The same checks in a browser, with the file that comet serves."""
    tabs = browser.Browser(program)
    try:
        tab = await tabs.page(f"http://{server.address}/")
        passed = await tab.value(script(server))
        assert not passed.startswith("FAILED"), passed
        assert "event streams" in passed, passed
        assert tab.faults == [], tab.faults
        return len(passed.split("\n"))
    finally:
        tabs.close()


def main():
    comet = pathlib.Path(sys.argv[1]).resolve()
    home = pathlib.Path("target/tmp/client").resolve()
    package(home)
    print("comet's client: npm pack has the files, the types hold")
    redis = Redis() if shutil.which("redis-server") else None
    program = browser.find()
    try:
        for driver in lib.DRIVERS:
            began = time.monotonic()
            checks = node(comet, home, driver, redis)
            print(f"{driver}: {checks} checks in Node {'with' if redis else 'SKIPPED'} Redis, {time.monotonic() - began:.0f} s")
        if program:
            environment = {"COMET_SECRET": SECRET, "COMET_API_TOKEN": API_TOKEN, "COMET_LOG_LEVEL": "error"}
            with lib.Server(comet, "--config", home / "comet.toml", **environment) as server:
                print(f"{asyncio.run(page(program, server))} checks in Chromium")
        else:
            print("SKIPPED comet's client in a browser: there is no Chromium here")
    finally:
        if redis:
            redis.process.kill()


if __name__ == "__main__":
    sys.exit(main())
