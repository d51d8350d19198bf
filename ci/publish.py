#!/usr/bin/env python3
"""Checks that every library crate could be published: what its manifest says, and that its package builds by itself.

usage: publish.py [--list | --flags]

Nothing is published. The packages are made, and built from what is in them, in a copy of the repository in which
`publish = false` is lifted; each sees those before it as if they were on the registry. The order must be that of
docs/releasing.md. With --list, only the order is printed; with --flags, as flags for cargo.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

from lib import ROOT, run
from lib.parts import LIBRARIES, packages
from lib.tree import copied

LICENCES = ("LICENSE-APACHE", "LICENSE-MIT")
# Metadata that a page on crates.io shows, and the maximum number of each.
SHOWN = {"description": None, "keywords": 5, "categories": 5, "license": None, "readme": None, "rust_version": None}


def libraries():
    """Returns the metadata of all crates to be published, in the order of their dependencies."""
    command = ["cargo", "metadata", "--no-deps", "--format-version=1"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    waiting = {package["name"]: package for package in metadata["packages"] if package["name"] in LIBRARIES}
    needs = {
        name: {each["name"] for each in package["dependencies"] if each.get("path")} & waiting.keys() - {name}
        for name, package in waiting.items()
    }
    ordered = []
    while needs:
        ready = sorted(name for name, others in needs.items() if not others)
        assert ready, f"a circle: {needs}"
        for name in ready:
            ordered.append(waiting[name])
            del needs[name]
        for others in needs.values():
            others.difference_update(ready)
    return ordered


def faults(package):
    """Returns what is missing in a manifest, or beside it."""
    folder = ROOT / package["manifest_path"].removeprefix(f"{ROOT}/")
    for field, most in SHOWN.items():
        if not package[field]:
            yield f"no {field}"
        elif most and len(package[field]) > most:
            yield f"more than {most} {field}"
    for keyword in package["keywords"]:
        if len(keyword) > 20 or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+-]*", keyword):
            yield f"the keyword {keyword!r}"
    if not (package["metadata"] or {}).get("docs", {}).get("rs", {}).get("all-features"):
        yield "no [package.metadata.docs.rs] with all features"
    for licence in LICENCES:
        beside = folder.parent / licence
        if not beside.exists() or beside.read_bytes() != (ROOT / licence).read_bytes():
            yield f"no {licence} in its folder"
    for dependency in package["dependencies"]:
        # A test dependency without a version is left out of the package.
        if dependency.get("path") and dependency["req"] == "*" and dependency["kind"] != "dev":
            yield f"no version of {dependency['name']}"


def make(names):
    """Packages all crates, and builds each from its package."""
    with copied() as copy:
        # Always a new version, because cargo does not unpack a known version again.
        target = copy / "target"
        manifest = copy / "Cargo.toml"
        text, lifted = re.subn(r"(?m)^publish = false$", "publish = true", manifest.read_text())
        assert lifted == 1, "no `publish = false` to lift"
        manifest.write_text(text)
        where = ["--manifest-path", manifest, "--target-dir", target, "--allow-dirty"]
        run("cargo", "package", "--quiet", *where, *packages(names))
        for name in names:
            [made] = (target / "package").glob(f"{name}-[0-9]*.crate")
            with tarfile.open(made) as archive:
                inside = {member.name.split("/", 1)[1]: member.size for member in archive if member.isfile()}
            for wanted in (*LICENCES, "README.md", "CHANGELOG.md", "src/lib.rs"):
                assert inside.get(wanted), f"{name} has no {wanted} in its package"
            print(f"{name}: {len(inside)} files, {made.stat().st_size >> 10} KiB", flush=True)
    forget(names)


def forget(names):
    """Removes unpacked packages of this check from cargo's cache."""
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    for name in names:
        for unpacked in home.glob(f"registry/src/-*/{name}-[0-9]*"):
            shutil.rmtree(unpacked)
            with contextlib.suppress(OSError):
                unpacked.parent.rmdir()


def main():
    ordered = libraries()
    names = [package["name"] for package in ordered]
    if sys.argv[1:] == ["--list"]:
        return print("\n".join(names))
    if sys.argv[1:] == ["--flags"]:
        return print(*packages(names))
    bad = [f"{package['name']}: {fault}" for package in ordered for fault in faults(package)]
    told = re.search(r"```text\n(.*?)```", (ROOT / "docs/releasing.md").read_text(), re.S)
    if not told or told[1].split() != names:
        bad.append(f"docs/releasing.md lists another order than {' '.join(names)}")
    if bad:
        sys.exit("\n".join(bad))
    make(names)


if __name__ == "__main__":
    main()
