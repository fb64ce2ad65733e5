"""The comparison of token ids, as `--verify full` does it."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from fixtures import heads, models
from tests.support.helpers import build
from tf_exporter import VerificationError, convert
from tf_exporter.verification import tokens
from tf_exporter.verification.tokens import check_tokens


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of texts that replace every code point and the generated texts."""
    texts = [chr(code) + " a" for code in range(0x20, 0x800)]
    monkeypatch.setattr(tokens, "CONTEXTS", ("{}",))
    monkeypatch.setattr(tokens, "code_point_texts", lambda context: texts)
    monkeypatch.setattr(tokens, "_GENERATED", 200)
    return len(texts) + 200


@pytest.mark.parametrize("kind", ["embeddings", pytest.param("scores", marks=pytest.mark.slow)])
def test_full(tmp_path: Path, few: int, kind: str) -> None:
    write = models.write_model if kind == "embeddings" else heads.write_cross_encoder
    folder = write(tmp_path / "model")
    quick = convert(folder, tmp_path / "quick").verification
    full = convert(folder, tmp_path / "full", verify="full").verification
    assert full["token_texts"] == quick["token_texts"] + few
    assert full["embedding_texts"] >= quick["embedding_texts"]


@pytest.mark.parametrize("pairs", [False, True])
def test_one_wrong_code_point(tmp_path: Path, few: int, pairs: bool) -> None:
    """Only the full comparison has this text; in a pair, it may be the first or the second."""
    write = heads.write_cross_encoder if pairs else models.write_model
    model = build(write(tmp_path / "model"))
    description = model.describe()
    [name] = description.tokenizers

    def tokenize(**columns: tf.Tensor) -> dict[str, tf.Tensor]:
        result = model.tokenize(*columns.values())
        wrong = tf.reduce_any(
            [tf.strings.regex_full_match(column, "\u07ca a") for column in columns.values()], 0
        )
        ids = tf.where(wrong[:, tf.newaxis], 1, result["input_ids"])
        return {"input_ids": ids, "attention_mask": result["attention_mask"]}

    assert check_tokens(tokenize, name, description, [b"a", b"b"], "quick", True) == 2
    with pytest.raises(VerificationError, match="tokenize: ids of"):
        check_tokens(tokenize, name, description, [b"a", b"b"], "full", True)
