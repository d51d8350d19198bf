#!/usr/bin/env python3
"""Runs the tests of the crates that have unsafe lines, and the fuzzers' corpora, where faults of memory are seen.

usage: memory.py

Reading or writing beside memory, use after it is freed, and leaks: the address sanitizer of a nightly toolchain. Reading what was
never written: valgrind. What cannot run here is named as SKIPPED.
"""

import json
import os
import subprocess

from lib import command, run, skipped

CRATES = ["-p", "wirestate-ws", "-p", "wirestate-http"]


def with_address_sanitizer():
    if subprocess.run(["cargo", "+nightly", "--version"], capture_output=True).returncode:
        return skipped("the address sanitizer", "no nightly toolchain")
    version = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    host = next(line.removeprefix("host: ") for line in version.splitlines() if line.startswith("host: "))
    flags = {"RUSTFLAGS": "-Zsanitizer=address", "ASAN_OPTIONS": "detect_leaks=1"}
    # No doctests: rustdoc would need the flags too, and doctests exercise nothing that tests do not.
    where = ["--target", host, "--target-dir", "target/sanitizer"]
    what = [*CRATES, "-p", "fuzz-bodies", "--all-features", "--lib", "--tests"]
    run("cargo", "+nightly", "test", "--quiet", *where, *what, environment=flags)
    print("nothing found by the address sanitizer", flush=True)


def with_valgrind():
    if not command("valgrind"):
        return skipped("valgrind", "not installed")
    build = ["cargo", "test", "--no-run", "--message-format=json", *CRATES, "--all-features", "--lib"]
    messages = map(json.loads, run(*build, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.splitlines())
    programs = [message["executable"] for message in messages if message.get("profile", {}).get("test")]
    # An empty list would check nothing.
    assert len(programs) == 2, programs
    for program in programs:
        run("valgrind", "--quiet", "--error-exitcode=1", program, "--quiet")
    print("nothing found by valgrind", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("PROPTEST_CASES", "32")
    with_address_sanitizer()
    with_valgrind()
