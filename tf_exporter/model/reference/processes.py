"""The processes of the reference: their start, time limit, end and errors.

The reference runs in a separate process because torch's and TensorFlow's copies of LLVM abort when
they meet in one process, and because its memory is freed when the process ends.
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
importlib.import_module("tf_exporter.model.reference.processes").end_with(int(sys.argv[4]))
importlib.import_module(sys.argv[2]).main(sys.argv[3])
"""
"""The code of a process. It does not search the current folder, which may have a torch.py."""

_FAILED = "the reference failed: "
"""The start of the line of standard error that gives the reason."""
_MEMORY = (
    "MemoryError",
    "can't allocate memory",
    "Cannot allocate memory",
    "not enough memory",
    "bad_alloc",
)
"""Words in out-of-memory errors of Python, torch, the system and C++."""
_SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux's prctl."""
_WATCH_INTERVAL = 0.5
"""Seconds between two checks that the parent still lives."""


class Process(Protocol):
    """The part of `subprocess.Popen` that is used."""

    @property
    def returncode(self) -> int | None:
        """None while it runs; if negative, minus the signal that ended it."""

    def communicate(self, request: bytes = b"") -> tuple[bytes, bytes]:
        """Waits for its end; returns its standard output and standard error."""

    def poll(self) -> int | None:
        """The current `returncode`."""

    def kill(self) -> None:
        """Ends it."""


def start(module: str, options: dict[str, Any], place: Path) -> Process:
    """Starts a process that runs `main` of a module of this package, with the options as JSON.

    `place` is its folder for temporary files, and its current folder, as ours may be gone.
    """
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    quiet = {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_OFFLINE": "1",
    }
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(place))
    environment = {
        **os.environ,
        **quiet,
        **temporary,
        "PYTHONPATH": os.pathsep.join(map(_absolute, paths)),
    }
    package, parent = Path(__file__).parents[3], os.getpid()
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
        return path  # the current folder is gone, so the path leads nowhere


def end_with(parent: int) -> None:
    """Makes this process end when its parent does, even by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_INTERVAL)
        os._exit(1)

    # For other systems, and in case the parent has ended before the call above.
    threading.Thread(target=watch, daemon=True).start()


def finished(process: Process, request: bytes, package: str, seconds: float) -> bytes:
    """Waits for the end of a process; returns its answer to the request.

    Args:
        process: the result of `start`.
        request: its standard input.
        package: the package that it runs, for errors.
        seconds: its time limit.

    Raises:
        VerificationError: it failed or took too long.
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
        raise VerificationError(
            f"the reference, {package}, "
            f"did not answer within {seconds / 60:.0f} minutes and was ended"
        )
    if process.returncode:
        raise VerificationError(
            f"the reference, {package}, {_reason(process.returncode, log.decode(errors='replace'))}"
        )
    return answer


def _reason(code: int, log: str) -> str:
    """The reason why a process failed: its exception, or else the last line that it printed."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    failure = next(
        (line.removeprefix(_FAILED) for line in reversed(lines) if line.startswith(_FAILED)), None
    )
    last = failure or next(
        (line for line in reversed(lines) if "%|" not in line), f"exit code {code}"
    )
    if any(word in last for word in _MEMORY):
        return f"ran out of memory: {last}"
    if failure is None and code == -signal.SIGKILL:
        return "was killed (SIGKILL), probably for lack of memory"
    return f"cannot run this model: {last}"


def is_for_memory(error: BaseException) -> bool:
    """Whether an error is an out-of-memory error."""
    return any(word in f"{type(error).__name__}: {error}" for word in _MEMORY)


@contextmanager
def answering() -> Iterator[BinaryIO]:
    """The stream for a process's answer. Anything that libraries print goes to standard error.

    An exception ends the process. Its message is the last line of standard error.
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
