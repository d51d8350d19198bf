#!/usr/bin/env python3
"""Holds the pages to the figures that were measured: each has its place in docs/figures.json, and pages quote it.

usage: figures.py            fails where a page says another figure than the file
       figures.py --write    corrects the pages
       figures.py --measure  measures the bytes of idle connections, writes the file, and corrects the pages

A page quotes a figure as `1,031<!--instructions/GET/epoll-->`: the number, then its path in the file. `instr.py --update` writes
the instructions.
"""

import argparse
import json
import re
import subprocess
import sys

from lib import DRIVERS, ROOT, free_port, release

FILE = ROOT / "docs/figures.json"
QUOTE = re.compile(r"([\d,.]+)(<!--([^<>]*?)-->)")
# The protocol, and the flags of the testbed and of the load generator.
IDLE = {
    "HTTP/1.1 alone": (["--no-http2"], ["--mode", "http"]),
    "HTTP": ([], ["--mode", "http"]),
    "WebSocket": ([], ["--mode", "ws"]),
}
CONNECTIONS = 9000


def read():
    return json.loads(FILE.read_text())


def write(figures):
    FILE.write_text(json.dumps(figures, indent=2) + "\n")


def figure(figures, path):
    """Returns the figure at a path, whose parts may contain slashes."""
    if not isinstance(figures, dict):
        return figures if path == "" else None
    for name, below in figures.items():
        if path == name or path.startswith(f"{name}/"):
            found = figure(below, path[len(name) + 1 :])
            if found is not None:
                return found
    return None


def hold(correct):
    """Compares the pages with the file, and corrects them if asked to. Returns the differences."""
    figures, wrong, quoted = read(), [], 0
    pages = [*ROOT.glob("*.md"), *ROOT.glob("*/*.md")]
    for page in pages:
        text = page.read_text()

        def replaced(quote):
            nonlocal quoted
            said, mark, path = quote.groups()
            quoted += 1
            known = figure(figures, path)
            if known is None:
                wrong.append(f"{page.relative_to(ROOT)}: there is no figure {path}")
                return quote[0]
            if said != f"{known:,}" and not correct:
                wrong.append(f"{page.relative_to(ROOT)} says {said} for {path}, which is {known:,}")
            return f"{known:,}{mark}"

        corrected = QUOTE.sub(replaced, text)
        if correct and corrected != text:
            page.write_text(corrected)
    # A pattern that matches nothing would check nothing.
    assert quoted > 10, quoted
    return wrong


def measure():
    testbed, load = release("benches", "testbed", "load")
    figures = read()
    for what, (flags, mode) in IDLE.items():
        for driver in DRIVERS:
            address = f"127.0.0.1:{free_port()}"
            server = " ".join([str(testbed), "--driver", driver, "--listen", address, *flags])
            command = [load, "--command", server, "--target", address, *mode]
            command += ["--connections", str(CONNECTIONS), "--idle", "1"]
            told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
            each = int(re.search(r"(\d+) bytes of memory per idle connection", told)[1])
            figures["bytes of an idle connection"].setdefault(what, {})[driver] = each
            print(f"{what}, {driver}: {each} bytes", flush=True)
    write(figures)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help="correct the pages")
    what.add_argument("--measure", action="store_true", help="measure idle connections, then correct the pages")
    options = parser.parse_args()
    if options.measure:
        measure()
    wrong = hold(options.write or options.measure)
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
