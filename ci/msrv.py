#!/usr/bin/env python3
"""Checks that the library crates build with the oldest compiler that Cargo.toml promises (`rust-version`).

usage: msrv.py

With that toolchain, by building them. Everywhere, that no dependency says it needs a newer one. Which parts of the standard
library are used is seen by clippy (`incompatible_msrv`) on any toolchain.
"""

import json
import subprocess
import sys

from lib import ROOT, run, skipped
from lib.parts import LIBRARIES, packages


def version(text):
    """Treats 1.88 like 1.88.0."""
    return tuple(map(int, (text + ".0").split(".")[:3]))


def main():
    command = ["cargo", "metadata", "--format-version=1", "--all-features"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    by_id = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    ours = [package for package in metadata["packages"] if package["name"] in LIBRARIES and not package["source"]]
    [promised] = {package["rust_version"] for package in ours}

    # All dependencies of the libraries' users: none that only tests need.
    reached, waiting = set(), [package["id"] for package in ours]
    while waiting:
        if (each := waiting.pop()) not in reached:
            reached.add(each)
            kinds = nodes[each]["deps"]
            waiting += [dep["pkg"] for dep in kinds if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])]
    needs = {each: by_id[each]["rust_version"] for each in reached if by_id[each]["rust_version"]}
    newer = [f"{by_id[each]['name']} needs Rust {need}" for each, need in needs.items() if version(need) > version(promised)]
    if newer:
        sys.exit("\n".join([f"Rust {promised} is promised, but", *newer]))
    print(f"none of {len(reached)} crates says that it needs more than Rust {promised}", flush=True)

    toolchain = f"+{promised}"
    if subprocess.run(["cargo", toolchain, "--version"], capture_output=True).returncode:
        return skipped(f"building with Rust {promised}", f"not installed; rustup toolchain install {promised}")
    run("cargo", toolchain, "check", "--quiet", "--all-features", "--target-dir", "target/msrv", *packages(LIBRARIES))
    print(f"the library crates build with Rust {promised}")


if __name__ == "__main__":
    main()
