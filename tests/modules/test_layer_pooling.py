"""WeightedLayerPooling on encoders that output all their layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers.sentence_transformer.modules import WeightedLayerPooling

from fixtures import models
from fixtures.heads import write_sparse_encoder
from fixtures.models import CONFIGS, Pooling, rewrite
from tests.support.helpers import LEAKING, build
from tests.support.refusals import refused
from tests.support.words import ATOL, word_difference
from tf_exporter import UnsupportedError
from tf_exporter.architectures.registry import VERIFIED
from tf_exporter.errors import WeightsError

pytestmark = pytest.mark.slow


def test_weighted_layer_pooling(tmp_path: Path) -> None:
    """The reference skips the module if the encoder outputs its last layer only."""
    folder = models.write_model(
        tmp_path / "model", heads=[WeightedLayerPooling(32, 3, 1), Pooling(32, "mean")]
    )
    assert word_difference(folder) <= ATOL


@pytest.mark.parametrize(
    "model_type", [name for name in VERIFIED if name != "embedding_gemma2_text"]
)
@pytest.mark.parametrize("start", [0, 2])
def test_weighted_layers(tmp_path: Path, model_type: str, start: int) -> None:
    """An encoder that outputs all its layers; EmbeddingGemma 2 is refused then."""
    layers = CONFIGS[model_type]().num_hidden_layers
    heads = [WeightedLayerPooling(32, layers, start), Pooling(32, ["cls", "mean", "max"])]
    folder = models.write_model(
        tmp_path / "model", model_type, heads=heads, output_hidden_states=True
    )
    assert json.loads((folder / "config.json").read_text())["output_hidden_states"] is True
    assert word_difference(folder, leaks=model_type in LEAKING) <= ATOL
    rewrite(folder / "1_WeightedLayerPooling/config.json", num_hidden_layers=layers + 1)
    refused(folder, UnsupportedError, "1_WeightedLayerPooling/config.json", "num_hidden_layers")


def test_layers_that_no_module_uses(tmp_path: Path) -> None:
    """The reference outputs all layers, but no module uses them."""
    build(models.write_model(tmp_path / "modernbert", "modernbert", output_hidden_states=True))
    build(write_sparse_encoder(tmp_path / "masked", output_hidden_states=True))


@pytest.mark.parametrize(
    "changes",
    [{"layer_start": -1}, {"layer_start": 5}, {"more": 1}, {"num_hidden_layers": 4}],
    ids=str,
)
def test_refusals_of_weighted_layer_pooling(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = models.write_model(
        tmp_path / "model", heads=[WeightedLayerPooling(32, 3, 1), Pooling(32, "mean")]
    )
    rewrite(folder / "1_WeightedLayerPooling/config.json", **changes)
    if "num_hidden_layers" in changes:
        refused(folder, WeightsError, "layer_weights")
    else:
        refused(folder, UnsupportedError, "1_WeightedLayerPooling/config.json", *changes)
