"""Whole models with every kind of tokenizer, read from the files of such models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures import models
from fixtures.trained import trained_tokenizer
from tests.support.helpers import difference
from tf_exporter import InputError, convert
from tf_exporter.verification.sample_texts import SENTENCES

TEXTS = ["", "a", *SENTENCES, "[MASK] <mask> </s>", "x" * 300]


def write_model(folder: Path, vocab_size: int) -> Path:
    """A small model without its tokenizer."""
    models.write_model(folder, vocab_size=vocab_size, max_seq_length=32)
    for name in ("tokenizer.json", "vocab.txt", "special_tokens_map.json", "added_tokens.json"):
        (folder / name).unlink(missing_ok=True)
    return folder


def configure(folder: Path, **values: Any) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(values))


_SMALL = "xlm-roberta-layout-small/sentencepiece.bpe.model"
SENTENCEPIECE = {
    "AlbertTokenizer": ("albert/spiece.model", 30_000),
    "XLMRobertaTokenizer": (_SMALL, 5758),
    "CamembertTokenizer": (_SMALL, 5761),
}


@pytest.mark.parametrize(
    "tokenizer_class",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name != "XLMRobertaTokenizer"))
        for name in SENTENCEPIECE
    ],
)
def test_sentencepiece_file_alone(
    tokenizer_class: str, shared: Callable[[str], Path], tmp_path: Path
) -> None:
    path, vocab_size = SENTENCEPIECE[tokenizer_class]
    file = Path(path).name
    folder = write_model(tmp_path / "model", vocab_size)
    shutil.copy(shared(f"tokenizers/{path}"), folder / file)
    configure(folder, tokenizer_class=tokenizer_class)
    assert difference(folder, TEXTS) <= 1e-5
    conversion = convert(folder, tmp_path / "out", verify="off")
    assert file in conversion.manifest["sha256"]


def test_damaged_sentencepiece_file(shared: Callable[[str], Path], tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", 30_000)
    configure(folder, tokenizer_class="AlbertTokenizer")
    content = shared("tokenizers/albert/spiece.model").read_bytes()
    for damaged in (b"", b"\x00" * 100, content[: len(content) // 2]):
        (folder / "spiece.model").write_bytes(damaged)
        with pytest.raises(InputError):
            convert(folder, tmp_path / "out", verify="off")


def test_vocabulary_and_merges_files(shared: Callable[[str], Path], tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", 50_265)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(shared(f"tokenizers/roberta-base/{name}"), folder / name)
    configure(folder, tokenizer_class="RobertaTokenizer")
    assert difference(folder, TEXTS) <= 1e-5


@pytest.mark.parametrize("recipe", ["xlm-roberta", "ignore_merges", "gemma", "words"])
def test_tokenizer_used_as_it_stands(recipe: str, tmp_path: Path) -> None:
    hf_tokenizer = trained_tokenizer(recipe, seed=5)
    hf_tokenizer.padding_side = "right"
    folder = write_model(tmp_path / "model", len(hf_tokenizer))
    hf_tokenizer.save_pretrained(folder)
    assert difference(folder, TEXTS) <= 1e-5
