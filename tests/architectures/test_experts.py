"""NomicBERT with experts, compared with a plain torch implementation, and the routing by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fixtures import models
from fixtures.nomic_bert_moe import embeddings, write_nomic_bert_moe
from tests.support.helpers import build, embed
from tests.support.tensorflow_2_12 import unknown_in
from tf_exporter import convert
from tf_exporter.errors import WeightsError
from tf_exporter.graph.precision import reduce_precision
from tf_exporter.layers.experts import Experts
from tf_exporter.model.weights import Weights

ATOL = 1e-5
TEXTS = models.texts(0, 40)
FEATURES, INNER, COUNT = 6, 5, 4

CHANGES: list[dict[str, Any]] = [
    {},
    {"moe_top_k": 1, "type_vocab_size": 2},
    {"moe_top_k": 3, "num_experts": 3, "n_inner": 20},
    {"moe_every_n_layers": 3, "n_layer": 6, "n_head": 2, "rotary_emb_base": 9.0},
    {"layer_norm_epsilon": 0.1, "type_vocab_size": 0, "num_experts": 1, "moe_top_k": 1},
    {"n_layer": 1, "pad_vocab_size_multiple": 64},
]


def experts(chosen: int, **tensors: np.ndarray) -> Experts:
    """A layer of random experts; `tensors` replaces some of their tensors."""
    random_ = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return random_.standard_normal(shape).astype(np.float32)

    values = {
        "mlp.router.layer.weight": draw(COUNT, FEATURES),
        "mlp.experts.mlp.w1": draw(COUNT * INNER, FEATURES),
        "mlp.experts.mlp.w2": draw(COUNT * INNER, FEATURES),
        "mlp.experts.bias": draw(FEATURES),
        **tensors,
    }
    weights = Weights.of_arrays("weights", values)
    return Experts(weights, "mlp", FEATURES, INNER, (COUNT, chosen), tf.nn.relu)


@pytest.mark.slow
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_published_config(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = write_nomic_bert_moe(tmp_path / "model", **changes)
    expected = embeddings(folder, TEXTS, max_length=32).numpy()
    encoder = build(folder)
    for size in (32, 1):
        assert np.abs(embed(encoder, TEXTS, batch_size=size) - expected).max() <= ATOL


@pytest.mark.slow
def test_it_is_not_verified(tmp_path: Path) -> None:
    """The embeddings are reported as not verified; the token ids are verified."""
    conversion = convert(write_nomic_bert_moe(tmp_path / "model"), tmp_path / "out")
    assert conversion.verification["token_texts"] > 0
    assert conversion.verification["embedding_texts"] == 0
    assert conversion.summary[1].startswith("Not verified: embeddings: transformers has no class")
    assert conversion.manifest["model_type"] == "nomic_bert_moe"


@pytest.mark.slow
def test_a_router_of_another_size_than_the_weights(tmp_path: Path) -> None:
    folder = write_nomic_bert_moe(tmp_path / "model")
    models.rewrite(folder / "config.json", num_experts=9)
    with pytest.raises(WeightsError, match="router"):
        build(folder)


@pytest.mark.parametrize("chosen", [1, 2, COUNT])
def test_only_chosen_rows_are_computed(chosen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that all experts compute together are rows × chosen experts."""
    layer = experts(chosen)
    computed: list[int] = []

    def counting(expert: Any) -> Any:
        def counted(x: tf.Tensor) -> tf.Tensor:
            computed.append(int(tf.shape(x)[0]))
            return expert(x)

        return counted

    monkeypatch.setattr(layer, "experts", [counting(expert) for expert in layer.experts])
    rows = tf.random.stateless_normal([7, FEATURES], [1, 2])
    assert layer(rows).shape == (7, FEATURES)
    assert len(computed) == COUNT
    assert sum(computed) == 7 * chosen


def test_weights_of_the_chosen_experts_do_not_add_up_to_one() -> None:
    """As published: each weight is the probability among all experts."""
    ones = np.ones((COUNT * INNER, FEATURES), np.float32)
    layer = experts(
        2,
        **{
            "mlp.router.layer.weight": np.zeros((COUNT, FEATURES), np.float32),
            "mlp.experts.mlp.w1": ones,
            "mlp.experts.mlp.w2": ones,
            "mlp.experts.bias": np.zeros(FEATURES, np.float32),
        },
    )
    result = layer(tf.ones([1, FEATURES])).numpy()
    np.testing.assert_allclose(result, np.full((1, FEATURES), 0.5 * FEATURES * INNER), rtol=1e-6)


def test_the_router_keeps_its_precision() -> None:
    """Another choice of experts would change an embedding by more than rounding does."""
    layer = experts(2)
    reduce_precision(layer, "bfloat16")
    assert layer.router.dtype == tf.float32
    assert {expert.up.weight.dtype for expert in layer.experts} == {tf.bfloat16}


def test_no_rows_and_old_ops() -> None:
    """An empty batch, and experts that no row chose; TensorFlow 2.12 knows all ops."""
    layer = experts(2)
    traced = tf.function(layer.__call__, input_signature=[tf.TensorSpec([None, FEATURES])])
    assert traced(tf.zeros([0, FEATURES])).shape == (0, FEATURES)
    assert traced(tf.ones([1, FEATURES])).shape == (1, FEATURES)
    assert unknown_in(traced) == set()
