#!/usr/bin/env python3
"""Checks the library crates with the oldest version that each direct dependency is said to do with.

usage: minimal_versions.py

Needs a nightly toolchain; works on a copy, so that Cargo.lock stays as it is.
"""

import re
import subprocess

from lib import TARGET, run, skipped
from lib.parts import LIBRARIES, packages
from lib.tree import copied

# Programs are built with Cargo.lock, so their requirements must not interfere.
PROGRAMS = ["comet", "examples", "benches", "fuzz/bodies"]


def main():
    if subprocess.run(["cargo", "+nightly", "--version"], capture_output=True).returncode:
        return skipped("minimal versions", "no nightly toolchain")
    with copied() as copy:
        (copy / "Cargo.lock").unlink()
        manifest = copy / "Cargo.toml"
        members = "|".join(map(re.escape, PROGRAMS))
        text = re.sub(rf'(?m)^    "({members})",\n|^default-members.*\n', "", manifest.read_text())
        manifest.write_text(text)
        where = ["--manifest-path", manifest]
        run("cargo", "+nightly", "update", "--quiet", "-Z", "direct-minimal-versions", *where)
        target = ["--target-dir", TARGET / "minimal-versions"]
        run("cargo", "+nightly", "check", "--quiet", "--all-features", *target, *where, *packages(LIBRARIES))
    print("the library crates compile with the oldest versions of their direct dependencies")


if __name__ == "__main__":
    main()
