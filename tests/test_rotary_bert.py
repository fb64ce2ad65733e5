"""What NomicBERT, GTE and Jina's third embeddings share: names of tensors, sizes of heads, rotary positions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import transformers

from fixtures import models
from tests.helpers import build, difference
from tests.refusals import edit
from tf_exporter.errors import UnsupportedError, WeightsError

pytestmark = pytest.mark.long


ATOL = 1e-5
TEXTS = models.texts(0, 64)

CONFIG_CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("nomic_bert", {"layer_norm_eps": 0.2, "hidden_act": "gelu", "type_vocab_size": 1}),
    ("nomic_bert", {"num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 20, "rope_theta": 20}),
    (
        "nomic_bert",
        {"head_dim": 6, "num_attention_heads": 5, "rope_parameters": {"rope_type": "default", "rope_theta": 9.0}},
    ),
    ("gte", {"layer_norm_eps": 0.2, "hidden_act": "silu", "type_vocab_size": 0}),
    (
        "gte",
        {
            "num_attention_heads": 8,
            "intermediate_size": 20,
            "rope_theta": 30.0,
            "rope_scaling": {"type": "linear", "factor": 4},
        },
    ),
    (
        "gte",
        {"head_dim": 10, "type_vocab_size": 2, "rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 50}},
    ),
    ("jina_embeddings_v3", {"layer_norm_eps": 0.2, "hidden_act": "relu", "type_vocab_size": 2}),
    ("jina_embeddings_v3", {"num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 20, "rope_theta": 20}),
    ("jina_embeddings_v3", {"head_dim": 2, "num_attention_heads": 3, "rope_scaling": {"rope_type": "linear", "factor": 0.5}}),
]


@pytest.mark.parametrize(("model_type", "changes"), CONFIG_CHANGES, ids=str)
def test_config_keys(tmp_path: Path, model_type: str, changes: dict[str, Any]) -> None:
    folder = models.write_model(tmp_path / "model", model_type, seed=3, **changes)
    assert difference(folder, TEXTS) <= ATOL


@pytest.mark.parametrize(
    ("outside", "parameters"), [(7.0, {"rope_type": "default", "rope_theta": 30.0}), (7.0, {"rope_type": "default"}), (7, None)]
)
def test_which_theta_counts(tmp_path: Path, outside: float, parameters: dict[str, Any] | None) -> None:
    """One inside `rope_parameters` goes before one outside, in a file as in transformers."""
    folder = models.write_model(tmp_path / "model", "gte", seed=3)
    edit(folder / "config.json", rope_theta=outside, rope_parameters=parameters)
    assert difference(folder, TEXTS[:20]) <= ATOL


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("nomic_bert", {"rope_theta": 0, "rope_parameters": None}),
    ("nomic_bert", {"head_dim": 7}),
    ("gte", {"rope_scaling": {"type": "linear", "factor": -1}, "rope_parameters": None}),
    ("gte", {"rope_scaling": {"type": "ntk", "factor": 2}, "rope_parameters": None}),
    ("gte", {"rope_scaling": {"type": "linear", "factor": 2, "beta_fast": 3}, "rope_parameters": None}),
    ("jina_embeddings_v3", {"rope_scaling": {"type": "linear", "factor": 2}}),
    ("jina_embeddings_v3", {"partial_rotary_factor": 0.5}),
]


@pytest.mark.parametrize(("model_type", "changes"), REFUSED, ids=str)
def test_refused(tmp_path: Path, model_type: str, changes: dict[str, Any]) -> None:
    folder = models.write_model(tmp_path / "model", model_type)
    edit(folder / "config.json", **changes)
    with pytest.raises(UnsupportedError, match=next(iter(changes))):
        build(folder)


@pytest.mark.parametrize("size", [10**12, 34])
def test_heads_of_another_size_than_the_weights(tmp_path: Path, size: int) -> None:
    folder = models.write_model(tmp_path / "model", "gte")
    edit(folder / "config.json", head_dim=size)
    with pytest.raises(WeightsError, match="qkv_proj"):
        build(folder)


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("head", ["ForMaskedLM", "ForSequenceClassification"])
@pytest.mark.parametrize("name", ["NomicBert", "Gte", "JinaEmbeddingsV3"])
def test_names_of_tensors(tmp_path: Path, name: str, head: str, published: bool) -> None:
    """transformers writes those of the published checkpoints, and its own where asked to, behind the prefix of a head."""
    model_type = re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower()
    folder = models.write_model(tmp_path / "model", model_type)
    model = getattr(transformers, name + head).from_pretrained(folder)
    models.draw_weights(model, 5)
    model.save_pretrained(folder, save_original_format=published)
    assert difference(folder, TEXTS[:20]) <= ATOL
