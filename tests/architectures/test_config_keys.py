"""Every config key of every architecture: its effect, its default, and its refused values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from fixtures import models
from fixtures.architectures import CASES
from fixtures.models import rewrite
from tests.support.helpers import build, difference
from tests.test_parity import ATOL, TEXTS
from tf_exporter.architectures.encoder_config import key_fields
from tf_exporter.architectures.registry import ARCHITECTURES, VERIFIED
from tf_exporter.errors import UnsupportedError

CHANGES = [(name, changes) for name, case in CASES.items() for changes in case.changes]
REFUSED = [(name, changes) for name, case in CASES.items() for changes in case.refused]


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "changes"), CHANGES, ids=str)
def test_config_keys(tmp_path: Path, model_type: str, changes: dict[str, Any]) -> None:
    folder = models.write_model(tmp_path / "model", model_type, seed=3, **changes)
    assert difference(folder, TEXTS) <= ATOL


SIZES = {"vocab_size", "hidden_size", "dim", "d_model", "max_position_embeddings"}


def test_every_key_is_varied() -> None:
    for model_type in VERIFIED:
        architecture = ARCHITECTURES[model_type]
        varied = {key for changes in CASES[model_type].changes for key in changes}
        assert {field.name for field in key_fields(architecture.config)} - SIZES <= varied, (
            model_type
        )


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "changes"), REFUSED, ids=str)
def test_refused_config(tmp_path: Path, model_type: str, changes: dict[str, Any]) -> None:
    folder = models.write_model(tmp_path / "model", model_type)
    rewrite(folder / "config.json", **changes)
    with pytest.raises(
        UnsupportedError, match="rope_" if "rope_scaling" in changes else next(iter(changes))
    ):
        build(folder)


def test_config_aliases(tmp_path: Path) -> None:
    """transformers reads DistilBERT's sizes under BERT's names too."""
    folder = models.write_model(tmp_path / "model", "distilbert")
    config = json.loads((folder / "config.json").read_text())
    config.update(hidden_size=config.pop("dim"), num_attention_heads=config.pop("n_heads"))
    (folder / "config.json").write_text(json.dumps(config))
    assert difference(folder, TEXTS) <= ATOL


def test_config_defaults() -> None:
    """A key that is absent has the default of the installed transformers."""
    for model_type in VERIFIED:
        architecture = ARCHITECTURES[model_type]
        theirs = AutoConfig.for_model(model_type)
        for field in key_fields(architecture.config):
            if field.name in CASES[model_type].in_the_model:
                assert not hasattr(theirs, field.name)
                continue
            assert getattr(theirs, field.name) == field.default, (model_type, field.name)
