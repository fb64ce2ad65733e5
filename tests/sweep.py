"""Long comparisons with the reference (`make sweep`): prints what was compared and how many answers differed.

What it found is kept in ratchet.json, which the README shows; where fewer answers are equal than that says, it fails.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import sentence_transformers  # noqa: F401  # before TensorFlow, see conftest.py

from docs.support import PARITY, RATCHET, README, TRAINED, updated
from fixtures import heads
from fixtures.large import large_tokenizer
from fixtures.real import REAL_TOKENIZERS, SHARED, real_tokenizer
from fixtures.tokenizers import random_texts, random_tokenizer
from fixtures.trained import RECIPES, trained_texts, trained_tokenizer
from tests.helpers import SINGLES, tokenizer_function
from tests.test_cross_encoders import score_difference
from tests.test_parity import ATOL, POOLINGS, TEXTS, combination_difference
from tests.test_sparse import sparse_difference
from tests.test_tokenizer import read_texts
from tf_exporter.architectures.registry import with_head
from tf_exporter.encoders import ENCODERS
from tf_exporter.progress import progress
from tf_exporter.samples import CONTEXTS, code_point_texts, generated_texts
from tf_exporter.verify import token_mismatches

GENERATED = 200_000
RANDOM = "200 random WordPiece tokenizers, every flag"
LARGE = "Unigram of 250,000 pieces"
SEEDS = range(1, 4)
HEADS = 6
_FILES = ("udhr.jsonl", "blns.json", "emoji-test.txt", "GraphemeBreakTest.txt")

Task = tuple[str, str, int]
"""Name of the tokenizer, its ops, and which part of the texts."""


def texts_of(part: int, tokens: list[str]) -> list[str]:
    """The texts every real tokenizer is tried on, in parts that take about as long."""
    if part < len(CONTEXTS):
        return code_point_texts(CONTEXTS[part])
    if part == len(CONTEXTS):
        return generated_texts(4, GENERATED, tokens)
    found = [SHARED / "text" / file for file in _FILES]
    return [text for path in found if path.is_file() for text in read_texts(path)]


PARTS = range(len(CONTEXTS) + 2)


def compare(hf_tokenizer: Any, ops: str, part: int) -> tuple[int, list[str]]:
    """How many texts were compared, and those whose ids differ."""
    tokenize, spec = tokenizer_function(hf_tokenizer, None, ops)
    texts = texts_of(part, [token.content for token in spec.added_tokens])
    return len(texts), [text for text, _, _ in token_mismatches(tokenize, hf_tokenizer, spec, texts)]


def compare_small(hf_tokenizer: Any, texts: list[str]) -> tuple[int, list[str]]:
    tokenize, spec = tokenizer_function(hf_tokenizer, None)
    return len(texts), [text for text, _, _ in token_mismatches(tokenize, hf_tokenizer, spec, texts)]


def run(task: Task) -> tuple[str, int, list[str]]:
    """One piece of the work, in a process of its own: (row, texts compared, those that differ)."""
    name, ops, part = task
    row = name if ops == "core" else f"{name}, {ops}"
    if name == RANDOM:
        return row, *compare_small(random_tokenizer(part), random_texts(part, 3000))
    if name.startswith(TRAINED):
        recipe = name.removeprefix(TRAINED)
        return row, *compare_small(trained_tokenizer(recipe, part), trained_texts(part, 3000, ["<x>", "<mask>"]))
    hf_tokenizer = large_tokenizer() if name == LARGE else real_tokenizer(name)
    return (row, 0, []) if hf_tokenizer is None else (row, *compare(hf_tokenizer, ops, part))


def tasks() -> Iterator[Task]:
    """Everything that is compared."""
    for name in ("all-MiniLM-L6-v2", *REAL_TOKENIZERS, LARGE):
        yield from ((name, "core", part) for part in PARTS)
    for name in ("all-MiniLM-L6-v2", "bert-base-multilingual-cased"):
        yield from ((name, "tensorflow-text", part) for part in PARTS)
    for recipe in RECIPES:
        yield from ((f"{TRAINED}{recipe}", "core", seed) for seed in SEEDS)
    yield from ((RANDOM, "core", seed) for seed in range(16, 216))


def sweep_tokenizers(prefix: str = "") -> dict[str, dict[str, int]]:
    """Row → texts compared and texts whose ids are equal, of the rows whose names begin with `prefix`."""
    rows: dict[str, dict[str, int]] = {}
    todo = [task for task in tasks() if task[0].startswith(prefix)]
    # Processes are replaced from time to time, as they keep a few MB of every graph.
    with get_context("spawn").Pool(2, maxtasksperchild=40) as pool, progress("tokenizers", len(todo), quiet=False) as bar:
        for row, count, wrong in pool.imap_unordered(run, todo):
            found = rows.setdefault(row, {"texts": 0, "equal": 0})
            found["texts"] += count
            found["equal"] += count - len(wrong)
            for text in wrong[:3]:
                print(f"{row}: {text!r}", flush=True)
            bar.update(1)
    return {row: rows[row] for row in dict.fromkeys(name if ops == "core" else f"{name}, {ops}" for name, ops, _ in todo)}


def _head_models(model_type: str) -> Iterator[tuple[str, Callable[[Path], float]]]:
    """What each head an architecture has is called, and the difference a random model with it makes in a folder."""

    def of(difference_of: Callable[[Path], float], write: Callable[..., Path], **options: Any) -> Callable[[Path], float]:
        return lambda folder: difference_of(write(folder, model_type, **options))

    for seed in SEEDS:
        if model_type in with_head("sequence-classification"):
            yield f"one label, seed {seed}", of(score_difference, heads.write_cross_encoder, seed=seed)
            yield f"3 labels, seed {seed}", of(score_difference, heads.write_saved_cross_encoder, labels=3, seed=seed)
        if model_type in with_head("fill-mask"):
            yield f"masked language model, seed {seed}", of(sparse_difference, heads.write_sparse_encoder, seed=seed)
        if model_type in with_head("text-generation"):
            yield f"causal language model, seed {seed}", of(score_difference, heads.write_logit_score, seed=seed)


def _pooled_models(model_type: str) -> Iterator[tuple[str, Callable[[Path], float]]]:
    """Every pooling, and what may follow it, in the new and, where it can say the same, the old layout."""

    def of(pooling: Any, kind: int) -> Callable[[Path], float]:
        return lambda folder: combination_difference(folder, model_type, pooling, kind, seed=kind + 1)

    for pooling in POOLINGS:
        yield from ((f"{pooling} heads {kind}", of(pooling, kind)) for kind in range(HEADS))


def compare_models(model_type: str) -> tuple[str, dict[str, Any], list[str]]:
    """Counts and largest differences of an architecture's models, by themselves and with heads; and those that differ more."""
    found: dict[str, Any] = {}
    failures = []
    for prefix, made in (("", _pooled_models(model_type)), ("head_", _head_models(model_type))):
        differences = []
        for name, difference_in in made:
            with tempfile.TemporaryDirectory() as folder:
                differences.append(difference_in(Path(folder) / "model"))
            if not differences[-1] <= ATOL:
                failures.append(f"{model_type} {name}: {differences[-1]:.1e}")
        found |= {f"{prefix}models": len(differences), f"{prefix}max_abs_difference": max(differences, default=0.0)}
    found["over"] = len(failures)
    found["embeddings"] = found["models"] * (len(TEXTS) + SINGLES)
    return model_type, found, failures


def sweep_models() -> int:
    """All architectures; writes the table of the README and gives the number of models that newly differ too much."""
    rows, before = {}, json.loads(PARITY.read_text(encoding="utf-8"))
    with get_context("spawn").Pool(2, maxtasksperchild=1) as pool, progress("models", len(ENCODERS), quiet=False) as bar:
        for model_type, found, failures in pool.imap_unordered(compare_models, ENCODERS):
            rows[model_type] = found
            print("\n".join([*failures, f"{model_type:20} {found}"]), flush=True)
            bar.update(1)
    failed: int = sum(max(0, found["over"] - before.get(name, {"over": 0})["over"]) for name, found in rows.items())
    if not failed:
        PARITY.write_text(json.dumps(dict(sorted(rows.items())), indent=1) + "\n", encoding="utf-8")
        README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
    return failed


def main() -> int:
    """All of it, or only `--tokenizers`, `--trained` ones or `--models`; exit code 1 where an answer newly differs."""
    started = time.monotonic()
    if "--models" in sys.argv:
        failures = sweep_models()
        print(f"{failures} differences in {time.monotonic() - started:.0f} s")
        return int(failures > 0)
    before = json.loads(RATCHET.read_text(encoding="utf-8")) if RATCHET.is_file() else {}
    trained = "--trained" in sys.argv
    rows = sweep_tokenizers(TRAINED if trained else "")
    for row, found in rows.items():
        print(f"{row:55} {found['texts']:>10,} texts {found['texts'] - found['equal']:>6} mismatches", flush=True)
    rows = {**before, **rows} if trained else rows
    fallen = [row for row, found in before.items() if rows.get(row, {"equal": 0})["equal"] < found["equal"]]
    wrong = sum(found["texts"] - found["equal"] for found in rows.values())
    if fallen:
        print(f"fewer equal than before: {', '.join(fallen)}")
    else:
        RATCHET.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
    failures = 0 if trained or "--tokenizers" in sys.argv else sweep_models()
    print(f"{wrong + failures} differences in {time.monotonic() - started:.0f} s")
    return int(bool(fallen) or wrong + failures > 0)


if __name__ == "__main__":
    sys.exit(main())
