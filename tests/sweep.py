"""Long comparisons with the reference (`make sweep`): prints what was compared and how many answers differed."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import sentence_transformers  # noqa: F401, I001  # before TensorFlow, see conftest.py

from fixtures.minilm import minilm_folder
from fixtures.tokenizers import random_texts, random_tokenizer
from transformers import AutoTokenizer, BertTokenizer

from tests.conftest import SHARED
from tests.helpers import tokenizer_function
from tests.test_parity import POOLINGS, check_combination
from tests.test_tokenizer import read_texts
from tf_exporter.encoders import ENCODERS
from tf_exporter.progress import progress
from tf_exporter.samples import CONTEXTS, code_point_texts, generated_texts
from tf_exporter.verify import token_mismatches

GENERATED = 200_000
RANDOM_TOKENIZERS = range(16, 216)
HEADS = 6


def real_tokenizers() -> dict[str, Any]:
    """Those that are at hand."""
    found: dict[str, Any] = {}
    if (minilm := minilm_folder()) is not None:
        found["all-MiniLM-L6-v2"] = AutoTokenizer.from_pretrained(minilm)
    multilingual = SHARED / "tokenizers/bert-base-multilingual-cased"
    if multilingual.is_dir():
        found["bert-base-multilingual-cased"] = BertTokenizer.from_pretrained(multilingual, do_lower_case=False)
    return found


def sweep_tokenizer(name: str, hf_tokenizer: Any) -> int:
    """Every text source through one tokenizer; the number of mismatches."""
    tokenize, spec = tokenizer_function(hf_tokenizer, None)
    sources = {f"code points in {context!r}": code_point_texts(context) for context in CONTEXTS}
    sources["generated"] = generated_texts(4, GENERATED, [token.content for token in spec.added_tokens])
    for file in ("udhr.jsonl", "blns.json", "emoji-test.txt"):
        if (SHARED / "text" / file).is_file():
            sources[file] = read_texts(SHARED / "text" / file)
    total = 0
    for source, texts in sources.items():
        with progress(f"{name}: {source}", len(texts), quiet=False) as bar:
            wrong = sum(1 for _ in token_mismatches(tokenize, hf_tokenizer, spec, texts, bar.update))
        print(f"{name:30} {source:32} {len(texts):>9,} texts  {wrong:>5} mismatches", flush=True)
        total += wrong
    return total


def sweep_random_tokenizers() -> int:
    """Small tokenizers with every flag varied; the number of mismatches."""
    wrong = count = 0
    with progress("random tokenizers", len(RANDOM_TOKENIZERS), quiet=False) as bar:
        for seed in RANDOM_TOKENIZERS:
            hf_tokenizer = random_tokenizer(seed)
            tokenize, spec = tokenizer_function(hf_tokenizer, None)
            texts = random_texts(seed, 3000)
            wrong += sum(1 for _ in token_mismatches(tokenize, hf_tokenizer, spec, texts))
            count += len(texts)
            bar.update(1)
    print(f"{len(RANDOM_TOKENIZERS)} random tokenizers{'':44} {count:>9,} texts  {wrong:>5} mismatches", flush=True)
    return wrong


def sweep_models() -> int:
    """Architecture × pooling × heads, each in the new and, where it can say the same, the old layout; failures."""
    failures = 0
    for model_type in ENCODERS:
        worst = count = 0.0
        with progress(f"models: {model_type}", len(POOLINGS) * HEADS, quiet=False) as bar:
            for pooling in POOLINGS:
                for kind in range(HEADS):
                    with tempfile.TemporaryDirectory() as folder:
                        try:
                            worst = max(worst, check_combination(Path(folder), model_type, pooling, kind, seed=kind + 1))
                        except AssertionError as error:
                            failures += 1
                            print(f"{model_type} {pooling} heads {kind}: {error}", flush=True)
                    count += 1
                    bar.update(1)
        print(f"{model_type:12} {count:.0f} models × 76 embeddings: max abs difference {worst:.1e}", flush=True)
    return failures


def main() -> int:
    """All of it; the exit code is 1 where anything differed."""
    started = time.monotonic()
    wrong = sum(sweep_tokenizer(name, tokenizer) for name, tokenizer in real_tokenizers().items())
    wrong += sweep_random_tokenizers()
    wrong += sweep_models()
    print(f"{wrong} differences in {time.monotonic() - started:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
