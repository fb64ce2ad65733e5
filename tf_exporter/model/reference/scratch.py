"""Folders for temporary files. They are removed after the conversion, or before the next one."""

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
"""Locked while the process that made the folder lives."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder that is removed at the end. Folders that killed processes left are removed, too.

    Raises:
        UsageError: the folder cannot be made.
    """
    try:
        _remove_left_behind(Path(tempfile.gettempdir()))
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError as error:
        raise UsageError(
            f"no folder for temporary files can be made ({error.strerror or error})"
        ) from error
    # Locked before it gets its name, as other processes remove a folder whose lock is free.
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if fcntl is not None:
            # If the file system has no locks, other processes cannot take this one either.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(folder / "lock", folder / _LOCK)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def temporary_files() -> Iterator[None]:
    """Puts all temporary files of this process and its children into a scratch folder."""
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
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
