"""Runs cargo, and finds the programs that it builds."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / "target"

# Packages built so far, so that cargo runs once for each.
built = set()


def run(*command, **options):
    """Runs a command in the root of the repository; exits if it fails."""
    sys.stdout.flush()
    environment = os.environ | options.pop("environment", {})
    done = subprocess.run([str(word) for word in command], cwd=ROOT, env=environment, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(str(word) for word in command)}: exit status {done.returncode}")
    return done


def build(*arguments):
    if arguments not in built:
        run("cargo", "build", "--quiet", *arguments)
        built.add(arguments)


def release(package, *programs):
    """Returns the paths of programs that are measured, built with all optimizations."""
    build("--release", "-p", package, *(word for program in programs for word in ("--bin", program)))
    return [TARGET / "release" / program for program in programs]


def quick(package, *programs):
    """Returns the paths of programs that have much to do but are not measured."""
    build("--profile", "quick", "-p", package, *(word for program in programs for word in ("--bin", program)))
    return [TARGET / "quick" / program for program in programs]


def debug(*programs):
    """Returns the paths of programs as tests have them: with debug assertions, built together because all will be needed."""
    build("-p", "benches", "-p", "comet", "-p", "examples")
    return [TARGET / "debug" / program for program in programs]


def debug_example(package, example, *arguments):
    """Returns the path of a crate's example, built with debug assertions."""
    build("-p", package, "--example", example, *arguments)
    return TARGET / "debug/examples" / example
