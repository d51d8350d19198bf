"""A copy of the repository, for what must change files that are committed."""

import contextlib
import pathlib
import shutil
import subprocess
import tempfile

from .build import ROOT


@contextlib.contextmanager
def copied():
    """The path of a copy of all files that are, or could be, committed; it is gone when the block ends."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode().split("\0")
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        for name in filter(None, names):
            # A file that is deleted but not committed is listed all the same.
            if (ROOT / name).exists():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name)
        yield copy
