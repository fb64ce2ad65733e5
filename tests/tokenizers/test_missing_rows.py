"""Tokens without a row in the embedding table: an error for texts that have one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from safetensors.torch import load_file, save_file

from fixtures import heads, models
from fixtures.models import VOCAB, rewrite
from tests.support.helpers import InProcessReference, build, embed
from tests.support.helpers import reference as load_reference
from tests.support.refusals import refused
from tf_exporter import UnsupportedError, convert
from tf_exporter.graph.text_checks import checked
from tf_exporter.tokenizers.missing_rows import RowCheck, row_check
from tf_exporter.tokenizers.post_processors import Encodings
from tf_exporter.tokenizers.spec import WordPieceSpec
from tf_exporter.verification.sample_texts import SENTENCES

NEW = "[NEW]"


def added(folder: Path) -> Path:
    """A model with a special token whose id is after the last row."""
    models.write_model(folder, max_seq_length=8)
    rewrite(folder / "tokenizer_config.json", extra_special_tokens=[NEW])
    return folder


def test_added_token_without_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    folder = added(tmp_path / "model")
    conversion = convert(folder, tmp_path / "out")
    id = len(VOCAB)
    assert f"'{NEW}' ({id})" in caplog.text
    assert conversion.manifest["tokens_without_rows"] == {NEW: id}
    assert conversion.manifest["tokens_without_rows_count"] == 1
    # All ids were compared, and the embeddings of texts without the token.
    assert conversion.verification["embedding_texts"] > 100
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    ids = loaded.signatures["tokenize"](input_sequence=tf.constant([f"hello {NEW}"]))[
        "input_ids"
    ].numpy()
    assert ids[0, -2] == id
    theirs = load_reference(folder)
    for texts in ([f"hello {NEW}"], ["hello", NEW, "world"], [f"{'hello ' * 5}{NEW} hello"]):
        with pytest.raises(IndexError):
            theirs.encode(texts)
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=rf"no embedding.*\[{id}\] \[\"?\[NEW\]"
        ):
            loaded(tf.constant(texts))
    # Truncated tokens need no row.
    texts = [f"{'hello ' * 6}{NEW}", "world"]
    assert np.abs(loaded(tf.constant(texts)).numpy() - theirs.encode(texts)).max() <= 1e-5
    assert loaded(tf.constant([], tf.string)).shape == [0, 32]


def test_vocabulary_without_rows(tmp_path: Path) -> None:
    """Missing rows of the model's own pieces: an error exactly where the reference fails."""
    missing = 40
    folder = models.write_model(tmp_path / "model", vocab_size=len(VOCAB) - missing)
    model, theirs = build(folder), load_reference(folder)
    spec = model.first.tokenizer_spec
    assert [*spec.tokens_without_rows] == VOCAB[-missing:]
    fine: list[bool] = []
    for text in [*SENTENCES[::4], *models.texts(0, 12), *VOCAB[::6]]:
        try:
            expected = theirs.encode([text])
        except IndexError:
            fine.append(False)
            with pytest.raises(tf.errors.InvalidArgumentError, match="no embedding"):
                embed(model, [text])
        else:
            fine.append(True)
            assert np.abs(embed(model, [text]) - expected).max() <= 1e-5
    assert 5 < sum(fine) < len(fine) - 5


def test_what_every_text_needs(tmp_path: Path) -> None:
    folder = models.write_model(tmp_path / "model")
    original = (folder / "tokenizer_config.json").read_text()
    for name in ("pad_token", "cls_token"):
        (folder / "tokenizer_config.json").write_text(original)
        rewrite(folder / "tokenizer_config.json", **{name: NEW})
        refused(
            folder,
            UnsupportedError,
            "config.json: vocab_size",
            f"token id {len(VOCAB)}",
            "every text",
        )


def test_static_table(tmp_path: Path) -> None:
    plain = models.write_transformer(tmp_path / "plain", "bert")
    folder = heads.write_static_model(tmp_path / "model", plain, [])
    weights = next(folder.rglob("model.safetensors"))
    table = load_file(weights)["embedding.weight"]
    save_file({"embedding.weight": table[:-1].contiguous()}, weights)
    model = build(folder)
    assert model.first.tokenizer_spec.tokens_without_rows == {VOCAB[-1]: len(VOCAB) - 1}
    assert embed(model, ["hello"]).any()
    with pytest.raises(tf.errors.InvalidArgumentError, match="no embedding"):
        embed(model, [VOCAB[-1]])


@pytest.mark.slow
def test_preprocessing(tmp_path: Path) -> None:
    """The encoder that gets these ids has no row for the token."""
    folder = added(tmp_path / "model")
    conversion = convert(
        folder, tmp_path / "out", export_type="preprocessing", default_seq_length=16, verify="off"
    )
    assert conversion.manifest["tokens_without_rows"] == {NEW: len(VOCAB)}
    rewrite(folder / "tokenizer_config.json", sep_token=NEW)
    refused(
        folder,
        UnsupportedError,
        "vocab_size",
        "every text",
        export_type="preprocessing",
        default_seq_length=16,
    )


def encodings(*rows: tuple[tuple[int, int], ...]) -> Encodings:
    """Encodings of texts or pairs; each part is its first kept token and its length in the pool."""
    pool = tf.constant([1, 2, 99, 3, 4, 98, 98, 5], tf.int32)
    starts, sizes = (
        tf.constant([[part[n] for part in row] for row in rows], tf.int32) for n in (0, 1)
    )
    return Encodings(pool, starts, sizes, tf.reduce_sum(sizes, 1) + 2)


def test_kept_tokens_alone_are_checked(tmp_path: Path) -> None:
    folder = models.write_model(tmp_path / "model")
    spec = build(folder).first.tokenizer_spec
    assert row_check(spec) is None  # so the graph of such a model has no check

    def check(*rows: Any) -> Encodings:
        vocab = {"a": 98, "b": 99}
        changed = {
            "model": WordPieceSpec(vocab, "a", "##", 9),
            "added_tokens": (),
            "ids_without_rows": frozenset((98, 99)),
        }
        row_checks = RowCheck(type(spec)(**{**spec.__dict__, **changed}))
        return checked([row_checks], encodings(*rows))

    for fine in (
        [((0, 2),)],
        [((0, 2),), ((3, 2),), ((7, 1),)],
        [((0, 2), (7, 1)), ((2, 0), (3, 2))],
        [((6, 0),), ((8, 0),)],
    ):
        assert check(*fine).ids.shape == [8]
    for rows, message in (
        ([((0, 2),), ((2, 1),)], "99\nb'b'"),
        ([((3, 5),)], "98\nb'a'"),
        ([((0, 1), (6, 2))], "98\nb'a'"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            check(*rows)
