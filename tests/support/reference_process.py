"""A stand-in for the reference's process, which loads no library."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from tf_exporter.model.reference.processes import answering


def main(arguments: str) -> None:
    """Runs the stand-in. `arguments`: {"do": the action, "file": the file for the process id}."""
    options = json.loads(arguments)
    with answering() as output:
        request = sys.stdin.buffer.read() if options["do"] != "waits" else b""
        if options["do"] == "fails":
            sys.stderr.write(
                "Loading weights:   0%|          | 0/9\rLoading weights: 100%|##########| 9/9\n"
            )
            raise ValueError("the shapes\ndo not fit")
        if options["do"] == "runs out":
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: "
                "you tried to allocate 9 bytes"
            )
        if options["do"] == "dies":
            os.abort()
        if options["do"] == "waits":
            Path(options["file"]).write_text(str(os.getpid()))
            time.sleep(60)
        output.write(json.dumps([request.decode(), tempfile.gettempdir(), os.getcwd()]).encode())
