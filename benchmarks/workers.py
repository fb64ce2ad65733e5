"""One process for each engine, so that they share no threads or memory."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import ENGINES, ST_ONNX, ST_ONNX_PLACE, THREADS, floor

FLOOR = "floor"


def _memory(key: str) -> int:
    """Bytes of this process: `VmRSS` is the current value, `VmHWM` the largest so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def _imports(engine: str) -> None:
    """Imports the libraries that an engine needs for any model."""
    if engine.startswith("tf-exporter") or engine == FLOOR:
        import tensorflow  # noqa: F401
    elif engine == ST_ONNX:
        # transformers would import TensorFlow, too.
        os.environ["USE_TF"] = "0"
        sys.path.insert(0, str(ST_ONNX_PLACE))
        from optimum.onnxruntime import ORTModelForFeatureExtraction  # noqa: F401
        from sentence_transformers import SentenceTransformer  # noqa: F401
    elif engine == "sentence-transformers":
        import sentence_transformers  # noqa: F401


def _serve(connection: Connection, engine: str, folder: Path) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(THREADS)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    _imports(engine)
    before, started = _memory("VmRSS"), time.perf_counter()
    run: Any = floor(folder) if engine == FLOOR else ENGINES[engine](folder)
    seconds = time.perf_counter() - started
    connection.send(
        {"load_s": seconds, "loaded_bytes": _memory("VmRSS") - before, "before_bytes": before}
    )
    while (request := connection.recv()) is not None:
        task, argument, calls = request
        if task == "peak":
            connection.send(_memory("VmHWM"))
        elif task == "embeddings":
            connection.send(run(argument))
        else:
            times = []
            for _ in range(calls):
                called = time.perf_counter()
                run(argument)
                times.append((time.perf_counter() - called) * 1e3)
            connection.send(times)


class Worker:
    """An engine that has loaded a model, in its own process."""

    def __init__(self, engine: str, folder: Path):
        self.engine, self.alive = engine, True
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, engine, folder), daemon=True)
        self._process.start()
        self.loading: dict[str, float] = self._connection.recv()

    def times(self, argument: Any, calls: int) -> list[float]:
        """Milliseconds of each of `calls` calls in a row; empty where memory ran out."""
        try:
            return self._ask("times", argument, calls)  # type: ignore[no-any-return]
        except (EOFError, ConnectionError):
            self.alive = False
            return []

    def embeddings(self, texts: list[str]) -> np.ndarray:
        """float32 [texts, dim]"""
        return self._ask("embeddings", texts)  # type: ignore[no-any-return]

    def peak_bytes(self) -> int:
        """The largest memory of the process so far, in bytes."""
        return self._ask("peak")  # type: ignore[no-any-return]

    def close(self) -> None:
        """Ends the process."""
        if self.alive:
            self._connection.send(None)
        self._process.join()

    def _ask(self, task: str, argument: Any = None, calls: int = 1) -> Any:
        self._connection.send((task, argument, calls))
        return self._connection.recv()
