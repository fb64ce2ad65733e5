"""Google's BERT checkpoints, of TensorFlow 1 and of the Model Garden, in the layouts that Google published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from transformers import BertConfig, BertForPreTraining, BertForSequenceClassification, BertTokenizer

from fixtures import models
from tests.hub.test_encoder import hidden_states, inputs_of
from tf_exporter import InputError, UnsupportedError, UsageError, WeightsError, convert

CONFIG: dict[str, Any] = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "type_vocab_size": 2,
    **{key: models._BERT[key] for key in models._BERT},
}
_NORMS = {"LayerNorm.weight": "LayerNorm/gamma", "LayerNorm.bias": "LayerNorm/beta"}


def by_hand(**changes: Any) -> BertForPreTraining:
    """The same weights in transformers; Google's GELU is the one by tanh."""
    model = BertForPreTraining(BertConfig(**{**CONFIG, "hidden_act": "gelu_new", **changes}))
    models.draw_weights(model, 3)
    return model.eval()


def tf1_variables(model: Any) -> dict[str, np.ndarray]:
    """By the names of google-research/bert."""
    found: dict[str, np.ndarray] = {"global_step": np.array(7, np.int64)}
    for name, values in model.state_dict().items():
        if name.endswith(("position_ids", "token_type_ids")) or name.startswith("cls.predictions.decoder"):
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
        found[key] = array
        found[f"{key}/adam_m"] = found[f"{key}/adam_v"] = np.zeros_like(array)
    return found


def write_tf1(folder: Path, variables: dict[str, np.ndarray], vocab: list[str] = models.VOCAB) -> Path:
    """By TensorFlow 1's own Saver."""
    folder.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, values in variables.items():
            tf.compat.v1.get_variable(name, initializer=tf.constant(values), use_resource=False)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(folder / "bert_model.ckpt"), write_meta_graph=False)
    (folder / "checkpoint").unlink()
    (folder / "bert_config.json").write_text(json.dumps(CONFIG))
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    return folder


def node(**parts: Any) -> tf.train.Checkpoint:
    """An object with these parts."""
    found = tf.train.Checkpoint()
    for name, part in parts.items():
        setattr(found, name, part if isinstance(part, (list, tf.train.Checkpoint)) else tf.Variable(part))
    return found


def garden_encoder(model: Any, version: int) -> tf.train.Checkpoint:
    """An object with the parts of the Model Garden's encoder: `BertEncoder` (1) or `BertEncoderV2`."""
    state = {name.removeprefix("bert."): values.numpy() for name, values in model.state_dict().items()}
    heads = CONFIG["num_attention_heads"]

    def dense(at: str, change: Callable[[np.ndarray], np.ndarray] = np.asarray, bias: Any = np.asarray) -> tf.train.Checkpoint:
        return node(kernel=change(state[f"{at}.weight"].T), bias=bias(state[f"{at}.bias"]))

    def norm(at: str) -> tf.train.Checkpoint:
        return node(gamma=state[f"{at}.weight"], beta=state[f"{at}.bias"])

    def split(kernel: np.ndarray) -> np.ndarray:
        return kernel.reshape(*kernel.shape[:-1], heads, -1)

    def block(at: str) -> tf.train.Checkpoint:
        parts = {f"_{name}_dense": dense(f"{at}.attention.self.{name}", split, split) for name in ("query", "key", "value")}
        joined = dense(f"{at}.attention.output.dense", lambda kernel: kernel.reshape(heads, -1, kernel.shape[-1]))
        return node(
            _attention_layer=node(**parts, _output_dense=joined),
            _attention_layer_norm=norm(f"{at}.attention.output.LayerNorm"),
            _intermediate_dense=dense(f"{at}.intermediate.dense"),
            _output_dense=dense(f"{at}.output.dense"),
            _output_layer_norm=norm(f"{at}.output.LayerNorm"),
        )

    word, position, kind = (
        node(embeddings=state[f"embeddings.{name}_embeddings.weight"]) for name in ("word", "position", "token_type")
    )
    blocks = [block(f"encoder.layer.{index}") for index in range(CONFIG["num_hidden_layers"])]
    layers = [word, position, kind, norm("embeddings.LayerNorm"), *blocks, dense("pooler.dense")]
    if version == 1:
        return node(**{f"layer_with_weights-{index}": layer for index, layer in enumerate(layers)})
    names = ("_embedding_layer", "_position_embedding_layer", "_type_embedding_layer", "_embedding_norm_layer")
    return node(**dict(zip(names, layers)), _transformer_layers=blocks, _pooler_layer=layers[-1])


def write_tf2(folder: Path, model: Any, version: int, root: str, head: bool) -> Path:
    """By `tf.train.Checkpoint`, as the Model Garden saves its encoders, with an optimizer beside it."""
    folder.mkdir(parents=True)
    encoder = garden_encoder(model, version)
    parts: dict[str, Any] = {root: encoder, "optimizer": node(iterations=np.array(3, np.int64))}
    if head:
        state = {name: values.numpy() for name, values in model.state_dict().items()}
        at = "cls.predictions.transform"
        masked_lm = node(
            dense=node(kernel=state[f"{at}.dense.weight"].T, bias=state[f"{at}.dense.bias"]),
            layer_norm=node(gamma=state[f"{at}.LayerNorm.weight"], beta=state[f"{at}.LayerNorm.bias"]),
            bias=state["cls.predictions.bias"],
        )
        # The head has the table too, by a shorter way, by which its values are then named in the file.
        table = encoder._embedding_layer if version == 2 else getattr(encoder, "layer_with_weights-0")
        masked_lm.embedding_table = table.embeddings
        parts["masked_lm"] = masked_lm
    tf.train.Checkpoint(**parts).write(str(folder / "bert_model.ckpt"))
    (folder / "bert_config.json").write_text(json.dumps(CONFIG))
    (folder / "vocab.txt").write_text("\n".join(models.VOCAB) + "\n")
    return folder


def check_outputs(folder: Path, model: BertForPreTraining, head: bool) -> None:
    """Every layer, the pooler and the head, against the weights that were loaded by hand."""
    found_model = tf.saved_model.load(str(folder))
    for batch in inputs_of("bert"):
        expected = hidden_states(model, batch)
        inputs = {name: tf.constant(array) for name, array in batch.items()}
        found = found_model(inputs)
        for layer, wanted in zip(found["encoder_outputs"], expected.hidden_states[1:], strict=True):
            np.testing.assert_allclose(layer.numpy(), wanted.numpy(), rtol=0, atol=1e-5)
        pooled = model.bert.pooler(expected.hidden_states[-1]).detach().numpy()
        np.testing.assert_allclose(found["pooled_output"].numpy(), pooled, rtol=0, atol=1e-5)
        if head:
            positions = tf.zeros([len(batch["input_mask"]), 1], tf.int32)
            logits = found_model.mlm({**inputs, "masked_lm_positions": positions})["mlm_logits"].numpy()
            wanted = expected.prediction_logits[:, :1].numpy()
            np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-4)


def test_tensorflow_1(tmp_path: Path) -> None:
    model = by_hand()
    source = write_tf1(tmp_path / "small_bert", tf1_variables(model))
    conversion = convert(source, tmp_path / "out", export_type="encoder-with-mlm")
    check_outputs(tmp_path / "out", model, head=True)
    assert conversion.manifest["source"] == str(source)
    # Nothing is left of the folder that it was translated into.
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {"README.md", "assets", "assets.extra", "fingerprint.pb", "saved_model.pb", "variables"}
    names = {"bert_config.json", "vocab.txt", "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"}
    assert conversion.manifest["sha256"].keys() == names
    assert conversion.verification["max_abs_difference"] <= 1e-5


@pytest.mark.long
@pytest.mark.parametrize(("version", "root", "head"), [(1, "model", False), (2, "encoder", True)])
def test_model_garden(version: int, root: str, head: bool, tmp_path: Path) -> None:
    model = by_hand()
    source = write_tf2(tmp_path / "source", model, version, root, head)
    convert(source, tmp_path / "out", export_type="encoder-with-mlm" if head else "encoder")
    check_outputs(tmp_path / "out", model, head)


@pytest.mark.long
def test_texts(tmp_path: Path) -> None:
    """As any other model: embeddings and token ids, lower-cased as the vocabulary is, or as asked for."""
    model = by_hand()
    source = write_tf1(tmp_path / "source", tf1_variables(model))
    convert(source, tmp_path / "embedding")
    convert(source, tmp_path / "cased", do_lower_case=False, verify="off")
    texts = ["Hello WORLD", "the world"]
    for folder, lower in (("embedding", True), ("cased", False)):
        found = tf.saved_model.load(str(tmp_path / folder)).signatures["tokenize"](input_sequence=tf.constant(texts))
        expected = BertTokenizer(str(source / "vocab.txt"), do_lower_case=lower)(texts, padding=True)["input_ids"]
        assert found["input_ids"].numpy().tolist() == expected
    cased = write_tf1(tmp_path / "other", tf1_variables(by_hand(vocab_size=len(models.VOCAB) + 1)), [*models.VOCAB, "Hello"])
    (cased / "bert_config.json").write_text(json.dumps({**CONFIG, "vocab_size": len(models.VOCAB) + 1}))
    conversion = convert(cased, tmp_path / "pair", export_type="preprocessing", default_seq_length=9)
    assert conversion.manifest["do_lower_case"] is False


@pytest.mark.long
def test_fine_tuned_classifier(tmp_path: Path) -> None:
    """As google-research/bert's run_classifier.py saves it."""
    model = BertForSequenceClassification(BertConfig(**{**CONFIG, "hidden_act": "gelu_new"}, num_labels=3)).eval()
    models.draw_weights(model, 5)
    variables = {name: array for name, array in tf1_variables(model).items() if not name.startswith("classifier")}
    head = model.classifier.state_dict()
    variables |= {"output_weights": head["weight"].numpy(), "output_bias": head["bias"].numpy()}
    source = write_tf1(tmp_path / "source", variables)
    convert(source, tmp_path / "out", export_type="classifier", sentences=2)
    found = tf.saved_model.load(str(tmp_path / "out"))(tf.constant(["the world"]), tf.constant(["hello"]))
    encoded = BertTokenizer(str(source / "vocab.txt"))("the world", "hello", return_tensors="pt")
    with torch.no_grad():
        np.testing.assert_allclose(found["logits"].numpy(), model(**encoded).logits.numpy(), rtol=0, atol=1e-5)
    assert found["class"].numpy()[0].decode() == f"LABEL_{int(found['class_id'][0])}"


REFUSALS: dict[str, tuple[type[Exception], str, Callable[[Path], Any]]] = {
    "no vocabulary": (InputError, r"vocab\.txt: missing", lambda folder: (folder / "vocab.txt").unlink()),
    "no checkpoint": (InputError, r"there are: none", lambda folder: (folder / "bert_model.ckpt.index").unlink()),
    "two checkpoints": (
        InputError,
        r"there are: bert_model\.ckpt\.index, other\.index",
        lambda folder: (folder / "other.index").write_bytes(b""),
    ),
    "cut off": (
        InputError,
        r"not a checkpoint that TensorFlow can read",
        lambda folder: (folder / "bert_model.ckpt.index").write_bytes((folder / "bert_model.ckpt.index").read_bytes()[:100]),
    ),
    "no data": (
        InputError,
        r"not a checkpoint that TensorFlow can read",
        lambda folder: (folder / "bert_model.ckpt.data-00000-of-00001").unlink(),
    ),
    "link": (
        InputError,
        r"link out of the model's folder",
        lambda folder: (folder / "bert_model.ckpt.index").symlink_to(
            (folder / "bert_model.ckpt.index").rename(folder.parent / "x")
        ),
    ),
    "activation": (
        UnsupportedError,
        r"bert_config\.json: hidden_act = 'swish'",
        lambda folder: models.rewrite(folder / "bert_config.json", hidden_act="swish"),
    ),
    "key": (
        UnsupportedError,
        r"bert_config\.json: net_type = 'albert'",
        lambda folder: models.rewrite(folder / "bert_config.json", net_type="albert"),
    ),
    "factorized": (
        UnsupportedError,
        r"bert_config\.json: embedding_size = 8",
        lambda folder: models.rewrite(folder / "bert_config.json", embedding_size=8),
    ),
    "size": (
        WeightsError,
        r"word_embeddings\.weight has shape",
        lambda folder: models.rewrite(folder / "bert_config.json", vocab_size=len(models.VOCAB) + 1),
    ),
}


@pytest.fixture(scope="module")
def variables() -> dict[str, np.ndarray]:
    return tf1_variables(by_hand())


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str, variables: dict[str, np.ndarray], tmp_path: Path) -> None:
    error, message, harm = REFUSALS[name]
    source = write_tf1(tmp_path / "source", variables)
    harm(source)
    with pytest.raises(error, match=message):
        convert(source, tmp_path / "out", export_type="encoder", verify="off")
    assert not (tmp_path / "out").exists()


def test_other_variables(variables: dict[str, np.ndarray], tmp_path: Path) -> None:
    other = write_tf1(tmp_path / "source", {**variables, "bert/embeddings/more": np.zeros(3, np.float32)})
    with pytest.raises(WeightsError, match="variable bert/embeddings/more has no place in BERT"):
        convert(other, tmp_path / "out", export_type="encoder")
    counted = write_tf1(tmp_path / "counted", {**variables, "bert/pooler/dense/bias": np.zeros(32, np.int32)})
    with pytest.raises(WeightsError, match="bert/pooler/dense/bias is int32, not floating point"):
        convert(counted, tmp_path / "out", export_type="encoder")


GARDEN_HARM: dict[str, tuple[type[Exception], str, Callable[[Any], object]]] = {
    "part": (WeightsError, "an object _pooler_layer is missing", lambda encoder: delattr(encoder, "_pooler_layer")),
    "projection": (
        UnsupportedError,
        "embedding_size",
        lambda encoder: setattr(encoder, "_embedding_projection", node(kernel=np.zeros([2, 2], np.float32))),
    ),
    "layers": (WeightsError, "has 2 layers, not 3", lambda encoder: encoder._transformer_layers.pop()),
    "more": (
        WeightsError,
        "variable encoder/extra/.* has no place in BERT",
        lambda encoder: setattr(encoder, "extra", tf.Variable(1.0)),
    ),
}


@pytest.mark.parametrize("name", GARDEN_HARM)
def test_other_encoders(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error, message, harm = GARDEN_HARM[name]
    made = garden_encoder

    def harmed(model: Any, version: int) -> tf.train.Checkpoint:
        encoder = made(model, version)
        if name == "layers":
            encoder._transformer_layers = list(encoder._transformer_layers)[:2]
        else:
            harm(encoder)
        return encoder

    monkeypatch.setattr("tests.hub.test_google.garden_encoder", harmed)
    source = write_tf2(tmp_path / "source", by_hand(), 2, "encoder", head=False)
    with pytest.raises(error, match=message):
        convert(source, tmp_path / "out", export_type="encoder", verify="off")


def test_no_encoder_in_it(tmp_path: Path) -> None:
    source = write_tf2(tmp_path / "source", by_hand(), 2, "something", head=False)
    with pytest.raises(WeightsError, match="neither of encoder, model is in the checkpoint; it has"):
        convert(source, tmp_path / "out", export_type="encoder")


def test_lower_case_of_other_models(tmp_path: Path) -> None:
    source = models.write_transformer(tmp_path / "source", "bert")
    with pytest.raises(UsageError, match="--do-lower-case: only for preprocessing, encoders and Google's checkpoints"):
        convert(source, tmp_path / "out", do_lower_case=True)
