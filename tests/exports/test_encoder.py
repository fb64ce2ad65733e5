"""`--export-type encoder` and `encoder-with-mlm`: TensorFlow Hub's API, as in transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from transformers import AutoModel, AutoModelForMaskedLM

from fixtures import heads, models
from fixtures.models import rewrite
from tests.support.tensorflow_2_12 import unknown_saved
from tf_exporter import InputError, UnsupportedError, UsageError, VerificationError, convert
from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.graph import encoder
from tf_exporter.heads.pooler import Pooler
from tf_exporter.layers import attention
from tf_exporter.modules.trainable import TRAINABLE
from tf_exporter.verification.encoder import sample_inputs

HAVE_POOLERS = [name for name in TRAINABLE if ARCHITECTURES[name].pooler]
QUICK = ("bert",)


def architectures(names: list[str]) -> list[Any]:
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names]


def inputs_of(model_type: str) -> list[dict[str, np.ndarray]]:
    config = models.CONFIGS[model_type]()
    types = 0 if model_type in ("distilbert", "mpnet") else 1
    types = 2 if model_type in ("bert", "albert", "electra", "ernie") else types
    return sample_inputs(config.vocab_size, types, 40, None, None, 10**6)


def hidden_states(model: Any, batch: dict[str, np.ndarray]) -> Any:
    named = {
        "input_ids": "input_word_ids",
        "attention_mask": "input_mask",
        "token_type_ids": "input_type_ids",
    }
    keys = [key for key in named if key != "token_type_ids" or batch["input_type_ids"].any()]
    with torch.no_grad():
        return model(
            **{key: torch.tensor(batch[named[key]]).long() for key in keys},
            output_hidden_states=True,
        )


@pytest.mark.parametrize("model_type", architectures(list(TRAINABLE)))
def test_outputs(model_type: str, tmp_path: Path) -> None:
    """The layers' outputs and the pooled output, compared with transformers in this process."""
    source = models.write_transformer(tmp_path / "source", model_type)
    pooler = "checkpoint" if model_type in HAVE_POOLERS else "identity"
    convert(source, tmp_path / "out", export_type="encoder", pooler=pooler)
    exported = tf.saved_model.load(str(tmp_path / "out"))
    model = AutoModel.from_pretrained(source).eval()
    for batch in inputs_of(model_type):
        expected = hidden_states(model, batch)
        result = exported({name: tf.constant(array) for name, array in batch.items()})
        assert result.keys() == {"pooled_output", "default", "sequence_output", "encoder_outputs"}
        assert len(result["encoder_outputs"]) == len(expected.hidden_states) - 1
        for layer, expected_layer in zip(result["encoder_outputs"], expected.hidden_states[1:]):
            np.testing.assert_allclose(layer.numpy(), expected_layer.numpy(), rtol=0, atol=1e-5)
        last = expected.hidden_states[-1]
        np.testing.assert_allclose(
            result["sequence_output"].numpy(), last.numpy(), rtol=0, atol=1e-5
        )
        pooled = expected.pooler_output if pooler == "checkpoint" else last[:, 0]
        for name in ("pooled_output", "default"):
            np.testing.assert_allclose(result[name].numpy(), pooled.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("model_type", architectures(list(TRAINABLE)))
def test_masked_lm(model_type: str, tmp_path: Path) -> None:
    source = heads.write_plain_head(tmp_path / "source", model_type, AutoModelForMaskedLM)
    convert(source, tmp_path / "out", export_type="encoder-with-mlm", pooler="random", verify="off")
    exported = tf.saved_model.load(str(tmp_path / "out"))
    model = AutoModelForMaskedLM.from_pretrained(source).eval()
    for batch in inputs_of(model_type):
        expected = hidden_states(model, batch).logits.numpy()
        rows, length = batch["input_mask"].shape
        positions = np.stack([np.arange(7) % length] * rows).astype(np.int32)
        inputs = {
            name: tf.constant(array)
            for name, array in {**batch, "masked_lm_positions": positions}.items()
        }
        result = exported.mlm(inputs)
        assert result.keys() == {
            "pooled_output",
            "default",
            "sequence_output",
            "encoder_outputs",
            "mlm_logits",
        }
        np.testing.assert_allclose(
            result["mlm_logits"].numpy(), expected[:, np.arange(7) % length], rtol=0, atol=1e-4
        )
    with pytest.raises(tf.errors.InvalidArgumentError, match="masked_lm_positions must be below"):
        exported.mlm({**inputs, "masked_lm_positions": tf.constant(positions + length)})
    with pytest.raises(tf.errors.InvalidArgumentError, match="masked_lm_positions must be below"):
        exported.mlm({**inputs, "masked_lm_positions": tf.constant(-positions - 1)})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A loaded BERT encoder with a pooler and a masked language model head."""
    place = tmp_path_factory.mktemp("encoder")
    source = heads.write_plain_head(place / "source", "bert", AutoModelForMaskedLM)
    convert(source, place / "out", export_type="encoder-with-mlm", pooler="random", verify="off")
    assert not unknown_saved(place / "out")
    return tf.saved_model.load(str(place / "out"))


def a_batch() -> dict[str, tf.Tensor]:
    return {name: tf.constant(array) for name, array in inputs_of("bert")[1].items()}


def test_attributes(trained: Any) -> None:
    """The attributes that TensorFlow Hub's Keras layer and older code read."""
    lines = Path(trained.vocab_file.asset_path.numpy().decode()).read_text().splitlines()
    assert lines == models.VOCAB
    assert trained.do_lower_case.numpy() == np.True_
    assert list(trained.regularization_losses) == []
    # Three tables and a norm; 2 norms and 4 products in each of three layers; the pooler.
    assert (
        len(trained.trainable_variables)
        == len(trained.variables)
        == 3 + 2 + 3 * (2 * 2 + 4 * 2) + 2
    )
    # One more product, norm and bias; the head's matrix is the word embeddings.
    assert len(trained.mlm.trainable_variables) == len(trained.variables) + 2 + 2 + 1
    assert all(variable.trainable for variable in trained.mlm.variables)


def test_every_variable_has_a_gradient(trained: Any) -> None:
    inputs = {
        **a_batch(),
        "masked_lm_positions": tf.constant([[0, 1]] * a_batch()["input_mask"].shape[0]),
    }
    with tf.GradientTape() as tape:
        result = trained.mlm(inputs, training=True)
        loss = tf.reduce_sum(result["mlm_logits"] ** 2) + tf.reduce_sum(
            result["pooled_output"] ** 2
        )
    for variable, gradient in zip(
        trained.mlm.variables, tape.gradient(loss, list(trained.mlm.variables))
    ):
        assert gradient is not None and float(tf.norm(tf.convert_to_tensor(gradient))) > 0, (
            variable.name
        )


def test_dropout(trained: Any) -> None:
    """Dropout is active in training only."""
    batch = a_batch()
    once, again = (trained(batch)["sequence_output"].numpy() for _ in range(2))
    np.testing.assert_array_equal(once, again)
    drops = [trained(batch, training=True)["sequence_output"].numpy() for _ in range(2)]
    assert np.abs(drops[0] - drops[1]).max() > 0.1 and np.abs(drops[0] - once).max() > 0.1


@pytest.mark.slow
def test_dropout_rates(tmp_path: Path) -> None:
    """Rates of 0 switch dropout off."""
    source = models.write_transformer(
        tmp_path / "source", "bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    convert(source, tmp_path / "out", export_type="encoder", verify="off")
    model = tf.saved_model.load(str(tmp_path / "out"))
    one, other = (
        model(a_batch(), training=flag)["sequence_output"].numpy() for flag in (False, True)
    )
    np.testing.assert_array_equal(one, other)
    rewrite(source / "config.json", attention_probs_dropout_prob=1.0)
    with pytest.raises(UnsupportedError, match=r"attention_probs_dropout_prob = 1\.0"):
        convert(source, tmp_path / "other", export_type="encoder", verify="off")


def test_batches_fit_into_memory() -> None:
    """Fewer batches of a large fixed shape; without a fixed number, one is padded in any case."""

    def shapes(batch: int | None, length: int | None, most_tokens: int) -> list[tuple[int, ...]]:
        batches = sample_inputs(100, 2, 512, batch, length, most_tokens)
        return [batch["input_word_ids"].shape for batch in batches]

    assert shapes(64, 512, 10**6) == [(64, 512)] * 4
    assert shapes(64, 512, 70_000) == [(64, 512)] * 2
    assert shapes(64, 512, 1000) == [(64, 512)]
    assert [rows for rows, _ in shapes(None, None, 10)] == [1, 4]
    assert [rows for rows, _ in shapes(None, None, 10**6)] == [1, 4, 1, 4]


def test_positions_are_checked(trained: Any) -> None:
    long = {name: tf.zeros([1, 49], tf.int32) for name in a_batch()}
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 48 tokens per text"):
        trained(long)


def test_signatures(trained: Any) -> None:
    result = trained.signatures["serving_default"](**a_batch())
    assert result.keys() == {"pooled_output", "default", "sequence_output"}
    np.testing.assert_allclose(
        result["default"].numpy(), trained(a_batch())["default"].numpy(), rtol=0, atol=1e-6
    )


@pytest.mark.slow
def test_fixed_shapes(tmp_path: Path) -> None:
    """All shapes are static, so that XLA compiles it; the word table is placed on the CPU."""
    source = models.write_transformer(tmp_path / "source", "bert")
    options: dict[str, Any] = {"batch_size": 4, "sequence_length": 16, "embeddings_on_cpu": True}
    convert(source, tmp_path / "out", export_type="encoder", **options)
    model = tf.saved_model.load(str(tmp_path / "out"))
    shapes = model.signatures["serving_default"].structured_outputs
    assert (shapes["sequence_output"].shape, shapes["default"].shape) == ([4, 16, 32], [4, 32])
    inputs = {name: tf.ones([4, 16], tf.int32) for name in a_batch()}
    compiled = tf.function(lambda batch: model(batch)["sequence_output"], jit_compile=True)
    np.testing.assert_allclose(
        compiled(inputs).numpy(), model(inputs)["sequence_output"].numpy(), rtol=0, atol=1e-5
    )
    placed = devices(tmp_path / "out")
    assert placed["VarHandleOp"] == ["/device:CPU:0"] and placed["ResourceGather"]
    with pytest.raises(UsageError, match="--sequence-length 49: more than the 48 positions"):
        convert(source, tmp_path / "other", export_type="encoder", sequence_length=49)


def devices(folder: Path) -> dict[str, list[str]]:
    """The devices of a SavedModel's variables and lookups that name one."""
    from tensorflow.core.protobuf import saved_model_pb2

    [meta_graph] = saved_model_pb2.SavedModel.FromString(
        (folder / "saved_model.pb").read_bytes()
    ).meta_graphs
    nodes = [
        *meta_graph.graph_def.node,
        *(node for f in meta_graph.graph_def.library.function for node in f.node_def),
    ]
    placements: dict[str, list[str]] = {"VarHandleOp": [], "ResourceGather": []}
    for node in nodes:
        if node.op in placements and node.device:
            placements[node.op].append(node.device)
    return placements


def test_refusals(tmp_path: Path) -> None:
    bert = models.write_transformer(tmp_path / "bert", "bert")
    out = tmp_path / "out"
    with pytest.raises(
        UnsupportedError, match=r"--export-type = 'encoder-with-mlm'.*no masked language model head"
    ):
        convert(bert, out, export_type="encoder-with-mlm")
    electra = models.write_transformer(tmp_path / "electra", "electra")
    with pytest.raises(
        UnsupportedError,
        match=r"--pooler = 'checkpoint' is not supported .supported: identity or random",
    ):
        convert(electra, out, export_type="encoder")
    with pytest.raises(UnsupportedError, match=r"no masked language model head .*generator"):
        convert(electra, out, export_type="encoder-with-mlm", pooler="identity")
    with pytest.raises(UnsupportedError, match="model_type = 'mobilebert'"):
        convert(
            models.write_transformer(tmp_path / "mobilebert", "mobilebert"),
            out,
            export_type="encoder",
        )
    with pytest.raises(UsageError, match="--serving: only for"):
        convert(bert, out, export_type="encoder", serving="triton")
    assert not out.exists()


def test_without_a_tokenizer(tmp_path: Path) -> None:
    bert = models.write_transformer(tmp_path / "bert", "bert")
    (bert / "tokenizer.json").unlink()
    for kind in ("encoder", "preprocessing"):
        with pytest.raises(
            InputError, match=r"no tokenizer; one of tokenizer\.json, vocab\.txt, .*spiece\.model"
        ):
            convert(bert, tmp_path / "out", export_type=kind)


MUTATIONS = {
    "pooled": (
        "pooled_output: the output differs",
        Pooler,
        "__call__",
        lambda self, tokens: tf.tanh(self.dense(tokens[:, -1])),
    ),
    "layers": (
        "encoder_outputs: the output differs",
        attention.PostNormLayer,
        "__call__",
        lambda self, x, bias, batch, length, angles=None: self.output_norm(
            self.ffn(
                y := self.attention_norm(self.attention(x, bias * 0, batch, length, angles) + x)
            )
            + y
        ),
    ),
    "positions": (
        "mlm_logits: the output differs",
        encoder,
        "_checked_positions",
        lambda positions, length: positions * 0,
    ),
}


@pytest.mark.parametrize(
    "name",
    ["pooled", *(pytest.param(name, marks=pytest.mark.slow) for name in ("layers", "positions"))],
)
def test_a_wrong_encoder_is_caught(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message, owner, attribute, wrong = MUTATIONS[name]
    monkeypatch.setattr(owner, attribute, wrong)
    if name == "positions":
        source = heads.write_plain_head(tmp_path / "source", "bert", AutoModelForMaskedLM)
    else:
        source = models.write_transformer(tmp_path / "source", "bert")
    kind, pooler = (
        ("encoder-with-mlm", "identity") if name == "positions" else ("encoder", "checkpoint")
    )
    with pytest.raises(VerificationError, match=message):
        convert(source, tmp_path / "out", export_type=kind, pooler=pooler)
    assert not (tmp_path / "out").exists()


def test_wrong_rates_are_not_read_twice() -> None:
    """Every architecture's config has its two dropout keys."""
    for name in TRAINABLE:
        config = models.CONFIGS[name]().to_dict()
        dropout = ARCHITECTURES[name].dropout
        assert dropout is not None
        assert [config[key] for key in (dropout.hidden, dropout.attention)] == [
            dropout.default
        ] * 2, name
