"""Folders for temporary files that do not outlast a conversion, or no longer than to the next."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tf_exporter.errors import UsageError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX = "tf-exporter-"
_LOCK = ".lock"
"""Locked for as long as the process lives that made the folder."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder, removed at the end; so are those that killed processes left beside it.

    Raises:
        UsageError: there is no place for one.
    """
    try:
        _remove_left_behind(Path(tempfile.gettempdir()))
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError as error:
        raise UsageError(f"no folder for temporary files can be made ({error.strerror or error})") from error
    # Locked before it has its name: others take a lock that is not held for one of the dead.
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks, where nobody can take this one either
                fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(folder / "lock", folder / _LOCK)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def temporary_files() -> Iterator[None]:
    """Has all temporary files of this process, and of those that it starts, in a scratch folder: TensorFlow's among them."""
    with scratch_folder() as folder:
        before = tempfile.tempdir, os.environ.get("TMPDIR")
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before[0]
            if before[1] is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before[1]


def _remove_left_behind(place: Path) -> None:
    if fcntl is None:
        return
    for folder in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
