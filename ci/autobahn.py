#!/usr/bin/env python3
"""Lets the Autobahn TestSuite judge proto-ws, as a server and as a client.

usage: autobahn.py [--deflate] [--tls] [--role server|client] [--cases PATTERNS] [--server CMD] [--client CMD]

Runs the 301 cases without compression, or with --deflate all 517, and compares what came out with
autobahn-expected.json: every case has to be OK (or informational, as listed), and every connection that has to be failed
has to be failed by a Close frame with the listed code. By default the example `blocking_echo` is judged; CMD is another
echo server or client, with {port}, or {url} or {address} and {agent}, in it. With --tls, the suite speaks wss, to the example
`ws-echo`, or to CMD, as the server.

The suite comes from PyPI into --dir (default: target/autobahn) at first. It needs a CPython 2.7, found as $PYTHON27,
`python2.7` or in pyenv; with $AUTOBAHN_DIR, the suite is taken from there: a folder whose wstest.json names its Python.
"""

import argparse
import collections
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import venv

from lib import ROOT, free_port, listening, skipped

EXPECTED = json.loads((ROOT / "ci/autobahn-expected.json").read_text())

# wstest with its listeners on loopback only. Runs on the suite's Python.
WSTEST = """
from autobahntestsuite import choosereactor
from twisted.internet import reactor
listen = reactor.listenTCP
reactor.listenTCP = lambda port, factory, backlog=50, interface="": listen(port, factory, backlog, "127.0.0.1")
from autobahntestsuite import wstest
wstest.run()
"""


def suite(folder):
    """Returns a Python that has the suite, installing the suite if needed."""
    given = os.environ.get("AUTOBAHN_DIR")
    if given:
        return json.loads(pathlib.Path(given, "wstest.json").read_text())["python"]
    python = folder / "suite/bin/python"
    if not (folder / "installed").exists():
        python27 = find_python27()
        host = folder / "host"
        venv.create(host, with_pip=True, clear=True)
        pip = [host / "bin/python", "-m", "pip", "install", "-q"]
        # The last release that makes environments for Python 2.7.
        subprocess.run([*pip, "virtualenv==20.21.1"], check=True)
        make = [host / "bin/python", "-m", "virtualenv", "-q", "-p", python27, folder / "suite"]
        subprocess.run(make, check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "autobahntestsuite==25.10.1"], check=True)
        (folder / "installed").touch()
    return python


def find_python27():
    """Returns a CPython 2.7 that works; pyenv's shims for inactive versions do not."""
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    found = [os.environ.get("PYTHON27"), shutil.which("python2.7"), *pyenv.glob("versions/2.7*/bin/python2.7")]
    for python in filter(None, found):
        if subprocess.run([python, "-c", "import ssl, zlib"], capture_output=True).returncode == 0:
            return python
    skipped("the Autobahn TestSuite", "no CPython 2.7, set PYTHON27")
    sys.exit(0)


def run(options, python, role):
    """Returns the results of one run, by case."""
    out = options.dir / role
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    port = free_port()
    url = f"{'wss' if options.tls else 'ws'}://127.0.0.1:{port}"
    spec = {
        "outdir": str(out),
        "cases": options.cases.split(","),
        "exclude-cases": [] if options.deflate else ["12.*", "13.*"],
        "exclude-agent-cases": {},
    }
    if role == "server":
        spec["servers"] = [{"agent": "proto-ws", "url": url}]
    else:
        spec["url"] = url
    (out / "spec.json").write_text(json.dumps(spec))
    mode = "fuzzingclient" if role == "server" else "fuzzingserver"
    judge = [python, "-c", WSTEST, "-m", mode, "-s", out / "spec.json", *(["-u", "0"] if role == "client" else [])]
    command = options.server if role == "server" else options.client
    command = shlex.split(command.format(port=port, url=url, address=f"127.0.0.1:{port}", agent="proto-ws"))
    first, second = (command, judge) if role == "server" else (judge, command)
    with open(out / "first.log", "w") as first_log, open(out / "second.log", "w") as second_log:
        with listening(first, port, stdout=first_log, stderr=subprocess.STDOUT):
            subprocess.run(second, stdout=second_log, stderr=subprocess.STDOUT, timeout=3600, check=True)
    return json.loads((out / "index.json").read_text())["proto-ws"]


def verdict(results, role, deflate, whole):
    """Prints the results. Returns whether they are as expected."""
    problems = []
    count = EXPECTED["cases" if deflate else "cases without deflate"]
    if whole and len(results) != count:
        problems.append(f"{len(results)} results, {count} expected")
    codes = {case: int(code) for code, cases in EXPECTED["close codes"].items() for case in cases}
    for case, result in results.items():
        expected = "INFORMATIONAL" if case in EXPECTED["informational"] else "OK"
        if result["behavior"] != expected or result["behaviorClose"] not in ("OK", "INFORMATIONAL"):
            problems.append(f"{case}: {result['behavior']}, close {result['behaviorClose']}")
        if case in codes and result["remoteCloseCode"] != codes[case]:
            problems.append(f"{case}: closed with {result['remoteCloseCode']}, not {codes[case]}")
    counts = collections.Counter(result["behavior"] for result in results.values())
    print(f"{role}: {len(results)} cases: " + ", ".join(f"{n} {what}" for what, n in counts.most_common()))
    for problem in problems:
        print(f"  {problem}")
    return not problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deflate", action="store_true")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--role", choices=["server", "client"])
    parser.add_argument("--cases", default="*")
    parser.add_argument("--dir", type=pathlib.Path, default=ROOT / "target/autobahn")
    echo = ROOT / "target/quick/examples/blocking_echo"
    parser.add_argument("--server")
    parser.add_argument("--client", default=f"{echo} autobahn {{url}} {{agent}}")
    options = parser.parse_args()
    options.dir = options.dir.resolve()
    options.dir.mkdir(parents=True, exist_ok=True)
    if options.tls:
        if options.role == "client":
            parser.error("--tls is for the role server")
        options.role = "server"
        # For localhost; the suite checks no certificate.
        pair = ROOT / "fuzz/bodies/src/tls"
        flags = f"--tls-cert {pair / 'cert.pem'} --tls-key {pair / 'key.pem'}"
        server = f"{ROOT / 'target/quick/ws-echo'} --listen 127.0.0.1:{{port}} {flags}"
        build = "cargo build -q --profile quick -p examples --bin ws-echo"
    else:
        server = f"{echo} serve 127.0.0.1:{{port}}"
        build = "cargo build -q --profile quick -p wirestate-ws --all-features --example blocking_echo"
    if not options.server or not options.tls:
        subprocess.run(shlex.split(build), cwd=ROOT, check=True)
    options.server = options.server or server
    python = suite(options.dir)
    roles = [options.role] if options.role else ["server", "client"]
    whole = options.cases == "*"
    good = [verdict(run(options, python, role), role, options.deflate, whole) for role in roles]
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
