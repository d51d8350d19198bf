"""Other people's programs and packages: found, or installed where that was asked for, or named as missing."""

import os
import shutil
import subprocess
import sys
import venv

from .build import TARGET

# Debian packages are installed only where CI_INSTALL=1 says so; packages of Python and Node go to target/ in any case.
INSTALL = os.environ.get("CI_INSTALL") == "1"


def skipped(what, why):
    print(f"SKIPPED {what}: {why}", flush=True)


def is_root():
    return os.geteuid() == 0


def command(name, package=None):
    """The path of a program, or None. `package` is the Debian package that has it."""
    path = f"{os.environ['PATH']}:/usr/sbin:{TARGET / 'tools/bin'}"
    found = shutil.which(name, path=path)
    if found or not (INSTALL and package and is_root() and shutil.which("apt-get")):
        return found
    TARGET.mkdir(exist_ok=True)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with open(TARGET / f"{package}.log", "w") as log:
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", package]):
            subprocess.run(["apt-get", "-qq", *arguments], env=os.environ | quiet, stdout=log, stderr=log)
    return shutil.which(name, path=path)


def python_with(*packages):
    """A Python that has these packages, so far as they could be installed; what uses them says what it lacks."""
    home = TARGET / "python"
    python = home / "bin/python"
    if not python.exists():
        try:
            venv.create(home, with_pip=True)
        except (OSError, subprocess.CalledProcessError):
            return sys.executable
    missing = [name for name in packages if subprocess.run([python, "-c", f"import {name}"], capture_output=True).returncode]
    if missing:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *missing])
    return python


def node_path(*packages):
    """The value of NODE_PATH with which Node finds these packages; None without Node, or where they could not be installed."""
    home = TARGET / "node"
    if not shutil.which("node"):
        return None
    missing = [name for name in packages if not (home / "node_modules" / name).exists()]
    if missing and shutil.which("npm"):
        subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", home, *missing])
    if all((home / "node_modules" / name).exists() for name in packages):
        return str(home / "node_modules")
    return None
