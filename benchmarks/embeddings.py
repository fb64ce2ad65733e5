"""Strings → embeddings, against other engines on a CPU: `python -m benchmarks.embeddings`.

Every engine runs in its own process, with its fastest tokenizer, on the same two cores. Bursts of
calls alternate, since engines that alternate call by call evict each other's weights. Prints
medians and minima in ms, the ratios to ours, the time of the model's matrix products alone, and
memory. `--output` writes all of these and a plot.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

from benchmarks.engines import (
    E5,
    ENGINES,
    FILES,
    LEAST_COSINE,
    MAX_LENGTH,
    MINILM,
    MPNET,
    OURS,
    PRECISIONS,
    ST_ONNX,
    export_onnx,
    export_sentence_transformers_onnx,
    quantize,
)
from benchmarks.report import Cosines, Result, summary, table, write
from benchmarks.workers import FLOOR, Worker

BURST_MS, BURSTS, CASE_S = 200.0, 9, 3.0
"""Milliseconds of a burst; bursts of a case; seconds of an engine that end a case earlier."""
UNREPEATED_S = 10.0
"""Seconds of a call above which it is not repeated."""
LONGEST_S = 120.0
"""Seconds of an expected call above which an engine is left out of the case."""
MIXED = (4, 200)
"""The least and most words of a text in the mixed cases."""
COSINE_TEXTS = 512
"""Texts of mixed length for the cosines of engines of reduced precision."""
FLOOR_ROWS = 20_000
"""The most tokens for the matrix products alone: a larger matrix would not fit any cache."""


def cases(tokens: Callable[[str], int]) -> dict[str, list[str]]:
    """Name → texts. `tokens` counts the tokens of a text."""
    from tf_exporter.verification.sample_texts import words

    random_ = random.Random(0)

    def text_of(length: int) -> str:
        while True:
            text = words(random_, length)
            while tokens(text) > length:
                text = text[: text.rindex(" ")]
            if tokens(text) == length:
                return text

    # Most texts of a corpus are short: as many have 4 to 8 words as 100 to 200.
    mixed = [
        words(random_, round(math.exp(random_.uniform(*map(math.log, MIXED))))) for _ in range(1024)
    ]
    evenly = [words(random_, random_.randint(*MIXED)) for _ in range(128)]
    return {
        "1 × 16 tokens": [text_of(16)],
        "1 × 128 tokens": [text_of(128)],
        "32 × 32 tokens": (uniform := [text_of(32) for _ in range(64)])[:32],
        "64 × 32 tokens": uniform,
        "32 mixed": mixed[:32],
        "128 mixed": mixed[:128],
        "1,024 mixed": mixed,
        "128 evenly mixed": evenly,
        "1 × 10,000 characters": [words(random_, 3000)[:10_000]],
    }


def measure(arguments: dict[Worker, Any]) -> dict[str, list[float]]:
    """Engine → milliseconds of each call with its argument."""
    times: dict[str, list[float]] = {worker.engine: [] for worker in arguments}
    calls: dict[str, int] = {}
    for worker, argument in arguments.items():
        first = worker.times(argument, 1)
        if not first or first[0] > UNREPEATED_S * 1e3:
            times[worker.engine] = first
            continue
        calls[worker.engine] = max(
            1, min(15, int(BURST_MS / (worker.times(argument, 1) or first)[0]))
        )
    started = time.monotonic()
    for burst in range(BURSTS):
        for worker, argument in arguments.items():
            # A slow engine gets fewer calls.
            spent = sum(times[worker.engine]) / 1e3
            if worker.engine in calls and (burst < 2 or spent < CASE_S):
                if calls[worker.engine] > 1:
                    worker.times(argument, 1)
                times[worker.engine] += worker.times(argument, calls[worker.engine])
        if time.monotonic() - started > CASE_S * len(arguments):
            break
    return times


def cosines_of(workers: list[Worker], texts: list[str], ours: np.ndarray) -> dict[str, Cosines]:
    """Engine of reduced precision → its cosines to ours in float32, [texts, dim].

    Raises:
        SystemExit: an engine computes other embeddings.
    """
    found: dict[str, Cosines] = {}
    for worker in workers:
        least = LEAST_COSINE.get(worker.engine.rpartition(", ")[2])
        if least is None:
            continue
        values = in_batches(worker, texts)
        norms = np.linalg.norm(values, axis=1) * np.linalg.norm(ours, axis=1)
        cosines = (values * ours).sum(1) / norms
        found[worker.engine] = {
            "smallest": float(cosines.min()),
            "mean": float(cosines.mean()),
            "texts": len(texts),
        }
        print(worker.engine, found[worker.engine], flush=True)
        if not found[worker.engine]["smallest"] >= least:
            raise SystemExit(f"{worker.engine}: other embeddings than {OURS}'s")
    return found


def in_batches(worker: Worker, texts: list[str]) -> np.ndarray:
    """float32 [texts, dim], computed 32 texts at a time in order of length, to spare memory."""
    order = np.argsort([len(text) for text in texts])
    batches = [order[start : start + 32] for start in range(0, len(order), 32)]
    values = [worker.embeddings([texts[index] for index in batch]) for batch in batches]
    result: np.ndarray = np.concatenate(values)[np.argsort(order)]
    return result


def check(workers: list[Worker], texts: list[str]) -> dict[str, float]:
    """Engine → the largest difference of its embeddings from ours.

    Raises:
        SystemExit: an engine of float32 computes other embeddings.
    """
    embeddings = {worker.engine: worker.embeddings(texts) for worker in workers}
    differences = {
        engine: float(np.abs(values - embeddings[OURS]).max())
        for engine, values in embeddings.items()
    }
    print({engine: f"{difference:.1e}" for engine, difference in differences.items()}, flush=True)
    if wrong := [
        engine
        for engine, difference in differences.items()
        if engine.rpartition(", ")[2] not in LEAST_COSINE and not difference < 1e-4
    ]:
        raise SystemExit(f"{', '.join(wrong)}: other embeddings than {OURS}'s")
    return differences


def on_disk(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    return sum(
        part.stat().st_size
        for part in (path.rglob("*") if path.is_dir() else [path])
        if part.is_file()
    )


def run(name: str, folder: Path, engines: list[str], wanted: list[str]) -> Result:
    """The results of a model, in all cases or in the wanted ones."""
    from tokenizers import Tokenizer

    from tf_exporter import convert
    from tf_exporter.layers.int8 import has_kernel
    from tf_exporter.names import INT8_PRECISION

    if not has_kernel():
        print("no int8 products of our own: this processor has no VNNI", flush=True)
        engines = [name for name in engines if PRECISIONS.get(name) != INT8_PRECISION]
    ours = {
        engine: folder.with_name(f"{folder.name}-{precision}")
        for engine, precision in PRECISIONS.items()
    }
    for precision in {PRECISIONS[engine] for engine in engines if engine in PRECISIONS}:
        convert(folder, folder.with_name(f"{folder.name}-{precision}"), precision=precision)
    print(f"{name}: the optimizer of ONNX Runtime fused {export_onnx(folder)}", flush=True)
    quantize(folder)
    if ST_ONNX in engines:
        export_sentence_transformers_onnx(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_LENGTH)
    texts = cases(lambda text: len(tokenizer.encode(text).ids))
    workers = [Worker(engine, ours.get(engine, folder)) for engine in engines]
    floor = Worker(FLOOR, folder)
    result = Result(name, check(workers, texts["32 mixed"]))
    many = texts["1,024 mixed"][:COSINE_TEXTS]
    whole = next(in_batches(worker, many) for worker in workers if worker.engine == OURS)
    result.cosines = cosines_of(workers, many, whole)
    for case in wanted or texts:
        counts = [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(texts[case])]
        result.tokens[case] = sum(counts)
        workers = [worker for worker in workers if worker.alive]
        patient = [
            worker
            for worker in workers
            if result.expected_s(worker.engine, texts, case) < LONGEST_S
        ]
        arguments: dict[Worker, Any] = dict.fromkeys(patient, texts[case])
        if sum(counts) <= FLOOR_ROWS:
            arguments[floor] = sum(counts)
        result.times[case] = {
            engine: summary(times) for engine, times in measure(arguments).items() if times
        }
        print(f"{name}, {case}: {table([result], [case])}", flush=True)
    for worker in (worker for worker in workers if worker.alive):
        size = on_disk(ours.get(worker.engine, folder / FILES.get(worker.engine, "")))
        result.memory[worker.engine] = {
            **worker.loading,
            "peak_bytes": worker.peak_bytes(),
            "on_disk_bytes": size,
        }
    for worker in (*workers, floor):
        worker.close()
    return result


def run_alone(name: str, engines: list[str], wanted: list[str]) -> Result:
    # At the top, the processes of all engines would import it.
    from benchmarks.models import write_models

    with tempfile.TemporaryDirectory() as place:
        return run(name, write_models(Path(place), [name])[name], engines, wanted)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models", nargs="*", default=[MINILM, MPNET, E5], choices=[MINILM, MPNET, E5]
    )
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--cases", nargs="*", default=[])
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of the table, the plot and all figures; other models and cases stay",
    )
    options = parser.parse_args()
    for name in options.models:
        # Each model has its own process, which frees its memory for the next one.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            result = pool.submit(run_alone, name, options.engines, options.cases).result()
        print(json.dumps(vars(result)), flush=True)
        if options.output:
            write(result, options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
