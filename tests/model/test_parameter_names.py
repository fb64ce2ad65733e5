"""Unused tensors: those that the reference leaves out too, and those that it would load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tf_exporter import WeightsError, convert
from tf_exporter.model.reference import parameter_names as names
from tf_exporter.model.reference.parameter_names import with_a_place
from tf_exporter.model.weights import Weights

LEFT_OUT = [
    "linear.weight",
    "mlp.dense.weight",
    "lm_head.bias",
    "encoder.layer.7.output.dense.weight",
]
"""A projection of ColBERT, a layer of SimCSE, a head, and a layer beyond the config's number."""


def add_tensors(folder: Path, extra: list[str]) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, **{name: torch.zeros(3) for name in extra}}, path)


@pytest.mark.slow
def test_what_the_reference_leaves_out_is_listed(model: Path, tmp_path: Path) -> None:
    add_tensors(model, LEFT_OUT)
    conversion = convert(model, tmp_path / "out")
    assert sorted(conversion.manifest["ignored"]["model.safetensors"]) == sorted(LEFT_OUT)
    assert any("mlp.dense.weight" in line for line in conversion.summary)


def test_what_the_reference_would_load_has_to_be_taken(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    places = with_a_place(config, "feature-extraction", ["embeddings.LayerNorm.weight"])
    assert places([*LEFT_OUT, "pooler.dense.weight"]) == ["pooler.dense.weight"]
    weights = Weights("model.safetensors", {"pooler.dense.weight": lambda: torch.zeros(1).numpy()})
    with pytest.raises(WeightsError, match=r"pooler\.dense\.weight"):
        weights.finish((), places)


def test_heads_have_places_of_their_own(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    places = with_a_place(config, "sequence-classification", [])
    assert places(["classifier.weight", "linear.weight"]) == ["classifier.weight"]


def test_without_torch(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch, the first part of a tensor's name decides."""
    monkeypatch.setattr(names, "missing_packages", lambda needed: needed)
    places = with_a_place(
        {"model_type": "bert"}, "feature-extraction", ["encoder.layer.0.x", "embeddings.y"]
    )
    assert places([*LEFT_OUT, "embeddings.z"]) == [LEFT_OUT[-1], "embeddings.z"]


def test_without_a_class(model: Path) -> None:
    places = with_a_place({"model_type": "jina_bert"}, "feature-extraction", ["encoder.layer.0.x"])
    assert places(LEFT_OUT) == [LEFT_OUT[-1]]
