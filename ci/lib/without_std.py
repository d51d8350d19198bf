"""Builds for targets that have no precompiled core here: with Debian's Rust for browsers, which comes with the sources of core."""

import os
import subprocess
import sys

from .build import ROOT, TARGET
from .tools import command, skipped

RUSTC = "/usr/bin/rustc"
SOURCES = "/usr/lib/rustlib/src/rust/library/core/Cargo.toml"


def linker(name):
    """lld of LLVM 19, or what there is: older ones do not define all symbols of WebAssembly."""
    return command(f"{name}-19", "lld-19") or command(name, "lld")


def build_std(verb, targets, *words, flags=""):
    """Runs cargo for `targets` with core and alloc built from their sources, in target/build-std. False if that is not possible."""
    if not os.path.exists(SOURCES):
        # Packages without programs of these names.
        command("rustc-web", "rustc-web")
        command("rust-web-src", "rust-web-src")
    if not os.path.exists(RUSTC) or not os.path.exists(SOURCES):
        skipped(" and ".join(targets), "Debian's packages rustc-web and rust-web-src are not installed")
        return False
    environment = os.environ | {
        "RUSTC": RUSTC,
        # -Zbuild-std and immediate aborts are not stable.
        "RUSTC_BOOTSTRAP": "1",
        "RUSTFLAGS": f"-Zunstable-options -Cpanic=immediate-abort {flags}".strip(),
    }
    command_line = ["cargo", verb, "--quiet", "-Zbuild-std=core,alloc", "--target-dir", TARGET / "build-std"]
    words = [*(word for target in targets for word in ("--target", target)), *words]
    done = subprocess.run([str(word) for word in [*command_line, *words]], cwd=ROOT, env=environment)
    if done.returncode != 0:
        sys.exit(f"cargo {verb} for {' and '.join(targets)}: exit status {done.returncode}")
    return True
