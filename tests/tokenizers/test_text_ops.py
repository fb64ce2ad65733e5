"""`--tokenizer-ops tensorflow-text`: the same ids, or a refusal where they could differ."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.real import real_tokenizer
from fixtures.tokenizers import random_texts, random_tokenizer
from fixtures.trained import trained_tokenizer
from tests.support.helpers import InProcessReference, tokenizer_function
from tf_exporter import UnsupportedError, convert
from tf_exporter.verification.sample_texts import generated_texts
from tf_exporter.verification.tokens import token_mismatches

pytest.importorskip("tensorflow_text", reason="tensorflow-text is not installed")


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))]
)
def test_random_tokenizers(seed: int) -> None:
    hf_tokenizer = random_tokenizer(seed)
    tokenize, spec = tokenizer_function(hf_tokenizer, None, "tensorflow-text")
    assert list(token_mismatches(tokenize, hf_tokenizer, spec, random_texts(seed, 1500))) == []


@pytest.mark.parametrize(
    "name",
    [
        "all-MiniLM-L6-v2",
        pytest.param("bert-base-multilingual-cased", marks=pytest.mark.slow),
    ],
)
def test_real_tokenizers(name: str) -> None:
    hf_tokenizer = real_tokenizer(name)
    if hf_tokenizer is None:
        pytest.skip(f"the files of {name} are not there")
    tokenize, spec = tokenizer_function(hf_tokenizer, None, "tensorflow-text")
    texts = [
        *generated_texts(5, 3000, ["[MASK]"]),
        "é" * 100,
        "中" * 101,
        "##a ## a##b",
        "",
        "x" * 101,
    ]
    assert list(token_mismatches(tokenize, hf_tokenizer, spec, texts)) == []


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ("albert", "float32"),
        ("roberta", "merges"),
        ("words", "no op"),
        ("wordpiece with whitespace", "'##'"),
    ],
)
def test_refused_with_the_reason(recipe: str, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        tokenizer_function(trained_tokenizer(recipe, 0), None, "tensorflow-text")


@pytest.mark.slow
def test_artifact(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The artifact needs the op library and documents that."""
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    manifest = convert(good, tmp_path / "out", tokenizer_ops="tensorflow-text").manifest
    assert manifest["custom_ops"] == ["FastWordpieceTokenizeWithOffsets"]
    assert "tensorflow-text" in manifest["versions"]
    assert "import tensorflow_text" in (tmp_path / "out/README.md").read_text()
    assert run("import tensorflow_text", tmp_path / "out") == 0
    assert run("", tmp_path / "out") != 0


def run(first: str, folder: Path) -> int:
    script = f"{first}\nimport tensorflow as tf\n"
    script += f"print(tf.saved_model.load({str(folder)!r})(tf.constant(['a'])))"
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False
    ).returncode


def test_not_installed(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tf_exporter import UsageError

    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    with pytest.raises(UsageError, match="tensorflow-text"):
        convert(good, tmp_path / "out", tokenizer_ops="tensorflow-text", verify="off")
