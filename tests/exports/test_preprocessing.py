"""`--export-type preprocessing`: TensorFlow Hub's API, with the model's own token ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from transformers import AlbertConfig, AlbertModel, AlbertTokenizer, AutoTokenizer, BertTokenizer

from fixtures import heads, models
from tests.support.helpers import hostile_texts
from tests.support.tensorflow_2_12 import unknown_saved
from tf_exporter import UnsupportedError, UsageError, VerificationError, convert
from tf_exporter.graph import preprocessing
from tf_exporter.verification.sample_texts import decoded

INPUTS = {
    "input_word_ids": "input_ids",
    "input_mask": "attention_mask",
    "input_type_ids": "token_type_ids",
}
TEXTS = hostile_texts()
STRINGS = [decoded(text) for text in TEXTS]


@dataclass(frozen=True)
class Exported:
    """A preprocessing model, and the tokenizer it has to agree with."""

    model: Any
    hf_tokenizer: Any

    def expected(
        self, texts: list[str], pairs: list[str] | None = None, **options: Any
    ) -> dict[str, np.ndarray]:
        """The arrays that transformers' tokenizer computes, padded."""
        encoded = self.hf_tokenizer(
            texts, pairs, padding="max_length", return_token_type_ids=True, **options
        )
        return {name: np.array(encoded[key]) for name, key in INPUTS.items()}


def check(result: dict[str, tf.Tensor], expected: dict[str, np.ndarray]) -> None:
    assert result.keys() == expected.keys() == INPUTS.keys()
    for name, values in expected.items():
        assert result[name].dtype == tf.int32
        np.testing.assert_array_equal(result[name].numpy(), values, name)


_LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ("SentencePiece", "two separators")]


@pytest.fixture(scope="module", params=["WordPiece", *_LONG])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    place = tmp_path_factory.mktemp("preprocessing")
    if request.param == "WordPiece":
        source = request.getfixturevalue("minilm")
    elif request.param == "two separators":
        source = models.write_transformer(place / "source", "mpnet")
    else:
        shared: Callable[[str], Path] = request.getfixturevalue("shared")
        tokenizer = AlbertTokenizer.from_pretrained(shared("tokenizers/albert"))
        tokenizer.save_pretrained(place / "source")
        sizes = {
            "hidden_size": 8,
            "embedding_size": 8,
            "num_attention_heads": 2,
            "intermediate_size": 8,
            "num_hidden_layers": 1,
        }
        AlbertModel(AlbertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(
            place / "source"
        )
        source = place / "source"
    convert(source, place / "out", export_type="preprocessing", default_seq_length=48, verify="off")
    assert not unknown_saved(place / "out")
    return Exported(tf.saved_model.load(str(place / "out")), AutoTokenizer.from_pretrained(source))


def test_single_texts(exported: Exported) -> None:
    for length, options in (
        (48, {}),
        (7, {"seq_length": 7}),
        (200, {"seq_length": tf.constant(200)}),
    ):
        check(
            exported.model(tf.constant(TEXTS), **options),
            exported.expected(STRINGS, truncation=True, max_length=length),
        )


def test_pairs_that_fit(exported: Exported) -> None:
    short = [text for text in STRINGS if len(text) < 40]
    pairs = short[3:] + short[:3]
    tokens = [
        exported.model.tokenize(tf.constant([text.encode() for text in segment]))
        for segment in (short, pairs)
    ]
    result = exported.model.bert_pack_inputs(tokens, seq_length=400)
    check(result, exported.expected(short, pairs, max_length=400))


def test_pairs_that_are_truncated(exported: Exported) -> None:
    """Pairs are truncated as TensorFlow Text's RoundRobinTrimmer does it."""
    text = pytest.importorskip("tensorflow_text", reason="tensorflow-text is not installed")
    tokens = exported.model.tokenize(tf.constant(TEXTS))
    flat = tokens.merge_dims(1, 2) if tokens.ragged_rank == 2 else tokens
    segments = [flat, tf.gather(flat, np.roll(np.arange(len(TEXTS)), 5))]
    added = exported.hf_tokenizer.num_special_tokens_to_add(pair=True)
    for length in (added, added + 1, 13, 48):
        kept = [part.to_list() for part in text.RoundRobinTrimmer(length - added).trim(segments)]
        expected = [template(exported.hf_tokenizer, *pair) for pair in zip(*kept)]
        result = exported.model.bert_pack_inputs(segments, seq_length=length)
        rows = result["input_word_ids"].numpy()
        assert rows.shape == (len(TEXTS), length)
        for row, mask, ids in zip(rows, result["input_mask"].numpy(), expected):
            assert row[mask > 0].tolist() == ids


def template(hf_tokenizer: Any, first: list[int], second: list[int]) -> list[int]:
    """The ids of a pair with special tokens, from the tokenizer's own post-processor."""
    plain = hf_tokenizer("a", "a")
    sequences = plain.sequence_ids()
    before, after = sequences.index(0), sequences.index(1)
    ids: list[int] = plain["input_ids"]
    return ids[:before] + first + ids[before + 1 : after] + second + ids[after + 1 :]


def test_one_segment_packed_is_the_text(exported: Exported) -> None:
    tokens = exported.model.tokenize(tf.constant(TEXTS))
    packed = exported.model.bert_pack_inputs([tokens])
    for name, values in exported.model(tf.constant(TEXTS)).items():
        np.testing.assert_array_equal(packed[name].numpy(), values.numpy())


def test_tokens(exported: Exported) -> None:
    """Ragged token ids, with WordPiece grouped by words; the ids of the special tokens."""
    tokens = exported.model.tokenize(tf.constant(["hello unbelievable world", ""]))
    ids = [
        exported.hf_tokenizer(word, add_special_tokens=False)["input_ids"]
        for word in ("hello", "unbelievable", "world")
    ]
    if (
        "Bert" in type(exported.hf_tokenizer).__name__
        or "MPNet" in type(exported.hf_tokenizer).__name__
    ):
        assert tokens.to_list() == [ids, []]
    else:
        assert tokens.to_list() == [[id for word in ids for id in word], []]
    assert tokens.dtype == tf.int32
    special = {
        name: int(value)
        for name, value in exported.model.tokenize.get_special_tokens_dict().items()
    }
    assert special == {
        "vocab_size": len(exported.hf_tokenizer),
        "padding_id": exported.hf_tokenizer.pad_token_id,
        "start_of_sequence_id": exported.hf_tokenizer.cls_token_id,
        "end_of_segment_id": exported.hf_tokenizer.sep_token_id,
        "mask_id": exported.hf_tokenizer.mask_token_id,
    }


def test_in_a_dataset(exported: Exported) -> None:
    """The model mapped over batches of a dataset has static shapes."""
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS[:9]).batch(4).map(exported.model)
    assert dataset.element_spec["input_word_ids"].shape.as_list() == [None, 48]
    result = np.concatenate([batch["input_word_ids"].numpy() for batch in dataset])
    np.testing.assert_array_equal(
        result, exported.model(tf.constant(TEXTS[:9]))["input_word_ids"].numpy()
    )


def test_too_short_a_length(exported: Exported) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="seq_length must be at least"):
        exported.model(tf.constant(["a"]), seq_length=1)
    segments = [exported.model.tokenize(tf.constant(["a"]))] * 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="seq_length must be at least"):
        exported.model.bert_pack_inputs(segments, seq_length=tf.constant(2))


@pytest.mark.slow
@pytest.mark.parametrize("lower", [True, False])
def test_lower_case(tmp_path: Path, lower: bool) -> None:
    """`--do-lower-case` overrides the tokenizer; BERT strips accents together with it."""
    source = models.write_transformer(tmp_path / "source", "bert")
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join([*models.VOCAB, *"ABÉé"]) + "\n", encoding="utf-8")
    BertTokenizer(str(vocab), do_lower_case=not lower, model_max_length=48).save_pretrained(source)
    options: dict[str, Any] = {"default_seq_length": 12, "batch_size": 3, "do_lower_case": lower}
    convert(source, tmp_path / "out", export_type="preprocessing", **options)
    model = tf.saved_model.load(str(tmp_path / "out"))
    texts = ["A b É", "HELLO é", "x"]
    expected = BertTokenizer(str(vocab), do_lower_case=lower)(
        texts, padding="max_length", max_length=12
    )["input_ids"]
    assert model(tf.constant(texts))["input_word_ids"].numpy().tolist() == expected
    assert model.signatures["serving_default"].structured_outputs["input_mask"].shape == [3, 12]
    manifest = json.loads((tmp_path / "out/assets.extra/tf_exporter.json").read_text())
    assert manifest["do_lower_case"] is lower and manifest["verification"]["token_texts"] > 100


def test_refusals(tmp_path: Path) -> None:
    bert = models.write_transformer(tmp_path / "bert", "bert")
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="--default-seq-length 49: more than the 48 positions"):
        convert(bert, out, export_type="preprocessing", default_seq_length=49)
    with pytest.raises(UsageError, match="--default-seq-length 2: less than the 3 special tokens"):
        convert(bert, out, export_type="preprocessing", default_seq_length=2)
    with pytest.raises(
        UsageError,
        match="--pooler: only for --export-type encoder or encoder-with-mlm, not preprocessing",
    ):
        convert(bert, out, export_type="preprocessing", pooler="identity")
    with pytest.raises(
        UsageError,
        match="--default-seq-length: only for --export-type preprocessing, not sentence-embedding",
    ):
        convert(bert, out, default_seq_length=12)
    with pytest.raises(
        UsageError, match=r"--verify full: only for .* or preprocessing, not encoder"
    ):
        convert(bert, out, export_type="encoder", verify="full")
    with pytest.raises(UsageError, match="--no-do-lower-case: only for preprocessing"):
        convert(bert, out, do_lower_case=False)
    with pytest.raises(
        UnsupportedError, match="arguments: --export-type = 'tflite' is not supported"
    ):
        convert(bert, out, export_type="tflite")
    models.rewrite(bert / "tokenizer_config.json", truncation_side="left")
    with pytest.raises(UnsupportedError, match="truncation_side = 'left'"):
        convert(bert, out, export_type="preprocessing", default_seq_length=12)
    bare = models.write_transformer(tmp_path / "bare", "bert")
    (bare / "tokenizer.json").unlink()
    heads.write_qwen_tokenizer(bare)
    with pytest.raises(
        UnsupportedError,
        match=r"post_processor = .*a special token before a text and one after it",
    ):
        convert(bare, out, export_type="preprocessing", default_seq_length=12)
    assert not out.exists()


def test_a_wrong_truncation_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that truncates pairs one token too short fails verification."""
    packer = preprocessing._Packer
    room = packer._room

    def smaller(seq_length: Any, added: int) -> tf.Tensor:
        return room(seq_length, added) - (added == 3)

    monkeypatch.setattr(packer, "_room", staticmethod(smaller))
    source = models.write_transformer(tmp_path / "source", "bert")
    with pytest.raises(VerificationError, match="input_word_ids of"):
        convert(source, tmp_path / "out", export_type="preprocessing", default_seq_length=12)
    assert not (tmp_path / "out").exists()
