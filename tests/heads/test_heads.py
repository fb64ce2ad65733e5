"""Heads by themselves: config keys, padding sides, LogitScore, and deliberate mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from safetensors.torch import load_file, save_file

from fixtures import heads
from fixtures.models import MPNET_VOCAB, VOCAB, rewrite
from tests.architectures.test_remote_code import JINA_V3, NEW, NOMIC, SNOWFLAKE, published
from tests.modules.test_cross_encoders import ATOL, PAIRS, TEXTS, score_difference
from tests.modules.test_sparse import sparse_difference
from tests.support.helpers import InProcessReference, answer, build
from tests.support.refusals import refused
from tf_exporter import UnsupportedError, convert
from tf_exporter.architectures.registry import with_head
from tf_exporter.errors import InputError, WeightsError
from tf_exporter.heads.classification import LastTokenHead
from tf_exporter.verification.reference import Job
from tf_exporter.verification.reference_process import load

pytestmark = pytest.mark.slow


LAST_TOKEN = (
    "gemma",
    "gemma2",
    "gemma3_text",
    "llama",
    "ministral3",
    "mistral",
    "phi3",
    "qwen2",
    "qwen3",
)


def change(folder: Path, remove: tuple[str, ...] = (), **tensors: Any) -> None:
    """Removes tensors from a checkpoint and adds others."""
    path = folder / "model.safetensors"
    stored = {name: tensor for name, tensor in load_file(path).items() if name not in remove}
    save_file({**stored, **tensors}, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("deberta", {"pooler_hidden_act": "tanh", "pooler_hidden_size": 32, "cls_dropout": 0.3}),
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
        ("gemma2", {"final_logit_softcapping": 0.5}),
        ("xlnet", {"summary_use_proj": False, "summary_activation": "relu"}),
        ("xlnet", {"summary_type": "cls_index", "summary_activation": ""}),
    ],
    ids=str,
)
def test_keys_of_classifiers(tmp_path: Path, model_type: str, changes: dict[str, Any]) -> None:
    assert (
        score_difference(heads.write_cross_encoder(tmp_path / "model", model_type, **changes))
        <= ATOL
    )


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("deberta", {"legacy": False, "embedding_size": 32, "hidden_act": "relu"}),
        ("deberta", {"legacy": True, "tie_word_embeddings": False}),
        ("deberta-v2", {"legacy": False, "embedding_size": 32}),
        (
            "deberta-v2",
            {
                "legacy": False,
                "embedding_size": 32,
                "hidden_act": "relu",
                "tie_word_embeddings": False,
            },
        ),
        ("deberta-v2", {"legacy": True, "tie_word_embeddings": False, "layer_norm_eps": 1e-2}),
        ("mobilebert", {"tie_word_embeddings": False}),
        (
            "mobilebert",
            {"embedding_size": 32, "hidden_act": "gelu", "normalization_type": "no_norm"},
        ),
        ("convbert", {"hidden_act": "relu", "tie_word_embeddings": False}),
        ("eurobert", {"mlp_bias": False, "tie_word_embeddings": True}),
        ("gte", {"tie_word_embeddings": False}),
        ("nomic_bert", {"tie_word_embeddings": False, "hidden_act": "relu"}),
        (
            "jina_embeddings_v3",
            {"tie_word_embeddings": False, "hidden_act": "relu", "layer_norm_eps": 1e-2},
        ),
        ("modernbert", {"decoder_bias": False}),
    ],
    ids=str,
)
def test_keys_of_masked_lms(tmp_path: Path, model_type: str, changes: dict[str, Any]) -> None:
    assert (
        sparse_difference(heads.write_sparse_encoder(tmp_path / "model", model_type, **changes))
        <= ATOL
    )


@pytest.mark.parametrize("model_type", [*LAST_TOKEN, "eurobert", "modernbert"])
def test_left_padding(tmp_path: Path, model_type: str) -> None:
    """Heads that read no first token; the texts contain padding tokens and pairs end in [SEP]."""
    changes: dict[str, Any] = {} if model_type in LAST_TOKEN else {"classifier_pooling": "mean"}
    folder = heads.write_cross_encoder(tmp_path / "model", model_type, **changes)
    rewrite(folder / "tokenizer_config.json", padding_side="left")
    assert score_difference(folder) <= ATOL


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("model_type", ["gemma2", "gemma3_text", "llama", "qwen3"])
def test_last_token_is_recognized_by_its_id(tmp_path: Path, model_type: str, side: str) -> None:
    """[SEP] ends every pair and is the padding token, so the token before it is classified."""
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
        ("gemma", {}),
        ("gemma", {"tie_word_embeddings": False}),
        ("gemma2", {}),
        ("gemma2", {"final_logit_softcapping": 0.7, "tie_word_embeddings": False}),
        ("gemma2", {"final_logit_softcapping": None}),
        ("llama", {"tie_word_embeddings": True}),
        ("ministral3", {}),
        ("mistral", {}),
        ("phi3", {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("false_token_id", [101, None])
def test_logit_score(
    tmp_path: Path, model_type: str, changes: dict[str, Any], false_token_id: int | None
) -> None:
    assert (
        score_difference(
            heads.write_logit_score(tmp_path / "model", model_type, 100, false_token_id, **changes)
        )
        <= ATOL
    )


def test_all_causal_heads_are_tested() -> None:
    assert set(with_head("text-generation")) == set(LAST_TOKEN)


def test_logit_score_with_prompts(tmp_path: Path) -> None:
    options = {
        "prompts": {"query": "the hello: "},
        "default_prompt_name": "query",
        "activation_fn": torch.nn.Identity(),
    }
    folder = heads.write_logit_score(tmp_path / "model", options=options)
    assert score_difference(folder) <= ATOL
    assert score_difference(folder, "predict_query") <= ATOL


def test_conversion_of_a_causal_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
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

    folder = heads.write_cross_encoder(tmp_path / "xlnet", "xlnet")
    for key, value in (("summary_type", "mean"), ("summary_proj_to_labels", True)):
        rewrite(folder / "config.json", **{key: value})
        refused(folder, UnsupportedError, "config.json", key)
        rewrite(folder / "config.json", **{key: "absent"})
    rewrite(folder / "config.json", summary_activation="magic")
    refused(folder, UnsupportedError, "config.json", "summary_activation", "magic")
    rewrite(folder / "config.json", summary_activation="tanh", summary_type="first")
    refused(folder, UnsupportedError, "padding_side", "right, as the first token")
    rewrite(folder / "config.json", summary_type="last")
    rewrite(folder / "tokenizer_config.json", padding_side="right")
    refused(folder, UnsupportedError, "padding_side", "left, as the last place")

    folder = heads.write_cross_encoder(tmp_path / "qwen", "qwen3")
    rewrite(folder / "config.json", pad_token_id=5)
    refused(folder, UnsupportedError, "config.json", "pad_token_id", "0, as in the tokenizer")
    rewrite(folder / "config.json", pad_token_id=None)
    refused(folder, UnsupportedError, "config.json", "pad_token_id", "None")
    rewrite(folder / "config.json", pad_token_id="absent")
    refused(folder, UnsupportedError, "config.json", "pad_token_id", "None")


def test_padding_of_another_id_on_the_left(tmp_path: Path) -> None:
    """With left padding of another id, the last token is a real one."""
    folder = heads.write_cross_encoder(tmp_path / "model", "qwen3", pad_token_id=4)
    rewrite(folder / "tokenizer_config.json", padding_side="left")
    assert score_difference(folder) <= ATOL


def test_refused_masked_lms(tmp_path: Path) -> None:
    folder = heads.write_sparse_encoder(
        tmp_path / "deberta", "deberta-v2", legacy=False, embedding_size=32
    )
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
    for name, value in (
        ("true_token_id", 10**6),
        ("true_token_id", -1),
        ("false_token_id", 10**6),
        ("false_token_id", True),
    ):
        rewrite(config, true_token_id=1, false_token_id=2)
        rewrite(config, **{name: value})
        refused(folder, UnsupportedError, "LogitScore/config.json", name, str(value))
    rewrite(config, true_token_id=1, false_token_id=2, module_input_name="token_embeddings")
    refused(
        folder, UnsupportedError, "LogitScore/config.json", "module_input_name", "causal_logits"
    )
    rewrite(config, true_token_id="absent", module_input_name="causal_logits")
    refused(folder, InputError, "LogitScore/config.json", "true_token_id")
    rewrite(config, true_token_id=1)
    for cap in (0, -1.5):
        rewrite(folder / "config.json", final_logit_softcapping=cap)
        refused(folder, UnsupportedError, "config.json", "final_logit_softcapping", str(cap))
    rewrite(folder / "config.json", final_logit_softcapping="absent", tie_word_embeddings=False)
    refused(folder, WeightsError, "lm_head.weight")
    saved = heads.write_saved_cross_encoder(tmp_path / "task")
    rewrite(
        saved / "sentence_bert_config.json",
        transformer_task="text-generation",
        modality_config="absent",
        module_output_name="absent",
    )
    refused(saved, UnsupportedError, "model_type", "bert", "text-generation for")


PUBLISHED: list[tuple[dict[str, Any], str, str, dict[str, Any]]] = [
    (NEW, "NewForSequenceClassification", "gte", {"rope_theta": 20.0}),
    (SNOWFLAKE, "GteForSequenceClassification", "gte", {"rope_theta": 20.0}),
    (NOMIC, "NomicBertForSequenceClassification", "nomic_bert", {}),
    (JINA_V3, "XLMRobertaForSequenceClassification", "jina_embeddings_v3", {"rope_theta": 30.0}),
]


@pytest.mark.parametrize(
    ("config", "name", "model_type", "native"), PUBLISHED, ids=lambda value: str(value)[:30]
)
def test_published_classifiers(
    tmp_path: Path, config: dict[str, Any], name: str, model_type: str, native: dict[str, Any]
) -> None:
    """The config and names of gte-multilingual-reranker-base, with `new.` before each name."""
    folder = heads.write_cross_encoder(tmp_path / "model", model_type, labels=3, **native)
    theirs = load(str(folder), "CrossEncoder", None, None)
    tensors = load_file(folder / "model.safetensors")
    if config is NEW:
        renamed = {
            f"new.{key.removeprefix('gte.')}": tensor
            for key, tensor in tensors.items()
            if key.startswith("gte.")
        }
        assert renamed
        change(
            folder,
            tuple(tensors),
            **renamed,
            **{key: tensors[key] for key in tensors if not key.startswith("gte.")},
        )
    labels = {"id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}
    code = {
        "AutoModelForSequenceClassification": config["auto_map"]["AutoModel"].rpartition(".")[0]
        + f".{name}"
    }
    auto_map = {**config["auto_map"], **code}
    model = build(
        published(folder, {**config, "architectures": [name], "auto_map": auto_map, **labels})
    )
    result = model.predict(
        tf.constant(TEXTS), tf.constant(PAIRS), model.signatures["serving_default"]
    ).numpy()
    assert np.abs(result - answer(theirs, Job(TEXTS, "", 32, "", PAIRS))).max() <= ATOL


def test_nomic_bert_without_biases(tmp_path: Path) -> None:
    """The published masked language model has no biases; transformers' class adds zeros."""
    folder = heads.write_sparse_encoder(tmp_path / "model", "nomic_bert")
    biases = tuple(
        f"cls.predictions.{name}" for name in ("transform.dense.bias", "bias", "decoder.bias")
    )
    change(folder, biases)
    assert sparse_difference(folder) <= ATOL
    stored = {"cls.predictions.bias": torch.ones(len(VOCAB))}
    change(folder, **stored)
    refused(folder, WeightsError, "cls.predictions.transform.dense.bias")


@pytest.mark.parametrize("model_type", ["gte", "electra", "distilbert", "modernbert"])
def test_last_bias_is_missed(tmp_path: Path, model_type: str) -> None:
    folder = heads.write_sparse_encoder(tmp_path / "model", model_type)
    name = next(
        name
        for name, tensor in load_file(folder / "model.safetensors").items()
        if tensor.shape == (len(VOCAB) if model_type != "gte" else len(MPNET_VOCAB),)
    )
    change(folder, (name,))
    refused(folder, WeightsError, name.removeprefix("model."))


def test_stored_bias_that_the_config_disables(tmp_path: Path) -> None:
    folder = heads.write_sparse_encoder(tmp_path / "model", "modernbert", decoder_bias=False)
    change(folder, **{"decoder.bias": torch.ones(len(VOCAB))})
    assert sparse_difference(folder) <= ATOL


def test_tokens_before_the_second_text_are_truncated_first(tmp_path: Path) -> None:
    """Long pairs without special tokens, padded on the left."""
    folder = heads.write_logit_score(tmp_path / "model", "qwen2")
    model, theirs = build(folder), load(str(folder), "CrossEncoder", None, None)
    texts, pairs = ["hello " * 60, "the", "of and " * 9], ["world", "to " * 80, "in " * 70]
    expected = theirs.tokenizer(
        texts, pairs, padding=True, truncation="longest_first", max_length=40
    )
    result = model.tokenize(tf.constant(texts), tf.constant(pairs))
    assert np.array_equal(result["input_ids"].numpy(), expected["input_ids"])
    assert np.array_equal(result["attention_mask"].numpy(), expected["attention_mask"])
    scores = model.predict(
        tf.constant(texts), tf.constant(pairs), model.signatures["serving_default"]
    ).numpy()
    assert np.abs(scores - answer(theirs, Job(texts, "", 32, "", pairs))).max() <= ATOL
