"""Long comparisons with the reference (`make sweep`): prints the number of answers that differ.

It writes results/sweep.json and results/sweep_models.json. It fails where token ids or offsets
differ, or where more models differ by over 1e-5 than before. Fewer equal answers than before are
not written.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import sentence_transformers  # noqa: F401  # before TensorFlow, see conftest.py
from transformers import PreTrainedTokenizerFast

from fixtures import heads
from fixtures.large import large_tokenizer
from fixtures.real import REAL_TOKENIZERS, SHARED, real_tokenizer
from fixtures.tokenizers import random_texts, random_tokenizer
from fixtures.trained import RECIPES, trained_texts, trained_tokenizer
from tests.modules.test_cross_encoders import score_difference
from tests.modules.test_sparse import sparse_difference
from tests.support.helpers import SINGLES, offsets_function, tokenizer_function
from tests.test_parity import ATOL, POOLINGS, TEXTS, combination_difference
from tests.tokenizers.test_tokenizer import read_texts
from tf_exporter.architectures.registry import VERIFIED, with_head
from tf_exporter.progress import progress
from tf_exporter.verification.sample_texts import CONTEXTS, code_point_texts, generated_texts
from tf_exporter.verification.tokens import offset_mismatches, token_mismatches
from tools.tables import RESULTS, TRAINED
from tools.tables import main as fill_tables

TOKENIZERS, MODELS = RESULTS / "sweep.json", RESULTS / "sweep_models.json"
GENERATED = 200_000
RANDOM = "200 random WordPiece tokenizers, every flag"
OFFSETS = "offsets"
"""In place of ops: core ops, with the comparison of offsets."""
LARGE = "Unigram of 250,000 pieces"
SEEDS = range(1, 4)
HEADS = 6
_FILES = ("udhr.jsonl", "blns.json", "emoji-test.txt", "GraphemeBreakTest.txt")

Task = tuple[str, str, int]
"""The name of the tokenizer, its ops or OFFSETS, and the number of the part of the texts."""


def texts_of(part: int, tokens: list[str]) -> list[str]:
    """A part of the texts for every real tokenizer; parts take about the same time."""
    if part < len(CONTEXTS):
        return code_point_texts(CONTEXTS[part])
    if part == len(CONTEXTS):
        return generated_texts(4, GENERATED, tokens)
    paths = [SHARED / "text" / file for file in _FILES]
    return [text for path in paths if path.is_file() for text in read_texts(path)]


PARTS = range(len(CONTEXTS) + 2)


def compare(
    hf_tokenizer: PreTrainedTokenizerFast, ops: str, texts_for: Callable[[list[str]], list[str]]
) -> tuple[int, list[str]]:
    """The number of compared texts, and the texts whose ids differ, or for OFFSETS the offsets.

    `texts_for`: the contents of the added tokens → texts.
    """
    find: Callable[..., Iterator[tuple[str, Any, Any]]]
    if ops == OFFSETS:
        find, (tokenize, spec) = offset_mismatches, offsets_function(hf_tokenizer, None)
    else:
        find, (tokenize, spec) = token_mismatches, tokenizer_function(hf_tokenizer, None, ops)
    texts = texts_for([token.content for token in spec.added_tokens])
    return len(texts), [text for text, _, _ in find(tokenize, hf_tokenizer, spec, texts)]


def run(task: Task) -> tuple[str, int, list[str]]:
    """The result of one task: its row, the number of compared texts, and the texts that differ."""
    name, ops, part = task
    row = row_of(name, ops)
    if name == RANDOM:
        return row, *compare(random_tokenizer(part), ops, lambda tokens: random_texts(part, 3000))
    if name.startswith(TRAINED):
        texts = trained_texts(part, 3000, ["<x>", "<mask>"])
        small = trained_tokenizer(name.removeprefix(TRAINED), part)
        return row, *compare(small, ops, lambda tokens: texts)
    hf_tokenizer = large_tokenizer() if name == LARGE else real_tokenizer(name)
    if hf_tokenizer is None:
        return row, 0, []
    return row, *compare(hf_tokenizer, ops, lambda tokens: texts_of(part, tokens))


def row_of(name: str, ops: str) -> str:
    """The name of a row of the table."""
    return name if ops == "core" else f"{name}, {ops}"


def tasks() -> Iterator[Task]:
    """All tasks."""
    for name in ("all-MiniLM-L6-v2", *REAL_TOKENIZERS, LARGE):
        yield from ((name, "core", part) for part in PARTS)
    for name in ("all-MiniLM-L6-v2", *REAL_TOKENIZERS):
        yield from ((name, OFFSETS, part) for part in PARTS)
    for name in ("all-MiniLM-L6-v2", "bert-base-multilingual-cased"):
        yield from ((name, "tensorflow-text", part) for part in PARTS)
    for recipe in RECIPES:
        for ops in ("core", OFFSETS):
            yield from ((f"{TRAINED}{recipe}", ops, seed) for seed in SEEDS)
    yield from ((RANDOM, "core", seed) for seed in range(16, 216))
    yield from ((RANDOM, OFFSETS, seed) for seed in range(16, 216))


def sweep_tokenizers(prefix: str = "") -> dict[str, dict[str, int]]:
    """Row → numbers of compared and of equal texts, for rows whose names start with `prefix`."""
    rows: dict[str, dict[str, int]] = {}
    todo = [task for task in tasks() if task[0].startswith(prefix)]
    # Processes are replaced from time to time, since each graph leaks some MB.
    with (
        get_context("spawn").Pool(2, maxtasksperchild=40) as pool,
        progress("tokenizers", len(todo), quiet=False) as bar,
    ):
        for row, count, wrong in pool.imap_unordered(run, todo):
            counts = rows.setdefault(row, {"texts": 0, "equal": 0})
            counts["texts"] += count
            counts["equal"] += count - len(wrong)
            for text in wrong[:3]:
                print(f"{row}: {text!r}", flush=True)
            bar.update(1)
    return {row: rows[row] for row in dict.fromkeys(row_of(name, ops) for name, ops, _ in todo)}


def _head_models(model_type: str) -> Iterator[tuple[str, Callable[[Path], float]]]:
    """Names of an architecture's heads, and functions from a folder to a model's difference."""

    def compared(
        difference_of: Callable[[Path], float], write: Callable[..., Path], **options: Any
    ) -> Callable[[Path], float]:
        return lambda folder: difference_of(write(folder, model_type, **options))

    for seed in SEEDS:
        if model_type in with_head("sequence-classification"):
            yield (
                f"one label, seed {seed}",
                compared(score_difference, heads.write_cross_encoder, seed=seed),
            )
            yield (
                f"3 labels, seed {seed}",
                compared(score_difference, heads.write_saved_cross_encoder, labels=3, seed=seed),
            )
        if model_type in with_head("fill-mask"):
            yield (
                f"masked language model, seed {seed}",
                compared(sparse_difference, heads.write_sparse_encoder, seed=seed),
            )
        if model_type in with_head("text-generation"):
            yield (
                f"causal language model, seed {seed}",
                compared(score_difference, heads.write_logit_score, seed=seed),
            )


def _pooled_models(model_type: str) -> Iterator[tuple[str, Callable[[Path], float]]]:
    """Every pooling with every sequence of later modules, in the new and the old layout."""

    def compared(pooling: Any, kind: int) -> Callable[[Path], float]:
        return lambda folder: combination_difference(
            folder, model_type, pooling, kind, seed=kind + 1
        )

    for pooling in POOLINGS:
        yield from ((f"{pooling} heads {kind}", compared(pooling, kind)) for kind in range(HEADS))


def compare_models(model_type: str) -> tuple[str, dict[str, Any], list[str]]:
    """An architecture's name, the figures of its models, and the models that differ too much."""
    figures: dict[str, Any] = {}
    failures = []
    for prefix, written in (("", _pooled_models(model_type)), ("head_", _head_models(model_type))):
        differences = []
        for name, difference_in in written:
            with tempfile.TemporaryDirectory() as folder:
                differences.append(difference_in(Path(folder) / "model"))
            if not differences[-1] <= ATOL:
                failures.append(f"{model_type} {name}: {differences[-1]:.1e}")
        figures |= {
            f"{prefix}models": len(differences),
            f"{prefix}max_abs_difference": max(differences, default=0.0),
        }
    figures["over"] = len(failures)
    figures["embeddings"] = figures["models"] * (len(TEXTS) + SINGLES)
    return model_type, figures, failures


def sweep_models(names: Sequence[str]) -> int:
    """Compares architectures: the number of models that newly differ too much."""
    rows, before = {}, json.loads(MODELS.read_text(encoding="utf-8"))
    with (
        get_context("spawn").Pool(2, maxtasksperchild=1) as pool,
        progress("models", len(names), quiet=False) as bar,
    ):
        for model_type, figures, failures in pool.imap_unordered(compare_models, names):
            rows[model_type] = figures
            print("\n".join([*failures, f"{model_type:20} {figures}"]), flush=True)
            bar.update(1)
    failed: int = sum(
        max(0, figures["over"] - before.get(name, {"over": 0})["over"])
        for name, figures in rows.items()
    )
    if not failed:
        rows = {name: row for name, row in {**before, **rows}.items() if name in VERIFIED}
        MODELS.write_text(json.dumps(dict(sorted(rows.items())), indent=1) + "\n", encoding="utf-8")
        fill_tables()
    return failed


def main() -> int:
    """Runs all comparisons, or only `--tokenizers`, `--trained` or `--models`.

    After `--models` there may be names of architectures; the rows of the others stay as they are.

    Returns:
        The exit code: 1 where token ids differ, or more models differ than before.
    """
    started = time.monotonic()
    if "--models" in sys.argv:
        names = [name for name in sys.argv[1:] if name != "--models"]
        failures = sweep_models(names or VERIFIED)
        print(f"{failures} differences in {time.monotonic() - started:.0f} s")
        return int(failures > 0)
    before = json.loads(TOKENIZERS.read_text(encoding="utf-8")) if TOKENIZERS.is_file() else {}
    trained = "--trained" in sys.argv
    rows = sweep_tokenizers(TRAINED if trained else "")
    for row, counts in rows.items():
        mismatches = counts["texts"] - counts["equal"]
        print(f"{row:55} {counts['texts']:>10,} texts {mismatches:>6} mismatches", flush=True)
    rows = {**before, **rows} if trained else rows
    fewer_equal = [
        row
        for row, counts in before.items()
        if rows.get(row, {"equal": 0})["equal"] < counts["equal"]
    ]
    wrong = sum(counts["texts"] - counts["equal"] for counts in rows.values())
    if fewer_equal:
        print(f"fewer equal than before: {', '.join(fewer_equal)}")
    else:
        TOKENIZERS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        fill_tables()
    failures = 0 if trained or "--tokenizers" in sys.argv else sweep_models(VERIFIED)
    print(f"{wrong + failures} differences in {time.monotonic() - started:.0f} s")
    return int(bool(fewer_equal) or wrong + failures > 0)


if __name__ == "__main__":
    sys.exit(main())
