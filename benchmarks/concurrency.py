"""Callers of single short queries from threads of one process: `python -m benchmarks.concurrency`.

The real all-MiniLM-L6-v2. Each engine has a process of its own, and they take turns. A caller
sends its next query when it has the answer, which is compared with that for the query alone.
Engines whose packages are not installed are left out, and named.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.engines import ENGINES, MINILM, OURS, THREADS, Encode, export_onnx

RESULT = Path(__file__).resolve().parents[1] / "results" / "concurrency.json"
JOINED = f"{OURS} --request-batching"
CALLERS = (1, 4, 16, 64)
WORDS = "how to bake bread at home what is the best way of learning a new language".split()
ALLOWED = 1e-4
"""The largest difference from the answer to a query alone; peers pad batches."""


class Peer(NamedTuple):
    """An engine to measure."""

    engine: str
    """Its name in `benchmarks.engines`."""
    package: str | None = None
    """What has to be installed."""


PEERS = {
    OURS: Peer(OURS),
    JOINED: Peer(OURS),
    "ONNX Runtime": Peer("ONNX Runtime", "onnxruntime"),
    "sentence-transformers": Peer("sentence-transformers", "sentence_transformers"),
}


def queries() -> list[str]:
    """Distinct queries of 4 to 9 words."""
    random_ = random.Random(0)
    return [" ".join(random_.choices(WORDS, k=random_.randint(4, 9))) for _ in range(200)]


def calls(encode: Encode, callers: int, seconds: float) -> tuple[list[float], float]:
    """The milliseconds of all calls, and the seconds that they took together."""
    texts = queries()
    alone = np.concatenate([encode([text]) for text in texts[:callers]])
    begin = time.perf_counter()

    def call_again(number: int) -> list[float]:
        times = []
        while time.perf_counter() - begin < seconds:
            called = time.perf_counter()
            answer = encode([texts[number]])
            times.append((time.perf_counter() - called) * 1e3)
            assert np.abs(answer[0] - alone[number]).max() <= ALLOWED, texts[number]
        return times

    with ThreadPoolExecutor(callers) as pool:
        times = [time for own in pool.map(call_again, range(callers)) for time in own]
    return times, time.perf_counter() - begin


def _serve(connection: Connection, engine: str, folder: Path) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(THREADS)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    encode = ENGINES[engine](folder)
    # Threads that begin together would each prepare the graph.
    for count in (1, 8, 64):
        encode(queries()[:count])
    connection.send("ready")
    while (request := connection.recv()) is not None:
        connection.send(calls(encode, *request))


def start(engine: str, folder: Path) -> Callable[..., Any]:
    """An engine in its own process: (callers, seconds) → `calls`; None ends it."""
    context = multiprocessing.get_context("spawn")
    connection, other = context.Pipe()
    process = context.Process(target=_serve, args=(other, engine, folder), daemon=True)
    process.start()
    other.close()
    connection.recv()

    def ask(*request: float) -> Any:
        connection.send(request or None)
        return connection.recv() if request else process.join()

    return ask


def measure(folders: dict[str, Path], seconds: float, rounds: int) -> dict[str, Any]:
    """Number of callers → engine → calls a second, p50 and p99 in ms."""
    running = {name: start(PEERS[name].engine, folder) for name, folder in folders.items()}
    figures: dict[str, Any] = {}
    for callers in CALLERS:
        times: dict[str, list[float]] = {name: [] for name in running}
        took = dict.fromkeys(running, 0.0)
        for turn in range(rounds + 1):
            for name, ask in running.items():
                own, spent = ask(callers, seconds if turn else min(seconds, 1.0))
                if turn:  # the first one warms up
                    times[name] += own
                    took[name] += spent
        figures[str(callers)] = {
            name: {
                "calls_per_s": len(own) / took[name],
                "p50_ms": float(np.percentile(own, 50)),
                "p99_ms": float(np.percentile(own, 99)),
            }
            for name, own in times.items()
        }
        print(callers, json.dumps(figures[str(callers)]), flush=True)
    for ask in running.values():
        ask()
    return figures


def main() -> None:
    """Writes the figures, which `tools.tables` makes a table of."""
    from benchmarks.models import write_models
    from tf_exporter import convert

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each engine")
    parser.add_argument("--seconds", type=float, default=5, help="seconds of a turn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        model = write_models(place, [MINILM])[MINILM]
        folders: dict[str, Path] = {}
        for name, peer in PEERS.items():
            if peer.package and importlib.util.find_spec(peer.package) is None:
                print(f"{name}: not installed, left out")
                continue
            folders[name] = model if peer.package else place / f"model{len(folders)}"
            if not peer.package:
                convert(model, folders[name], request_batching=name == JOINED, verify="off")
        if "ONNX Runtime" in folders:
            export_onnx(model)
        figures = measure(folders, options.seconds, options.rounds)
    RESULT.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
