"""The reference's process as a fork of one that has loaded torch, which saves most of its time.

It runs the same code. Conversions by the command line start the process as users' do.
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
_CONTEXT.set_forkserver_preload(
    ["sentence_transformers", "transformers", "tf_exporter.verification.reference_process"]
)


def _run(ends: list[Any], module: str, options: str) -> None:
    """Runs a module's `main` with its own standard streams, as `python -c` would."""
    for number, end in enumerate(ends):
        os.dup2(end.detach(), number)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    __import__(module, fromlist=["main"]).main(options)


class Forked:
    """The part of `subprocess.Popen` that the reference uses."""

    def __init__(self, module: str, options: dict[str, Any], place: Path):
        """Starts the fork; `place`, for temporary files, is unused: the tests share theirs."""
        pipes = [os.pipe() for _ in range(3)]
        inner, outer = (
            [pipes[0][0], pipes[1][1], pipes[2][1]],
            [pipes[0][1], pipes[1][0], pipes[2][0]],
        )
        self._process = _CONTEXT.Process(
            target=_run, args=([DupFd(end) for end in inner], module, json.dumps(options))
        )
        self._process.start()
        for end in inner:
            os.close(end)
        self._ends = [os.fdopen(end, mode) for end, mode in zip(outer, ("wb", "rb", "rb"))]

    @property
    def returncode(self) -> int | None:
        """The exit code; None while the process runs."""
        return self._process.exitcode

    def communicate(self, request: bytes = b"") -> tuple[bytes, bytes]:
        """Sends the request and waits for the end; returns standard output and standard error."""
        request_end, *answer_ends = self._ends

        def send() -> None:
            try:
                with request_end:
                    request_end.write(request)
            except BrokenPipeError:
                pass  # it died, as its return code says

        with ThreadPoolExecutor(3) as threads:
            sent, *answers = (
                threads.submit(send),
                *(threads.submit(end.read) for end in answer_ends),
            )
            sent.result()
            output, log = (answer.result() for answer in answers)
        for end in answer_ends:
            end.close()
        self._process.join()
        return output, log

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)
