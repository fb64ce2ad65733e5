"""Frequencies and scalings of rotary positions, compared with transformers' own functions."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, modeling_rope_utils
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from tf_exporter.errors import ConversionError, UnsupportedError
from tf_exporter.layers import rope
from tf_exporter.layers.rope import ROPE_TYPES, Rope, powers
from tf_exporter.layers.rope_keys import read_flat_rope
from tf_exporter.layers.rotary import Rotary
from tf_exporter.model.config_file import ConfigFile

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONG = {
    "rope_type": "longrope",
    "short_factor": [1 + place / 7 for place in range(8)],
    "long_factor": [9.0] * 8,
}
PARAMETERS: list[dict[str, Any]] = [
    {},
    {"rope_type": "default", "rope_theta": 1e6},
    {"rope_type": "linear", "factor": 3.7},
    {"type": "linear", "factor": 4},
    {"rope_type": "dynamic", "factor": 1.3},
    {"rope_type": "proportional", "partial_rotary_factor": 0.4},
    {"rope_type": "proportional", "partial_rotary_factor": 1.0, "factor": 3.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
    {
        "rope_type": "yarn",
        "factor": 2.5,
        "attention_factor": 0.7,
        "beta_fast": 20,
        "beta_slow": 2.5,
        "truncate": False,
    },
    {
        "rope_type": "yarn",
        "factor": 40,
        "mscale": 0.7,
        "mscale_all_dim": 1.1,
        "rope_theta": 500.0,
        "beta_slow": None,
    },
    {"rope_type": "yarn", "factor": 0.5, "original_max_position_embeddings": 3},
    {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 300},
    {"rope_type": "default", "factor": 2.0, "beta_fast": 3},
    {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 64},
    {"rope_type": "linear", "factor": 2.0, "mrope_section": [1, 2], "truncate": False},
    {**LLAMA3, "original_max_position_embeddings": 40},
    {
        **LLAMA3,
        "original_max_position_embeddings": 700,
        "factor": 5,
        "low_freq_factor": 1.5,
        "high_freq_factor": 11.0,
    },
    {**LONG, "original_max_position_embeddings": 100},
    {**LONG, "factor": 3.0},
    {**LONG, "attention_factor": 1.7, "original_max_position_embeddings": 100},
]
SHARED = {
    "head_dim": 16,
    "max_position_embeddings": 1200,
    "hidden_size": 64,
    "num_attention_heads": 4,
}

pytestmark = pytest.mark.slow


def read(values: dict[str, Any], positions: int = 1200, size: int = 16) -> Rope:
    file = ConfigFile("config.json", values)
    result = read_flat_rope(file, 10_000.0, positions, size)
    file.check()
    return result


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
@pytest.mark.parametrize("old", [False, True])
def test_tables(parameters: dict[str, Any], old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With torch's own powers, everything that follows is equal bit by bit."""
    size = torch.arange(0, 16, 2, dtype=torch.int64).float() / 16

    def torch_powers(theta: float, size_: int, count: int | None = None) -> np.ndarray:
        result: np.ndarray = (theta ** size[:count]).numpy()
        return result

    monkeypatch.setattr(rope, "powers", torch_powers)
    values: dict[str, Any] = {"rope_scaling" if old else "rope_parameters": parameters}
    if "rope_theta" not in parameters:
        values["rope_theta"] = 30_000.0
    theirs = LlamaRotaryEmbedding(LlamaConfig(**SHARED, **copy.deepcopy(values)))
    result = read(values)
    assert np.array_equal(np.array(result.frequencies, np.float32), theirs.inv_freq.numpy())
    assert result.scaling == theirs.attention_scaling
    assert (result.max_length is None) == (theirs.rope_type not in ("dynamic", "longrope"))


def test_every_type_is_compared() -> None:
    assert {
        values.get("rope_type", values.get("type", "default")) for values in PARAMETERS
    } == ROPE_TYPES.keys()


@pytest.mark.parametrize(
    "parameters", [{"rope_type": "yarn", "factor": 4.0}, {**LLAMA3}, {**LONG}], ids=str
)
def test_outer_original_length_goes_first(parameters: dict[str, Any]) -> None:
    for inner in ({}, {"original_max_position_embeddings": 500}):
        values = {
            "rope_parameters": {**parameters, **inner},
            "original_max_position_embeddings": 90,
        }
        theirs = LlamaRotaryEmbedding(LlamaConfig(**SHARED, **copy.deepcopy(values)))
        result = read(values)
        np.testing.assert_allclose(result.frequencies, theirs.inv_freq.numpy(), rtol=3e-7)
        assert result.scaling == theirs.attention_scaling


@pytest.mark.parametrize("theta", [{}, {"rope_theta": 7.0}])
def test_the_older_key_goes_first(theta: dict[str, float]) -> None:
    values = {
        "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 3.0},
        "rope_scaling": {"type": "linear", "factor": 2.0},
        **theta,
    }
    theirs = LlamaRotaryEmbedding(LlamaConfig(**SHARED, **copy.deepcopy(values)))
    np.testing.assert_allclose(read(values).frequencies, theirs.inv_freq.numpy(), rtol=3e-7)
    file = ConfigFile("config.json", values)
    read_flat_rope(file, 10_000.0, 1200, 16)
    assert file.ignored == {"config.json": ["rope_parameters"]}


KEYS: dict[str, Any] = {
    "factor": 2.0,
    "original_max_position_embeddings": 64,
    "attention_factor": 1.5,
    "beta_fast": 20,
    "beta_slow": 2,
    "mscale": 0.7,
    "mscale_all_dim": 1.1,
    "truncate": False,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "short_factor": [2.0] * 8,
    "long_factor": [3.0] * 8,
    "unknown": 1,
}
"""The parameters of all types."""


@pytest.mark.parametrize("kind", ROPE_TYPES)
def test_only_what_the_reference_does_not_know_is_ignored(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own lists of keys by type: a key that it knows is never ignored."""
    known: set[str] = set()

    def check(
        kind: str,
        received: set[str],
        required: set[str],
        optional_keys: set[str] | None = None,
        ignore_keys: set[str] | None = None,
    ) -> None:
        known.update(required, optional_keys or ())

    monkeypatch.setattr(
        modeling_rope_utils.RotaryEmbeddingConfigMixin, "_check_received_keys", staticmethod(check)
    )
    parameters = {"rope_type": kind, "rope_theta": 500.0, "partial_rotary_factor": 1.0, **KEYS}
    LlamaConfig(**SHARED, rope_parameters=copy.deepcopy(parameters))
    assert "rope_type" in known
    file = ConfigFile("config.json", {"rope_parameters": parameters})
    read_flat_rope(file, 10_000.0, 1200, 16)
    ignored = {key.rpartition(".")[2] for key in file.ignored["config.json"]}
    assert "unknown" in ignored
    assert not ignored & known


THETAS = (1e4, 2e4, 5e4, 1e5, 1.6e5, 2.5e5, 5e5, 1e6, 5e6, 1e7)
POPULAR = {(64, 1e4), (64, 1.6e5), (64, 2.5e5), (128, 1e6), (256, 1e4), (256, 1e6)}
"""Sizes and bases of ModernBERT, EuroBERT, Qwen3-Embedding and EmbeddingGemma."""


@pytest.mark.parametrize("size", [8, 32, 64, 80, 96, 128, 192, 256])
def test_powers(size: int) -> None:
    """Torch's powers depend on the CPU: ours differ by at most two units in the last place."""
    for theta in THETAS:
        theirs = (theta ** (torch.arange(0, size, 2, dtype=torch.int64).float() / size)).numpy()
        result = powers(theta, size)
        assert np.abs(result.view(np.int32) - theirs.view(np.int32)).max() <= 2
        radians = np.abs((1 / result - 1 / theirs) * 32_768).max()
        assert radians <= (1e-5 if (size, theta) in POPULAR else 2e-3)


def test_angles() -> None:
    """The cosines and sines of large angles."""
    theirs = LlamaRotaryEmbedding(
        LlamaConfig(**SHARED, rope_parameters=PARAMETERS[7] | {"rope_theta": 1e6})
    )
    expected = theirs(torch.zeros(1), torch.arange(20_000)[None])
    result = Rotary(read({"rope_parameters": PARAMETERS[7] | {"rope_theta": 1e6}}))(20_000)
    for ours, reference in zip(result, expected):
        assert np.abs(ours.numpy() - reference[0].numpy()).max() <= 2e-7


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"rope_parameters": {"rope_type": "su", "factor": 2.0}}, "rope_type"),
    ({"rope_scaling": {"type": "mrope", "mrope_section": [1]}}, "type"),
    ({"rope_scaling": {"type": "linear", "rope_type": "dynamic", "factor": 2.0}}, "type"),
    ({"rope_scaling": {"type": ["linear"], "factor": 2.0}}, "type"),
    ({"rope_parameters": {"rope_type": "linear"}}, "factor"),
    ({"rope_parameters": {"rope_type": "linear", "factor": 0}}, "factor"),
    ({"rope_parameters": {"rope_type": "linear", "factor": 10**400}}, "factor"),
    ({"rope_parameters": {"rope_type": "linear", "factor": math.nan}}, "factor"),
    ({"rope_parameters": {"rope_type": "linear", "factor": True}}, "factor"),
    (
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5}},
        "partial_rotary_factor",
    ),
    ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
    (
        {"rope_parameters": {"rope_type": "proportional", "partial_rotary_factor": 1.5}},
        "partial_rotary_factor",
    ),
    ({"rope_parameters": {"rope_type": "yarn"}}, "factor"),
    ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1}}, "yarn"),
    (
        {"rope_parameters": {**LLAMA3, "original_max_position_embeddings": 0}},
        "original_max_position_embeddings",
    ),
    ({"rope_parameters": {**LONG, "short_factor": [1.0] * 9}}, "short_factor"),
    (
        {"rope_parameters": {**LONG, "short_factor": [1.0] * 9, "long_factor": [1.0] * 9}},
        "longrope",
    ),
    ({"rope_parameters": {**LONG, "long_factor": ["1"] * 8}}, "long_factor"),
    ({"rope_parameters": {"rope_theta": -3.0}}, "rope_theta"),
    ({"rope_theta": 10**400}, "rope_theta"),
    ({"rope_theta": None}, "rope_theta"),
    ({"rope_theta": 1e-46}, "default"),
    ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "full_attention"),
]


@pytest.mark.parametrize(("values", "key"), REFUSED, ids=str)
def test_refused(values: dict[str, Any], key: str) -> None:
    with pytest.raises(ConversionError, match=key):
        read(values)


@pytest.mark.parametrize("size", [15, 1])
def test_odd_heads_are_refused(size: int) -> None:
    with pytest.raises(UnsupportedError, match="even"):
        read({}, size=size)


@pytest.mark.parametrize("positions", [0, 10**400])
def test_positions_are_bounded(positions: int) -> None:
    with pytest.raises(UnsupportedError, match="max_position_embeddings"):
        read({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, positions)
