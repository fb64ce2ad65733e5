"""Tokenizing: our graph, Hugging Face `tokenizers` and tensorflow-text, in one interleaved run.

There is one tokenizer of each kind of model. Bursts of calls alternate, since engines that
alternate call by call evict each other from the cache. Figures are medians over all bursts, in ms.
TensorFlow runs one op at a time (`inter_op_parallelism_threads`), the best setting for a server of
short texts: handing a small op to another thread costs more than the op itself.
"""

from __future__ import annotations

import os
import random
import subprocess
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

from fixtures.large import large_tokenizer
from fixtures.real import SHARED, real_tokenizer
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.tokenizers.spec import read_tokenizer
from tf_exporter.verification.sample_texts import code_point_texts, words

BURSTS, SECONDS, CALLS = 12, 5.0, 10
"""The least number of bursts, the least seconds, and the calls of a burst."""
TOKENIZERS = {
    "all-MiniLM-L6-v2": "WordPiece",
    "albert": "Unigram",
    "roberta-base": "byte-level BPE",
    "phi-3-mini": "SentencePiece-style BPE",
}

Engine = Callable[[list[str]], object]


def inputs() -> dict[str, list[str]]:
    """Case → its texts."""
    random_ = random.Random(0)
    paragraphs = [words(random_, 90)[:275] for _ in range(64)]
    unspaced = words(random_, 5000).replace(" ", "")
    return {
        "1 query of 9 words": ["how do I bake sourdough bread at home tonight"],
        "32 paragraphs of 275 characters": paragraphs[:32],
        "64 paragraphs": paragraphs,
        "128 × 250 words": [words(random_, 250) for _ in range(128)],
        "5,000 × `a`": ["a" * 5000],
        "5,000 characters, no space": [unspaced[:5000]],
        "10,000 characters, no space": [unspaced[:10_000]],
        "20,000 characters, no space": [unspaced[:20_000]],
    }


def engines(name: str) -> dict[str, Engine]:
    """Engine → its function from texts to ids, without a length limit; ours is the first."""
    hf_tokenizer = real_tokenizer(name)
    if hf_tokenizer is None:
        return {}
    backend = hf_tokenizer.backend_tokenizer
    result: dict[str, Engine] = {"tf-exporter": ours(hf_tokenizer, "core")}
    backend.no_padding()
    backend.no_truncation()
    result["tokenizers"] = lambda texts: backend.encode_batch(texts)
    try:
        import tensorflow_text
    except ImportError:
        return result
    if TOKENIZERS[name] == "WordPiece":
        result["tf-exporter, tensorflow-text ops"] = ours(hf_tokenizer, "tensorflow-text")
        vocab = sorted(hf_tokenizer.get_vocab(), key=hf_tokenizer.get_vocab().get)
        result["tensorflow-text"] = function(
            tensorflow_text.FastBertTokenizer(vocab, lower_case_nfd_strip_accents=True).tokenize
        )
    elif name == "albert":
        model = (SHARED / "tokenizers/albert/spiece.model").read_bytes()
        result["tensorflow-text"] = function(tensorflow_text.SentencepieceTokenizer(model).tokenize)
    return result


def ours(hf_tokenizer: Any, ops: str) -> Engine:
    """Our graph: texts → padded ids."""
    graph = TokenizerGraph(read_tokenizer(hf_tokenizer, None), hf_tokenizer.backend_tokenizer, ops)
    return function(lambda texts: graph.padding(graph(texts))._asdict())


def function(tokenize: Callable[[tf.Tensor], Any]) -> Engine:
    """A TensorFlow function of a list of texts."""
    traced = tf.function(
        tokenize, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
    )
    concrete = traced.get_concrete_function()
    return lambda texts: concrete(tf.constant(texts))


def measure(engines: dict[str, Engine], texts: list[str]) -> dict[str, float]:
    """Median ms a call."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    started = time.monotonic()
    while len(times[next(iter(times))]) < BURSTS * CALLS or time.monotonic() - started < SECONDS:
        for name, engine in engines.items():
            engine(texts)
            for _ in range(CALLS):
                called = time.perf_counter()
                engine(texts)
                times[name].append((time.perf_counter() - called) * 1e3)
    return {name: float(np.median(values)) for name, values in times.items()}


def wrong_code_points(engines: dict[str, Engine]) -> dict[str, int]:
    """Engine → the number of code points, in `a{}b`, with other ids than `tokenizers` gives."""
    texts = code_point_texts("a{}b")
    wrong = dict.fromkeys(engines, 0)
    for start in range(0, len(texts), 8192):
        chunk = texts[start : start + 8192]
        answers = {name: _ids(engine(chunk)) for name, engine in engines.items()}
        for name, ids in answers.items():
            wrong[name] += sum(ours != theirs for ours, theirs in zip(ids, answers["tokenizers"]))
    return wrong


def _ids(answer: Any) -> list[list[int]]:
    """The ids of each text, without the special tokens around it."""
    if isinstance(answer, dict):
        return [
            row[mask > 0].tolist()[1:-1]
            for row, mask in zip(answer["input_ids"].numpy(), answer["attention_mask"].numpy())
        ]
    if isinstance(answer, list):
        return [encoding.ids[1:-1] for encoding in answer]
    return (answer.merge_dims(1, -1) if answer.ragged_rank > 1 else answer).to_list()  # type: ignore[no-any-return]


def large_vocabulary() -> tuple[float, float]:
    """Seconds to build and save the graph of a Unigram tokenizer of 250,000 pieces; its MB."""
    hf_tokenizer = large_tokenizer()
    started = time.perf_counter()
    module = tf.Module()
    module.graph = graph = TokenizerGraph(
        read_tokenizer(hf_tokenizer, None), hf_tokenizer.backend_tokenizer
    )
    signature = [tf.TensorSpec([None], tf.string)]
    module.tokenize = tf.function(
        lambda texts: graph.padding(graph(texts))._asdict(), signature, autograph=False
    )
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder)
        seconds = time.perf_counter() - started
        return seconds, sum(
            path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()
        ) / 1e6


def report(name: str) -> None:
    """Prints all cases of a tokenizer as a table."""
    contenders = engines(name)
    if not contenders:
        print(f"the files of {name} are missing\n")
        return
    texts = inputs()
    print(f"| {TOKENIZERS[name]} ({name}), median ms | " + " | ".join(contenders) + " |")
    print("|---|" + "---|" * len(contenders))
    medians = {}
    for case, batch in texts.items():
        medians[case] = measure(contenders, batch)
        print(
            f"| {case} | " + " | ".join(f"{value:.2f}" for value in medians[case].values()) + " |",
            flush=True,
        )
    for case, double in (
        ("32 paragraphs of 275 characters", "64 paragraphs"),
        *zip(list(texts)[5:], list(texts)[6:]),
    ):
        ratios = (medians[double][engine] / medians[case][engine] for engine in contenders)
        print(
            f"| {double} : {case} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |",
            flush=True,
        )
    if len(contenders) > 2:
        wrong = wrong_code_points(contenders)
        print(
            "| code points in `a{}b` with other ids | "
            + " | ".join(f"{count:,}" for count in wrong.values())
            + " |"
        )
    print(flush=True)


def main(names: list[str]) -> int:
    """Reports the named tokenizers; without names, each tokenizer in its own process.

    In one process, earlier work slows later work.
    """
    if names:
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for name in names:
            report(name)
        return 0
    seconds, size = large_vocabulary()
    print(
        f"a Unigram vocabulary of 250,000 pieces: {seconds:.1f} s to build and save, "
        f"{size:.1f} MB\n",
        flush=True,
    )
    for name in TOKENIZERS:
        subprocess.run([sys.executable, "-m", "benchmarks.tokenizer", name], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
