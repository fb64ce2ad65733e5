"""Google's BERT checkpoints, from TensorFlow 1 and the Model Garden, in their published layouts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertForSequenceClassification,
    BertTokenizer,
)

from fixtures import models
from fixtures.architectures.sizes import BERT
from tests.exports.test_encoder import hidden_states, inputs_of
from tf_exporter import convert

CONFIG: dict[str, Any] = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "type_vocab_size": 2,
    **BERT,
}
_NORMS = {"LayerNorm.weight": "LayerNorm/gamma", "LayerNorm.bias": "LayerNorm/beta"}


def by_hand(**changes: Any) -> BertForPreTraining:
    """The same weights in transformers; Google's GELU is the tanh approximation."""
    model = BertForPreTraining(BertConfig(**{**CONFIG, "hidden_act": "gelu_new", **changes}))
    models.draw_weights(model, 3)
    return model.eval()


def tf1_variables(model: Any) -> dict[str, np.ndarray]:
    """The weights under the variable names of google-research/bert."""
    result: dict[str, np.ndarray] = {"global_step": np.array(7, np.int64)}
    for name, values in model.state_dict().items():
        if name.endswith(("position_ids", "token_type_ids")) or name.startswith(
            "cls.predictions.decoder"
        ):
            continue
        array = values.numpy()
        key = name.replace("encoder.layer.", "encoder.layer_")
        for torchs, googles in _NORMS.items():
            key = key.replace(torchs, googles)
        if key.endswith("_embeddings.weight"):
            key = key.removesuffix(".weight")
        elif key.endswith(".weight"):
            key, array = key.removesuffix("weight") + "kernel", array.T
        key = key.replace(".", "/").replace("cls/predictions/bias", "cls/predictions/output_bias")
        key = key.replace("cls/seq_relationship/bias", "cls/seq_relationship/output_bias")
        if key == "cls/seq_relationship/kernel":
            key, array = "cls/seq_relationship/output_weights", array.T
        result[key] = array
        result[f"{key}/adam_m"] = result[f"{key}/adam_v"] = np.zeros_like(array)
    return result


def write_tf1(
    folder: Path, variables: dict[str, np.ndarray], vocab: list[str] = models.VOCAB
) -> Path:
    """A folder with a checkpoint written by TensorFlow 1's Saver."""
    folder.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, values in variables.items():
            tf.compat.v1.get_variable(name, initializer=tf.constant(values), use_resource=False)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(
            session, str(folder / "bert_model.ckpt"), write_meta_graph=False
        )
    (folder / "checkpoint").unlink()
    (folder / "bert_config.json").write_text(json.dumps(CONFIG))
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    return folder


def node(**parts: Any) -> tf.train.Checkpoint:
    """An object with these attributes."""
    result = tf.train.Checkpoint()
    for name, part in parts.items():
        setattr(
            result,
            name,
            part if isinstance(part, (list, tf.train.Checkpoint)) else tf.Variable(part),
        )
    return result


def garden_encoder(model: Any, version: int) -> tf.train.Checkpoint:
    """The object tree of the Model Garden's `BertEncoder` (version 1) or `BertEncoderV2`."""
    state = {
        name.removeprefix("bert."): values.numpy() for name, values in model.state_dict().items()
    }
    heads = CONFIG["num_attention_heads"]

    def dense(
        prefix: str, change: Callable[[np.ndarray], np.ndarray] = np.asarray, bias: Any = np.asarray
    ) -> tf.train.Checkpoint:
        return node(kernel=change(state[f"{prefix}.weight"].T), bias=bias(state[f"{prefix}.bias"]))

    def norm(prefix: str) -> tf.train.Checkpoint:
        return node(gamma=state[f"{prefix}.weight"], beta=state[f"{prefix}.bias"])

    def split(kernel: np.ndarray) -> np.ndarray:
        return kernel.reshape(*kernel.shape[:-1], heads, -1)

    def block(prefix: str) -> tf.train.Checkpoint:
        parts = {
            f"_{name}_dense": dense(f"{prefix}.attention.self.{name}", split, split)
            for name in ("query", "key", "value")
        }
        joined = dense(
            f"{prefix}.attention.output.dense",
            lambda kernel: kernel.reshape(heads, -1, kernel.shape[-1]),
        )
        return node(
            _attention_layer=node(**parts, _output_dense=joined),
            _attention_layer_norm=norm(f"{prefix}.attention.output.LayerNorm"),
            _intermediate_dense=dense(f"{prefix}.intermediate.dense"),
            _output_dense=dense(f"{prefix}.output.dense"),
            _output_layer_norm=norm(f"{prefix}.output.LayerNorm"),
        )

    word, position, kind = (
        node(embeddings=state[f"embeddings.{name}_embeddings.weight"])
        for name in ("word", "position", "token_type")
    )
    blocks = [block(f"encoder.layer.{index}") for index in range(CONFIG["num_hidden_layers"])]
    layers = [word, position, kind, norm("embeddings.LayerNorm"), *blocks, dense("pooler.dense")]
    if version == 1:
        return node(**{f"layer_with_weights-{index}": layer for index, layer in enumerate(layers)})
    names = (
        "_embedding_layer",
        "_position_embedding_layer",
        "_type_embedding_layer",
        "_embedding_norm_layer",
    )
    return node(**dict(zip(names, layers)), _transformer_layers=blocks, _pooler_layer=layers[-1])


def write_tf2(folder: Path, model: Any, version: int, root: str, head: bool) -> Path:
    """A folder with a checkpoint as the Model Garden saves it, by `tf.train.Checkpoint`."""
    folder.mkdir(parents=True)
    encoder = garden_encoder(model, version)
    parts: dict[str, Any] = {root: encoder, "optimizer": node(iterations=np.array(3, np.int64))}
    if head:
        state = {name: values.numpy() for name, values in model.state_dict().items()}
        prefix = "cls.predictions.transform"
        masked_lm = node(
            dense=node(
                kernel=state[f"{prefix}.dense.weight"].T, bias=state[f"{prefix}.dense.bias"]
            ),
            layer_norm=node(
                gamma=state[f"{prefix}.LayerNorm.weight"], beta=state[f"{prefix}.LayerNorm.bias"]
            ),
            bias=state["cls.predictions.bias"],
        )
        # The shorter path to the table, through the head, names its values in the file.
        table = (
            encoder._embedding_layer if version == 2 else getattr(encoder, "layer_with_weights-0")
        )
        masked_lm.embedding_table = table.embeddings
        parts["masked_lm"] = masked_lm
    tf.train.Checkpoint(**parts).write(str(folder / "bert_model.ckpt"))
    (folder / "bert_config.json").write_text(json.dumps(CONFIG))
    (folder / "vocab.txt").write_text("\n".join(models.VOCAB) + "\n")
    return folder


def check_outputs(folder: Path, model: BertForPreTraining, head: bool) -> None:
    """Compares every layer, the pooler and the head with the weights loaded by hand."""
    exported = tf.saved_model.load(str(folder))
    for batch in inputs_of("bert"):
        expected = hidden_states(model, batch)
        inputs = {name: tf.constant(array) for name, array in batch.items()}
        result = exported(inputs)
        for layer, expected_values in zip(
            result["encoder_outputs"], expected.hidden_states[1:], strict=True
        ):
            np.testing.assert_allclose(layer.numpy(), expected_values.numpy(), rtol=0, atol=1e-5)
        pooled = model.bert.pooler(expected.hidden_states[-1]).detach().numpy()
        np.testing.assert_allclose(result["pooled_output"].numpy(), pooled, rtol=0, atol=1e-5)
        if head:
            positions = tf.zeros([len(batch["input_mask"]), 1], tf.int32)
            logits = exported.mlm({**inputs, "masked_lm_positions": positions})[
                "mlm_logits"
            ].numpy()
            expected_values = expected.prediction_logits[:, :1].numpy()
            np.testing.assert_allclose(logits, expected_values, rtol=0, atol=1e-4)


def test_tensorflow_1(tmp_path: Path) -> None:
    model = by_hand()
    source = write_tf1(tmp_path / "small_bert", tf1_variables(model))
    conversion = convert(source, tmp_path / "out", export_type="encoder-with-mlm")
    check_outputs(tmp_path / "out", model, head=True)
    assert conversion.manifest["source"] == str(source)
    # No file of the translated folder remains.
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {
        "README.md",
        "assets",
        "assets.extra",
        "fingerprint.pb",
        "saved_model.pb",
        "variables",
    }
    names = {
        "bert_config.json",
        "vocab.txt",
        "bert_model.ckpt.index",
        "bert_model.ckpt.data-00000-of-00001",
    }
    assert conversion.manifest["sha256"].keys() == names
    assert conversion.verification["max_abs_difference"] <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("version", "root", "head"), [(1, "model", False), (2, "encoder", True)])
def test_model_garden(version: int, root: str, head: bool, tmp_path: Path) -> None:
    model = by_hand()
    source = write_tf2(tmp_path / "source", model, version, root, head)
    convert(source, tmp_path / "out", export_type="encoder-with-mlm" if head else "encoder")
    check_outputs(tmp_path / "out", model, head)


@pytest.mark.slow
def test_texts(tmp_path: Path) -> None:
    """Embeddings and token ids; lower case follows the vocabulary unless an option is given."""
    model = by_hand()
    source = write_tf1(tmp_path / "source", tf1_variables(model))
    convert(source, tmp_path / "embedding")
    convert(source, tmp_path / "cased", do_lower_case=False, verify="off")
    texts = ["Hello WORLD", "the world"]
    for folder, lower in (("embedding", True), ("cased", False)):
        result = tf.saved_model.load(str(tmp_path / folder)).signatures["tokenize"](
            input_sequence=tf.constant(texts)
        )
        expected = BertTokenizer(str(source / "vocab.txt"), do_lower_case=lower)(
            texts, padding=True
        )["input_ids"]
        assert result["input_ids"].numpy().tolist() == expected
    cased = write_tf1(
        tmp_path / "other",
        tf1_variables(by_hand(vocab_size=len(models.VOCAB) + 1)),
        [*models.VOCAB, "Hello"],
    )
    (cased / "bert_config.json").write_text(
        json.dumps({**CONFIG, "vocab_size": len(models.VOCAB) + 1})
    )
    conversion = convert(
        cased, tmp_path / "pair", export_type="preprocessing", default_seq_length=9
    )
    assert conversion.manifest["do_lower_case"] is False


@pytest.mark.slow
def test_fine_tuned_classifier(tmp_path: Path) -> None:
    """A checkpoint as run_classifier.py of google-research/bert saves it."""
    model = BertForSequenceClassification(
        BertConfig(**{**CONFIG, "hidden_act": "gelu_new"}, num_labels=3)
    ).eval()
    models.draw_weights(model, 5)
    variables = {
        name: array
        for name, array in tf1_variables(model).items()
        if not name.startswith("classifier")
    }
    head = model.classifier.state_dict()
    variables |= {"output_weights": head["weight"].numpy(), "output_bias": head["bias"].numpy()}
    source = write_tf1(tmp_path / "source", variables)
    convert(source, tmp_path / "out", export_type="classifier", sentences=2)
    result = tf.saved_model.load(str(tmp_path / "out"))(
        tf.constant(["the world"]), tf.constant(["hello"])
    )
    encoded = BertTokenizer(str(source / "vocab.txt"))("the world", "hello", return_tensors="pt")
    with torch.no_grad():
        np.testing.assert_allclose(
            result["logits"].numpy(), model(**encoded).logits.numpy(), rtol=0, atol=1e-5
        )
    assert result["class"].numpy()[0].decode() == f"LABEL_{int(result['class_id'][0])}"
