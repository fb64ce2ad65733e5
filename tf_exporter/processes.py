"""A process of the reference: how it starts, how long it may take, that it ends, and what is said where it fails.

A process of its own, because torch's and TensorFlow's copies of LLVM abort when they meet in one process, and so that its memory
is given back.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from tf_exporter.errors import VerificationError, one_line

_START = """
import importlib, sys
sys.path = [path for path in sys.path if path] + sys.argv[1:2]
importlib.import_module("tf_exporter.processes").end_with(int(sys.argv[4]))
importlib.import_module(sys.argv[2]).main(sys.argv[3])
"""
"""Without the current folder, which Python would search first: it may hold anybody's torch.py."""

_FAILED = "the reference failed: "
"""What the line of standard error begins with that tells why."""
_MEMORY = ("MemoryError", "can't allocate memory", "Cannot allocate memory", "not enough memory", "bad_alloc")
"""What errors for lack of memory say, of Python, torch, the system and C++."""
_SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux's prctl."""
_WATCH = 0.5
"""Seconds between two looks at whether the parent still lives."""


class Process(Protocol):
    """What is needed of `subprocess.Popen`."""

    @property
    def returncode(self) -> Any:
        """None while it runs; below 0, the signal that ended it."""

    def communicate(self, request: bytes = b"") -> tuple[bytes, bytes]:
        """What it writes to standard output and standard error; waits for its end."""

    def poll(self) -> Any:
        """As `returncode`."""

    def kill(self) -> None:
        """Ends it."""


def start(module: str, options: dict[str, Any], place: Path) -> Process:
    """A process that runs `main` of a module of this package, with the options as JSON.

    `place`: the folder for its temporary files, which is its current folder too, as ours may be gone.
    """
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1"}
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(place))
    environment = {**os.environ, **quiet, **temporary, "PYTHONPATH": os.pathsep.join(map(_absolute, paths))}
    package, parent = Path(__file__).parents[1], os.getpid()
    process: Process = subprocess.Popen(
        [sys.executable, "-c", _START, str(package), module, json.dumps(options), str(parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=place,
        env=environment,
    )
    return process


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except OSError:
        return path  # the current folder is gone, and what is relative to it


def end_with(parent: int) -> None:
    """Makes this process end when its parent does, even of SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH)
        os._exit(1)

    # Elsewhere, and where the parent has ended before this.
    threading.Thread(target=watch, daemon=True).start()


def finished(process: Process, request: bytes, package: str, seconds: float) -> bytes:
    """What the process answers to the request; waits for its end.

    Args:
        process: one that `start` started.
        request: what it reads from standard input.
        package: what it runs, for the error.
        seconds: how long it may take.

    Raises:
        VerificationError: it failed, or took longer.
    """
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        answer, log = process.communicate(request)
    except BaseException:
        process.kill()
        raise
    finally:
        timer.cancel()
    if late.is_set():
        raise VerificationError(f"the reference, {package}, did not answer within {seconds / 60:.0f} minutes and was ended")
    if process.returncode:
        raise VerificationError(f"the reference, {package}, {_reason(process.returncode, log.decode(errors='replace'))}")
    return answer


def _reason(code: int, log: str) -> str:
    """Why a process failed: what its exception said, or else the last line that it printed."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    said = next((line.removeprefix(_FAILED) for line in reversed(lines) if line.startswith(_FAILED)), None)
    last = said or next((line for line in reversed(lines) if "%|" not in line), f"exit code {code}")
    if any(word in last for word in _MEMORY):
        return f"ran out of memory: {last}"
    if said is None and code == -signal.SIGKILL:
        return "was killed (SIGKILL), as happens where memory is short"
    return f"cannot run this model: {last}"


def is_for_memory(error: BaseException) -> bool:
    """Whether an error says that there was not enough memory."""
    return any(word in f"{type(error).__name__}: {error}" for word in _MEMORY)


@contextmanager
def answering() -> Iterator[BinaryIO]:
    """Where a process of the reference writes its answer; whatever libraries print goes to standard error meanwhile.

    An exception ends the process, and its own words are the last line of standard error.
    """
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)
        try:
            yield output
        except Exception as error:
            message = one_line(error)
            name = type(error).__name__
            sys.stderr.write(f"\n{_FAILED}{message if message == name else f'{name}: {message}'}\n")
            sys.stderr.flush()
            raise SystemExit(1) from None
