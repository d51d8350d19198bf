"""A copy of the repository, for checks that modify committed files."""

import contextlib
import pathlib
import shutil
import subprocess
import tempfile

from .build import ROOT


@contextlib.contextmanager
def copied():
    """Yields the path of a copy of all files that are not ignored by git; removed when the block ends."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode().split("\0")
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        for name in filter(None, names):
            # A deleted file that is not committed yet is still listed.
            if (ROOT / name).exists():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name)
        yield copy
