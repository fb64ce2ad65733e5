"""Texts of 8,190 and 512 tokens against sentence-transformers: `python -m benchmarks.long_texts`.

The models have random weights, the width of popular models, four layers and a small vocabulary.
Every engine has its own process. They take turns, and the least time of each counts. Memory is the
peak of the process minus its memory after loading.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.engines import OURS
from benchmarks.workers import Worker

_WIDTH: dict[str, Any] = {
    "hidden_size": 768,
    "num_attention_heads": 12,
    "num_hidden_layers": 4,
    "max_position_embeddings": 8192,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "ModernBERT, two of four layers local": (
        "modernbert",
        {"intermediate_size": 1152, "local_attention": 128},
    ),
    "GTE, full attention": ("gte", {"intermediate_size": 3072}),
    "Qwen3, causal": (
        "qwen3",
        {
            "intermediate_size": 3072,
            "num_key_value_heads": 4,
            "head_dim": 64,
            "use_sliding_window": False,
        },
    ),
}
"""Name → `model_type` and its config, besides `_WIDTH`."""
LENGTHS = (8190, 512)
_WORDS = "the of and to in is was for that with you not this but are from have one all were".split()
"""Words of one token each."""


def write_model(folder: Path, model_type: str, changes: dict[str, Any]) -> Path:
    """A sentence-transformers folder with mean pooling."""
    # Before TensorFlow: in the other order their copies of LLVM abort.
    import sentence_transformers  # noqa: F401

    from fixtures import models

    heads = [models.Pooling(_WIDTH["hidden_size"], "mean"), models.Normalize()]
    return models.write_model(
        folder, model_type, heads, max_seq_length=max(LENGTHS), **_WIDTH, **changes
    )


def text(tokens: int) -> list[str]:
    """One text of the given number of tokens, including two special tokens."""
    random_ = random.Random(tokens)
    return [" ".join(random_.choices(_WORDS, k=tokens - 2))]


def measure(
    folder: Path, artifact: Path, tokens: int, rounds: int
) -> dict[str, tuple[float, float]]:
    """Engine → the least milliseconds of a call, and the bytes that the calls added."""
    figures: dict[str, tuple[float, float]] = {}
    workers = [Worker(OURS, artifact), Worker("sentence-transformers", folder)]
    times: dict[str, list[float]] = {worker.engine: [] for worker in workers}
    for worker in workers:
        worker.times(text(20), 2)
    for _ in range(rounds):
        for worker in workers:
            times[worker.engine] += worker.times(text(tokens), 1 if tokens > 1000 else 10)
    for worker in workers:
        loaded = worker.loading["before_bytes"] + worker.loading["loaded_bytes"]
        figures[worker.engine] = min(times[worker.engine]), worker.peak_bytes() - loaded
        worker.close()
    return figures


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each engine")
    parser.add_argument("--only", default="", help="models whose names contain this")
    options = parser.parse_args()
    print(
        "| model | tokens | tf-exporter, ms | reference, ms | ratio | tf-exporter, MB more "
        "| reference, MB more |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as place:
        for name, (model_type, changes) in MODELS.items():
            if options.only not in name:
                continue
            folder = write_model(Path(place) / model_type, model_type, changes)
            from tf_exporter import convert

            artifact = Path(place) / f"{model_type}-artifact"
            convert(folder, artifact, verify="off", quiet=True)
            for tokens in LENGTHS:
                (ours, more), (theirs, their_more) = measure(
                    folder, artifact, tokens, options.rounds
                ).values()
                times = f"{ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f}"
                sizes = f"{more / 1e6:,.0f} | {their_more / 1e6:,.0f}"
                print(f"| {name} | {tokens:,} | {times} | {sizes} |", flush=True)


if __name__ == "__main__":
    main()
