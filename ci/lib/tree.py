"""A copy of the repository, for checks that modify committed files."""

import contextlib
import pathlib
import shutil
import subprocess
import tempfile

from .build import ROOT


def copy(folder):
    """Brings all files that are, or could be, committed to a folder. What is there and the same stays, so that builds there last."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode().split("\0")
    # A file that is deleted but not committed is listed all the same.
    names = {name for name in names if name and (ROOT / name).exists()}
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if str(path.relative_to(folder)) not in names:
            path.unlink()
    for name in names:
        here, there = ROOT / name, folder / name
        if not there.exists() or here.read_bytes() != there.read_bytes():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(here, there)


@contextlib.contextmanager
def copied():
    """The path of such a copy, which is gone when the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        copy(pathlib.Path(folder))
        yield pathlib.Path(folder)
