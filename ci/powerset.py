#!/usr/bin/env python3
"""Checks the library crates with every combination of their features that differs from the others.

Of a crate with more than 64 combinations only some are checked: none of its features, each alone, each left out, and all.

A combination that names a feature which another of its features brings along is the same as one without it, so it is
left out, and so is `default`, which only names others. Warnings are errors.

usage: powerset.py [PACKAGE]...
"""

import itertools
import json
import subprocess
import sys

from lib.parts import LIBRARIES

# More combinations than this of one crate take too long.
MOST = 64
PACKAGES = [name for name in LIBRARIES if name != "wirestate-drivers"]


def closure(features, chosen):
    """Returns the chosen features, and all features that they enable."""
    reached, waiting = set(), list(chosen)
    while waiting:
        feature = waiting.pop()
        if feature in features and feature not in reached:
            reached.add(feature)
            waiting.extend(features[feature])
    return frozenset(reached)


def combinations(features):
    names = sorted(name for name in features if name != "default")
    sizes = range(len(names) + 1)
    if 2 ** len(names) > MOST:
        sizes = sorted({0, 1, len(names) - 1, len(names)})
    distinct = {}
    for size in sizes:
        for chosen in itertools.combinations(names, size):
            distinct.setdefault(closure(features, chosen), chosen)
    return distinct.values()


def main():
    packages = sys.argv[1:] or PACKAGES
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], check=True, stdout=subprocess.PIPE
    )
    features = {package["name"]: package["features"] for package in json.loads(metadata.stdout)["packages"]}
    checked = 0
    for package in packages:
        for chosen in combinations(features[package]):
            command = ["cargo", "clippy", "--quiet", "--no-deps", "--package", package, "--lib"]
            command += ["--no-default-features", "--features", ",".join(chosen), "--", "-D", "warnings"]
            if subprocess.run(command).returncode != 0:
                sys.exit(f"{package} fails with the features [{', '.join(chosen)}]")
            checked += 1
    print(f"{checked} combinations of features")


if __name__ == "__main__":
    main()
