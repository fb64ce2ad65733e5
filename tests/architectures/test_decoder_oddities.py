"""Oddities of decoders in the reference, which are reproduced or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from transformers import AutoConfig
from transformers.models.ministral3.modeling_ministral3 import get_llama_4_attn_scale

from fixtures import models
from fixtures.models import Pooling, rewrite
from tests.support.helpers import build, difference, embed, reference
from tests.test_parity import ATOL, TEXTS
from tf_exporter.errors import InputError, UnsupportedError
from tf_exporter.exports.check import check_supported
from tf_exporter.layers.grouped_attention import query_factors
from tf_exporter.layers.rope import Temperature
from tf_exporter.model.source import ModelSource
from tf_exporter.options import Options

pytestmark = pytest.mark.slow

LONG = "the world " * 12


def alone_and_together(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The reference's embedding of a text by itself, and in a batch with a longer text."""
    model = reference(folder)
    return model.encode(["hello world"])[0], model.encode(["hello world", LONG])[0]


def test_gemma_2_bounds_its_scores(tmp_path: Path) -> None:
    """Its class has no fused attention, which could not bound scores: the default bounds them."""
    results = []
    for softcap in (None, 0.7):
        folder = models.write_model(
            tmp_path / f"{softcap}", "gemma2", attn_logit_softcapping=softcap
        )
        results.append(reference(folder).encode(TEXTS))
        assert reference(folder)[0].auto_model.config._attn_implementation == "eager"
        assert np.abs(embed(build(folder), TEXTS) - results[-1]).max() <= ATOL
    assert np.abs(results[0] - results[1]).max() > 1e-2


def test_bidirectional_gemma_depends_on_padding(tmp_path: Path) -> None:
    """Without `is_causal`, only batches without padding are bidirectional, so it is refused."""
    folder = models.write_model(tmp_path / "model", "gemma")
    rewrite(folder / "config.json", use_bidirectional_attention=True)
    alone, together = alone_and_together(folder)
    assert np.abs(alone - together).max() > 1e-3
    with pytest.raises(UnsupportedError, match="use_bidirectional_attention"):
        build(folder)


def test_gelu_of_gemma_is_its_tanh_form(tmp_path: Path) -> None:
    folder = models.write_model(tmp_path / "model", "gemma", hidden_act="gelu_pytorch_tanh")
    expected = reference(folder).encode(TEXTS)
    rewrite(folder / "config.json", hidden_act="gelu")
    assert np.array_equal(reference(folder).encode(TEXTS), expected)
    assert difference(folder, TEXTS) <= ATOL


def test_mistral_with_layer_types_is_another_model(tmp_path: Path) -> None:
    folder = models.write_model(tmp_path / "model", "mistral")
    rewrite(folder / "config.json", layer_types=None)
    assert AutoConfig.from_pretrained(folder).model_type == "ministral"
    with pytest.raises(UnsupportedError, match="layer_types"):
        build(folder)


def test_factors_of_queries() -> None:
    """Llama 4's factors; the positions of a text start at its first token."""
    expected = get_llama_4_attn_scale(torch.arange(50)[None], 0.7, 6)[0, 0, :, 0].numpy()
    mask = tf.constant([[1] * 50, [0] * 20 + [1] * 30])
    result = query_factors(Temperature(0.7, 6), mask)[:, 0, :, 0].numpy()
    np.testing.assert_allclose(result[0], expected, rtol=3e-7)
    np.testing.assert_allclose(result[1, 20:], expected[:30], rtol=3e-7)


def test_ministral_3_depends_on_padding_on_the_left(tmp_path: Path) -> None:
    """In the reference, the factors of queries count padding. Ours are those of a text alone."""
    folder = models.write_model(tmp_path / "model", "ministral3", [Pooling(32, "lasttoken")])
    for side, depends in (("right", False), ("left", True)):
        rewrite(folder / "tokenizer_config.json", padding_side=side)
        alone, together = alone_and_together(folder)
        assert (np.abs(alone - together).max() > 1e-3) == depends
        encoder = build(folder)
        assert encoder.pipelines[""].pads_leak == depends
        result = embed(encoder, ["hello world", LONG])
        assert np.abs(result[0] - alone).max() <= ATOL
    # A model whose texts end before the second factor does not depend on it.
    assert not build(folder, max_seq_length=6).pipelines[""].pads_leak


def test_phi_3_with_long_texts(tmp_path: Path) -> None:
    """Beyond the original length, all texts of a batch have other frequencies."""
    rope = {"type": "longrope", "short_factor": [1.0, 2.0], "long_factor": [9.0, 9.0]}
    changes: dict[str, Any] = {"rope_scaling": rope, "original_max_position_embeddings": 20}
    folder = models.write_model(tmp_path / "model", "phi3", max_seq_length=20, **changes)
    assert difference(folder, [*TEXTS, LONG]) <= ATOL
    rewrite(folder / "tokenizer_config.json", model_max_length=40)
    rewrite(folder / "sentence_bert_config.json", max_seq_length=21)
    with pytest.raises(UnsupportedError, match="at most 20"):
        build(folder)


@pytest.mark.parametrize("kind", ["su", "yarn", "longrope"])
def test_types_of_phi_3(tmp_path: Path, kind: str) -> None:
    """Older names; "su" needs a length of its own, which the reference then does not use."""
    rope = {
        "type": kind,
        "short_factor": [1.0, 2.0],
        "long_factor": [9.0, 9.0],
        "original_max_position_embeddings": 2,
    }
    folder = models.write_model(tmp_path / "model", "phi3")
    for outer in ({}, {"original_max_position_embeddings": 40}):
        rewrite(folder / "config.json", rope_parameters=rope, **outer)
        assert difference(folder, TEXTS) <= ATOL


def test_keys_of_published_phi_3(tmp_path: Path) -> None:
    """Newer configs name code, and have keys for it: they are ignored where they change nothing."""
    folder = models.write_model(tmp_path / "model", "phi3")
    notes = {
        "attention_bias": False,
        "mlp_bias": False,
        "lm_head_bias": False,
        "full_attn_mod": 1,
        "interpolate_factor": 1,
    }
    code = {"AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}
    rewrite(folder / "config.json", auto_map=code, **notes)
    assert difference(folder, TEXTS) <= ATOL
    source = ModelSource(folder, "model")
    check_supported(source, Options())
    assert source.ignored["config.json"] == ["auto_map", *notes]
    for key in notes:
        rewrite(folder / "config.json", **{**notes, key: 2})
        with pytest.raises(UnsupportedError, match=key):
            build(folder)


def test_embeddings_of_another_width(tmp_path: Path) -> None:
    """EmbeddingGemma 2 projects its last hidden state, often to more features than it has."""
    for width in (20, 40):
        folder = models.write_model(
            tmp_path / f"{width}",
            "embedding_gemma2_text",
            [Pooling(width, ["mean", "cls"])],
            embedding_dim=width,
        )
        assert difference(folder, TEXTS) <= ATOL


def test_embedding_gemma_2_needs_all_rotary_positions(tmp_path: Path) -> None:
    folder = models.write_model(tmp_path / "model", "embedding_gemma2_text")
    for parameters in (
        {},
        {"full_attention": {"rope_theta": 9.0}},
        {"full_attention": {"rope_theta": 9.0}, "sliding_attention": {"rope_type": "default"}},
    ):
        rewrite(folder / "config.json", rope_parameters=parameters)
        with pytest.raises(InputError, match="rope_parameters"):
            build(folder)
