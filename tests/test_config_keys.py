"""Every key of every architecture's config: what it changes, what it is without it, and which values are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from fixtures import models
from fixtures.models import rewrite
from tests.config_keys import CHANGES, REFUSED
from tests.helpers import build, difference
from tests.test_parity import ATOL, TEXTS
from tf_exporter.architectures.config import key_fields
from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.errors import UnsupportedError


def listed(changes: dict[str, list[dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    return [(model_type, each) for model_type, all_ in changes.items() for each in all_]


@pytest.mark.architectures
@pytest.mark.parametrize(("model_type", "changes"), listed(CHANGES), ids=str)
def test_config_keys(tmp_path: Path, model_type: str, changes: dict[str, Any]) -> None:
    folder = models.write_model(tmp_path / "model", model_type, seed=3, **changes)
    assert difference(folder, TEXTS) <= ATOL


VERIFIED = {name: architecture for name, architecture in ARCHITECTURES.items() if architecture.verified}
SIZES = {"vocab_size", "hidden_size", "dim", "d_model", "max_position_embeddings"}


def test_every_key_is_varied() -> None:
    for model_type, architecture in VERIFIED.items():
        varied = {key for changes in CHANGES[model_type] for key in changes}
        assert {field.name for field in key_fields(architecture.config)} - SIZES <= varied, model_type


@pytest.mark.long
@pytest.mark.parametrize(("model_type", "changes"), listed(REFUSED), ids=str)
def test_refused_config(tmp_path: Path, model_type: str, changes: dict[str, Any]) -> None:
    folder = models.write_model(tmp_path / "model", model_type)
    rewrite(folder / "config.json", **changes)
    with pytest.raises(UnsupportedError, match="rope_" if "rope_scaling" in changes else next(iter(changes))):
        build(folder)


def test_config_aliases(tmp_path: Path) -> None:
    """DistilBERT's sizes under BERT's names, as transformers takes them too."""
    folder = models.write_model(tmp_path / "model", "distilbert")
    config = json.loads((folder / "config.json").read_text())
    config.update(hidden_size=config.pop("dim"), num_attention_heads=config.pop("n_heads"))
    (folder / "config.json").write_text(json.dumps(config))
    assert difference(folder, TEXTS) <= ATOL


IN_THE_MODEL = {"deberta-v2": {"position_buckets", "share_att_key", "conv_kernel_size", "conv_groups", "conv_act"}}
"""Keys that the config class does not know: the model asks for them, with defaults of its own."""


def test_config_defaults() -> None:
    """A key that is absent has the value the installed transformers gives it."""
    for model_type, architecture in VERIFIED.items():
        theirs = AutoConfig.for_model(model_type)
        for field in key_fields(architecture.config):
            if field.name in IN_THE_MODEL.get(model_type, ()):
                assert not hasattr(theirs, field.name)
                continue
            assert getattr(theirs, field.name) == field.default, (model_type, field.name)
