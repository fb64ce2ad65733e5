"""Heads by themselves: keys of their configs, sides of padding, LogitScore, and mistakes that have to be found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import torch
from safetensors.torch import load_file, save_file

from fixtures import heads
from fixtures.heads import rewrite
from tests.helpers import InProcessReference
from tests.refusals import refused
from tests.test_cross_encoders import ATOL, score_difference
from tests.test_sparse import sparse_difference
from tf_exporter import UnsupportedError, convert, reference
from tf_exporter.errors import InputError, VerificationError, WeightsError
from tf_exporter.heads.causal_lm import CAUSAL_LM_HEADS
from tf_exporter.heads.classification import CLASSIFICATION_HEADS, LastTokenHead

LAST_TOKEN = ("gemma3_text", "qwen2", "qwen3")


def change(folder: Path, remove: tuple[str, ...] = (), **tensors: Any) -> None:
    """Takes tensors out of a checkpoint, and puts others into it."""
    path = folder / "model.safetensors"
    stored = {name: tensor for name, tensor in load_file(path).items() if name not in remove}
    save_file({**stored, **tensors}, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("deberta-v2", {"pooler_hidden_act": "relu"}),
        ("deberta-v2", {"pooler_hidden_act": "tanh", "pooler_hidden_size": 32, "cls_dropout": 0.3}),
        ("convbert", {"hidden_act": "relu"}),
        ("mobilebert", {"classifier_activation": False}),
        ("mobilebert", {"classifier_activation": True, "hidden_act": "gelu"}),
        ("eurobert", {"classifier_pooling": "bos"}),
        ("eurobert", {"classifier_pooling": "mean"}),
        ("eurobert", {"classifier_pooling": "late", "clf_pooling": "late", "hidden_act": "relu"}),
        ("gte", {"hidden_act": "relu"}),
        ("nomic_bert", {"hidden_act": "gelu"}),
        ("jina_embeddings_v3", {"hidden_act": "relu"}),
        ("gemma3_text", {"final_logit_softcapping": 0.5}),
    ],
    ids=str,
)
def test_keys_of_classifiers(tmp_path: Path, model_type: str, changes: dict[str, Any]) -> None:
    assert score_difference(heads.write_cross_encoder(tmp_path / "model", model_type, **changes)) <= ATOL


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("deberta-v2", {"legacy": False, "embedding_size": 32}),
        ("deberta-v2", {"legacy": False, "embedding_size": 32, "hidden_act": "relu", "tie_word_embeddings": False}),
        ("deberta-v2", {"legacy": True, "tie_word_embeddings": False, "layer_norm_eps": 1e-2}),
        ("mobilebert", {"tie_word_embeddings": False}),
        ("mobilebert", {"embedding_size": 32, "hidden_act": "gelu", "normalization_type": "no_norm"}),
        ("convbert", {"hidden_act": "relu", "tie_word_embeddings": False}),
        ("eurobert", {"mlp_bias": False, "tie_word_embeddings": True}),
        ("gte", {"tie_word_embeddings": False}),
        ("nomic_bert", {"tie_word_embeddings": False, "hidden_act": "relu"}),
        ("jina_embeddings_v3", {"tie_word_embeddings": False, "hidden_act": "relu", "layer_norm_eps": 1e-2}),
        ("modernbert", {"decoder_bias": False}),
    ],
    ids=str,
)
def test_keys_of_masked_lms(tmp_path: Path, model_type: str, changes: dict[str, Any]) -> None:
    assert sparse_difference(heads.write_sparse_encoder(tmp_path / "model", model_type, **changes)) <= ATOL


@pytest.mark.parametrize("model_type", [*LAST_TOKEN, "eurobert", "modernbert"])
def test_left_padding(tmp_path: Path, model_type: str) -> None:
    """Where no first token is asked for. Texts have padding tokens in them, and pairs end in [SEP]."""
    changes: dict[str, Any] = {} if model_type in LAST_TOKEN else {"classifier_pooling": "mean"}
    folder = heads.write_cross_encoder(tmp_path / "model", model_type, **changes)
    rewrite(folder / "tokenizer_config.json", padding_side="left")
    assert score_difference(folder) <= ATOL


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("model_type", ["gemma3_text", "qwen3"])
def test_last_token_is_told_by_its_id(tmp_path: Path, model_type: str, side: str) -> None:
    """[SEP], which ends every pair here, is the padding: the token before it is classified."""
    folder = heads.write_cross_encoder(tmp_path / "model", model_type, pad_token_id=3)
    rewrite(folder / "tokenizer_config.json", padding_side=side, pad_token="[SEP]")
    assert score_difference(folder) <= ATOL


def test_last_of_nothing_but_padding() -> None:
    head = object.__new__(LastTokenHead)
    tf.Module.__init__(head)
    head.pad_id, head.score = 0, tf.identity
    tokens = tf.reshape(tf.range(12.0), [3, 4, 1])
    ids = tf.constant([[0, 0, 0, 0], [7, 0, 8, 0], [0, 7, 0, 0]])
    mask = tf.constant([[0, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0]])
    assert head(tokens, mask, ids).numpy().ravel().tolist() == [1.0, 6.0, 9.0]


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("qwen2", {}),
        ("qwen2", {"tie_word_embeddings": True}),
        ("qwen3", {}),
        ("qwen3", {"tie_word_embeddings": True}),
        ("gemma3_text", {}),
        ("gemma3_text", {"final_logit_softcapping": 0.7, "tie_word_embeddings": False}),
        ("gemma3_text", {"final_logit_softcapping": 2.0, "use_bidirectional_attention": False}),
    ],
    ids=str,
)
@pytest.mark.parametrize("false_token_id", [101, None])
def test_logit_score(tmp_path: Path, model_type: str, changes: dict[str, Any], false_token_id: int | None) -> None:
    assert score_difference(heads.write_logit_score(tmp_path / "model", model_type, 100, false_token_id, **changes)) <= ATOL


def test_all_causal_heads_are_tested() -> None:
    assert set(CAUSAL_LM_HEADS) == set(LAST_TOKEN)


def test_logit_score_with_prompts(tmp_path: Path) -> None:
    options = {"prompts": {"query": "the hello: "}, "default_prompt_name": "query", "activation_fn": torch.nn.Identity()}
    folder = heads.write_logit_score(tmp_path / "model", options=options)
    assert score_difference(folder) <= ATOL
    assert score_difference(folder, "predict_query") <= ATOL


def test_conversion_of_a_causal_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "Reference", InProcessReference)
    conversion = convert(heads.write_logit_score(tmp_path / "model"), tmp_path / "out")
    assert conversion.verification["max_abs_difference"] <= ATOL
    score = tf.saved_model.load(str(tmp_path / "out")).signatures["serving_default"]
    none = tf.constant([], tf.string)
    assert score(input_sequence=none, pair_sequence=none)["scores"].shape == (0,)


def test_refused_classifiers(tmp_path: Path) -> None:
    folder = heads.write_cross_encoder(tmp_path / "eurobert", "eurobert", classifier_pooling="bos")
    rewrite(folder / "config.json", clf_pooling="late")
    refused(folder, UnsupportedError, "config.json", "clf_pooling", "bos")
    rewrite(folder / "config.json", clf_pooling="absent", classifier_pooling="cls")
    refused(folder, UnsupportedError, "config.json", "classifier_pooling", "late")
    rewrite(folder / "config.json", classifier_pooling="bos")
    rewrite(folder / "tokenizer_config.json", padding_side="left")
    refused(folder, UnsupportedError, "padding_side", "first token")

    folder = heads.write_cross_encoder(tmp_path / "deberta", "deberta-v2")
    rewrite(folder / "config.json", pooler_hidden_size=64)
    refused(folder, UnsupportedError, "config.json", "pooler_hidden_size", "32")
    rewrite(folder / "config.json", pooler_hidden_size="absent", pooler_hidden_act="magic")
    refused(folder, UnsupportedError, "config.json", "pooler_hidden_act", "magic")

    folder = heads.write_cross_encoder(tmp_path / "qwen", "qwen3")
    rewrite(folder / "config.json", pad_token_id=5)
    refused(folder, UnsupportedError, "config.json", "pad_token_id", "0, the tokenizer's")
    rewrite(folder / "config.json", pad_token_id=None)
    refused(folder, UnsupportedError, "config.json", "pad_token_id", "None")
    rewrite(folder / "config.json", pad_token_id="absent")
    refused(folder, UnsupportedError, "config.json", "pad_token_id", "None")


def test_padding_of_another_id_on_the_left(tmp_path: Path) -> None:
    """Then no padding comes after the last token."""
    folder = heads.write_cross_encoder(tmp_path / "model", "qwen3", pad_token_id=4)
    rewrite(folder / "tokenizer_config.json", padding_side="left")
    assert score_difference(folder) <= ATOL


def test_refused_masked_lms(tmp_path: Path) -> None:
    folder = heads.write_sparse_encoder(tmp_path / "deberta", "deberta-v2", legacy=False, embedding_size=32)
    rewrite(folder / "config.json", legacy=True)
    refused(folder, WeightsError, "cls.predictions.transform.dense.weight")
    folder = heads.write_sparse_encoder(tmp_path / "narrow", "deberta-v2")
    rewrite(folder / "config.json", legacy=False)
    refused(folder, UnsupportedError, "config.json", "embedding_size", "24", "32")
    folder = heads.write_sparse_encoder(tmp_path / "gte", "gte")
    rewrite(folder / "config.json", hidden_act="relu")
    refused(folder, UnsupportedError, "config.json", "hidden_act", "gelu")
    folder = heads.write_sparse_encoder(tmp_path / "eurobert", "eurobert")
    change(folder, ("lm_head.weight",))
    refused(folder, WeightsError, "lm_head.weight")


def test_refused_causal_models(tmp_path: Path) -> None:
    folder = heads.write_logit_score(tmp_path / "model", "gemma3_text")
    config = next(folder.glob("*LogitScore/config.json"))
    for name, value in (("true_token_id", 10**6), ("true_token_id", -1), ("false_token_id", 10**6), ("false_token_id", True)):
        rewrite(config, true_token_id=1, false_token_id=2)
        rewrite(config, **{name: value})
        refused(folder, UnsupportedError, "LogitScore/config.json", name, str(value))
    rewrite(config, true_token_id=1, false_token_id=2, module_input_name="token_embeddings")
    refused(folder, UnsupportedError, "LogitScore/config.json", "module_input_name", "causal_logits")
    rewrite(config, true_token_id="absent", module_input_name="causal_logits")
    refused(folder, InputError, "LogitScore/config.json", "true_token_id")
    rewrite(config, true_token_id=1)
    for cap in (0, -1.5):
        rewrite(folder / "config.json", final_logit_softcapping=cap)
        refused(folder, UnsupportedError, "config.json", "final_logit_softcapping", str(cap))
    rewrite(folder / "config.json", final_logit_softcapping="absent", tie_word_embeddings=False)
    refused(folder, WeightsError, "lm_head.weight")
    folder = heads.write_cross_encoder(tmp_path / "plain")
    rewrite(folder / "config.json", architectures=["BertForSequenceClassification"])
    saved = heads.write_saved_cross_encoder(tmp_path / "task")
    rewrite(
        saved / "sentence_bert_config.json",
        transformer_task="text-generation",
        modality_config="absent",
        module_output_name="absent",
    )
    refused(saved, UnsupportedError, "model_type", "bert", "text-generation for")


def _with(name: str, value: Any) -> Any:
    """A head that is built as before, with one attribute of another value."""

    def patched(original: Any) -> Any:
        def make(*arguments: Any) -> Any:
            head = original(*arguments)
            setattr(head, name, value)
            return head

        return make

    return patched


class _LastPlaceHead(LastTokenHead):
    def __call__(self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor) -> tf.Tensor:
        return self.score(tokens[:, -1])


def _last_place(original: Any) -> Any:
    def make(*arguments: Any) -> Any:
        head = original(*arguments)
        head.__class__ = _LastPlaceHead
        return head

    return make


@pytest.mark.parametrize(
    ("model_type", "mistake"),
    [
        ("convbert", _with("_act", tf.tanh)),
        ("deberta-v2", _with("_act", tf.tanh)),
        ("mobilebert", _with("_act", tf.identity)),
        ("mobilebert", _with("_pooling", "mean")),
        ("eurobert", _with("_pooling", "mean")),
        ("eurobert", _with("_act", tf.nn.relu)),
        ("gte", _with("_act", tf.identity)),
        ("nomic_bert", _with("_pooling", "mean")),
        ("jina_embeddings_v3", _with("_act", tf.nn.relu)),
        ("gemma3_text", _with("pad_id", -1)),
        ("qwen2", _last_place),
        ("qwen3", _with("pad_id", -1)),
    ],
)
def test_wrong_classifiers_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_type: str, mistake: Any) -> None:
    monkeypatch.setattr(reference, "Reference", InProcessReference)
    folder = heads.write_cross_encoder(tmp_path / "model", model_type)
    if model_type in ("gemma3_text", "qwen3"):
        rewrite(folder / "config.json", pad_token_id=3)
        rewrite(folder / "tokenizer_config.json", padding_side="left", pad_token="[SEP]")
    monkeypatch.setitem(CLASSIFICATION_HEADS, model_type, mistake(CLASSIFICATION_HEADS[model_type]))
    with pytest.raises(VerificationError, match="serving_default"):
        convert(folder, tmp_path / "out")
