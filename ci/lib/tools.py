"""Finds other projects' programs and packages, installs them if permitted, or reports them as missing."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
import venv

from .build import TARGET

# Debian packages are installed only with CI_INSTALL=1; packages of Python and Node always go to target/.
INSTALL = os.environ.get("CI_INSTALL") == "1"


def skipped(what, why):
    print(f"SKIPPED {what}: {why}", flush=True)


def is_root():
    return os.geteuid() == 0


@contextlib.contextmanager
def alone():
    """Parts may run at the same time; only one of them installs."""
    TARGET.mkdir(exist_ok=True)
    with open(TARGET / "install.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def command(name, package=None):
    """Returns the path of a program, or None. `package` is its Debian package."""
    path = f"{os.environ['PATH']}:/usr/sbin:{TARGET / 'tools/bin'}"
    found = shutil.which(name, path=path)
    if found or not (INSTALL and package and is_root() and shutil.which("apt-get")):
        return found
    with alone(), open(TARGET / f"{package}.log", "w") as log:
        def apt(*arguments):
            quiet = {"DEBIAN_FRONTEND": "noninteractive"}
            return subprocess.run(["apt-get", "-qq", *arguments], env=os.environ | quiet, stdout=log, stderr=log).returncode == 0

        # The lists of packages are fetched once.
        updated = TARGET / "apt-updated"
        if not updated.exists() or time.time() - updated.stat().st_mtime > 3600:
            if apt("update"):
                updated.touch()
        apt("install", "-y", "--no-install-recommends", package)
    return shutil.which(name, path=path)


def python_with(*packages):
    """Returns a Python with these packages, as far as they could be installed; users of a missing package report it."""
    home = TARGET / "python"
    python = home / "bin/python"
    with alone():
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
    """Returns the NODE_PATH for these packages; None without Node, or if they could not be installed."""
    home = TARGET / "node"
    if not shutil.which("node"):
        return None
    with alone():
        missing = [name for name in packages if not (home / "node_modules" / name).exists()]
        if missing and shutil.which("npm"):
            subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", home, *missing])
    if all((home / "node_modules" / name).exists() for name in packages):
        return str(home / "node_modules")
    return None
