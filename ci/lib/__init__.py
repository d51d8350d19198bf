"""The code that the checks of this folder share. `ci/check` runs them; each script also runs by itself."""

from .build import ROOT, TARGET, debug_example, quick, release, run
from .process import DRIVERS, PATIENCE, Server, end, free_port, listening, wait_for_port
from .tools import command, is_root, node_path, python_with, skipped

__all__ = [
    "DRIVERS",
    "PATIENCE",
    "ROOT",
    "Server",
    "TARGET",
    "command",
    "debug_example",
    "end",
    "free_port",
    "is_root",
    "listening",
    "node_path",
    "python_with",
    "quick",
    "release",
    "run",
    "skipped",
    "wait_for_port",
]
