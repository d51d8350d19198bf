#!/usr/bin/env python3
"""The Python package: its wheel, its tests beside h11 and wsproto, uvicorn on it, its example.

usage: hosts_python.py [--speed | --cases N --seed S]

--speed prints tables beside h11, httptools and wsproto. N streams and connections (1,000) are compared in each test that generates them.
"""

import argparse
import os
import subprocess
import sys

from lib.build import ROOT, TARGET
from lib.tools import alone, python_with, skipped

HOME = ROOT / "hosts/python"
BUILD, WHEELS = TARGET / "host-python", TARGET / "wheels"
NEEDED = ["maturin", "h11", "wsproto", "httptools", "uvicorn", "starlette", "websockets"]


def run(*words, **options):
    sys.stdout.flush()
    environment = os.environ | {"CARGO_TARGET_DIR": str(BUILD)} | options.pop("environment", {})
    done = subprocess.run([str(word) for word in words], timeout=600, env=environment, **options)
    if done.returncode != 0:
        print(done.stdout or "", flush=True)
        sys.exit(f"{' '.join(str(word) for word in words)}: exit status {done.returncode}")
    return done


def missing(python):
    """What this needs and does not have."""
    if subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).returncode:
        return "Python 3.11"
    for package in NEEDED:
        if subprocess.run([python, "-c", f"import {package}"], capture_output=True).returncode:
            return f"the Python package {package}"
    return None


def installed(python):
    """Builds the wheel and installs it."""
    for old in WHEELS.glob("wirestate-*.whl"):
        old.unlink()
    words = ["-m", "maturin", "build", "--release", "--quiet", "--interpreter", python, "--manifest-path", HOME / "Cargo.toml"]
    run(python, *words, "--out", WHEELS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    [wheel] = WHEELS.glob("wirestate-*.whl")
    assert "-cp311-abi3-" in wheel.name, wheel.name
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes", flush=True)
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--force-reinstall", "--no-deps"]
    with alone():
        run(python, *pip, wheel)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--speed", action="store_true")
    arguments.add_argument("--cases", default="1000")
    arguments.add_argument("--seed", default="1")
    asked = arguments.parse_args()
    python = python_with(*NEEDED)
    if absent := missing(python):
        return skipped("the Python package", f"{absent} is not installed")
    installed(python)
    if asked.speed:
        return run(python, HOME / "benches/speed.py", environment={"PYTHONPATH": str(HOME / "benches")})
    manifest = ["--manifest-path", HOME / "Cargo.toml"]
    run("cargo", "fmt", "--check", *manifest)
    run("cargo", "clippy", "--quiet", "--locked", "--release", *manifest, "--", "-D", "warnings")
    counts = {"CASES": asked.cases, "SEED": asked.seed, "PYTHONDONTWRITEBYTECODE": "1"}
    run(python, "-W", "ignore::DeprecationWarning", "-m", "unittest", "discover", "-t", HOME, "-s", HOME / "tests", cwd=HOME, environment=counts)


if __name__ == "__main__":
    main()
