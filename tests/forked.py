"""The reference's process as a fork of one that has torch loaded already, which takes most of its time otherwise.

What it runs is the same. Conversions by the command line start it as users' do.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["sentence_transformers", "transformers", "tf_exporter.hub.reference"])


def _run(ends: list[Any], module: str, options: str) -> None:
    """As `python -c` with standard streams of its own."""
    for number, end in enumerate(ends):
        os.dup2(end.detach(), number)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    __import__(module, fromlist=["main"]).main(options)


class Forked:
    """What `subprocess.Popen` is to the reference."""

    def __init__(self, module: str, options: dict[str, Any], place: Path):
        """`place`: where a process of its own has its temporary files, which this one shares with the tests."""
        pipes = [os.pipe() for _ in range(3)]
        inner, outer = [pipes[0][0], pipes[1][1], pipes[2][1]], [pipes[0][1], pipes[1][0], pipes[2][0]]
        self._process = _CONTEXT.Process(target=_run, args=([DupFd(end) for end in inner], module, json.dumps(options)))
        self._process.start()
        for end in inner:
            os.close(end)
        self._ends = [os.fdopen(end, mode) for end, mode in zip(outer, ("wb", "rb", "rb"))]

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.exitcode

    def communicate(self, request: bytes = b"") -> tuple[bytes, bytes]:
        """What it writes to standard output and standard error; waits for its end."""
        request_end, *answer_ends = self._ends

        def send() -> None:
            try:
                with request_end:
                    request_end.write(request)
            except BrokenPipeError:
                pass  # it died, as its return code says

        with ThreadPoolExecutor(3) as threads:
            sent, *answers = threads.submit(send), *(threads.submit(end.read) for end in answer_ends)
            sent.result()
            found, log = (answer.result() for answer in answers)
        for end in answer_ends:
            end.close()
        self._process.join()
        return found, log

    def poll(self) -> int | None:
        """As `returncode`."""
        return self.returncode

    def kill(self) -> None:
        """Ends it."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)
