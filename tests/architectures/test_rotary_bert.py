"""NomicBERT, GTE and Jina embeddings v3: tensor names, head sizes, rotary positions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import transformers

from fixtures import models
from fixtures.models import rewrite
from tests.support.helpers import build, difference
from tf_exporter.errors import WeightsError

pytestmark = pytest.mark.slow


ATOL = 1e-5
TEXTS = models.texts(0, 64)


@pytest.mark.parametrize(
    ("outside", "parameters"),
    [
        (7.0, {"rope_type": "default", "rope_theta": 30.0}),
        (7.0, {"rope_type": "default"}),
        (7, None),
    ],
)
def test_which_theta_counts(
    tmp_path: Path, outside: float, parameters: dict[str, Any] | None
) -> None:
    """A theta inside `rope_parameters` overrides one outside, as in transformers."""
    folder = models.write_model(tmp_path / "model", "gte", seed=3)
    rewrite(folder / "config.json", rope_theta=outside, rope_parameters=parameters)
    assert difference(folder, TEXTS[:20]) <= ATOL


def test_heads_of_another_size_than_the_weights(tmp_path: Path) -> None:
    folder = models.write_model(tmp_path / "model", "gte")
    rewrite(folder / "config.json", head_dim=34)
    with pytest.raises(WeightsError, match="qkv_proj"):
        build(folder)


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("head", ["ForMaskedLM", "ForSequenceClassification"])
@pytest.mark.parametrize("name", ["NomicBert", "Gte", "JinaEmbeddingsV3"])
def test_names_of_tensors(tmp_path: Path, name: str, head: str, published: bool) -> None:
    """The tensor names of published checkpoints and of transformers, after the prefix of a head."""
    model_type = re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower()
    folder = models.write_model(tmp_path / "model", model_type)
    model = getattr(transformers, name + head).from_pretrained(folder)
    models.draw_weights(model, 5)
    model.save_pretrained(folder, save_original_format=published)
    assert difference(folder, TEXTS[:20]) <= ATOL
