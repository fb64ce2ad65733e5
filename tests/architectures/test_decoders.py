"""Encoders that began as decoders: padding sides, checkpoints of heads, rotary positions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from fixtures import models
from fixtures.models import Normalize, Pooling, rewrite
from fixtures.real import SHARED, real_tokenizer
from tests.support.helpers import build, difference, embed, reference
from tests.test_parity import ATOL, TEXTS
from tf_exporter.errors import UnsupportedError
from tf_exporter.modules.pooling.layer import POOLING_MODES

pytestmark = pytest.mark.slow


HEADS = {
    "eurobert": (
        "EuroBertForMaskedLM",
        "EuroBertForSequenceClassification",
        "EuroBertForTokenClassification",
    ),
    "gemma": ("GemmaForCausalLM", "GemmaForSequenceClassification"),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2ForSequenceClassification"),
    "gemma3_text": ("Gemma3ForCausalLM", "Gemma3TextForSequenceClassification"),
    "llama": ("LlamaForCausalLM", "LlamaForSequenceClassification"),
    "ministral3": ("Ministral3ForCausalLM", "Ministral3ForSequenceClassification"),
    "mistral": ("MistralForCausalLM", "MistralForSequenceClassification"),
    "phi3": ("Phi3ForCausalLM", "Phi3ForSequenceClassification"),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2ForSequenceClassification", "Qwen2ForTokenClassification"),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3ForSequenceClassification", "Qwen3ForTokenClassification"),
}
DECODERS = [*HEADS]


@pytest.mark.parametrize("model_type", DECODERS)
@pytest.mark.parametrize("pooling", ["lasttoken", "cls", [*POOLING_MODES]], ids=str)
def test_left_padding(tmp_path: Path, model_type: str, pooling: Any) -> None:
    folder = models.write_model(tmp_path / "model", model_type, [Pooling(32, pooling)])
    rewrite(folder / "tokenizer_config.json", padding_side="left")
    assert reference(folder).tokenizer.padding_side == "left"
    assert difference(folder, TEXTS) <= ATOL


@pytest.mark.parametrize("model_type", DECODERS)
def test_neighbours_do_not_matter_left_of_a_text(tmp_path: Path, model_type: str) -> None:
    folder = models.write_model(
        tmp_path / "model", model_type, [Pooling(32, "lasttoken"), Normalize()]
    )
    rewrite(folder / "tokenizer_config.json", padding_side="left")
    encoder = build(folder, micro_batch_tokens=10**6)
    alone = embed(encoder, TEXTS[:20], batch_size=1)
    together = embed(encoder, [*TEXTS[:20], "world " * 40], batch_size=1000)[:-1]
    # Distances are equal, but the angles of large positions are rounded more coarsely in both.
    assert np.abs(alone - together).max() <= 2e-6


@pytest.mark.parametrize(
    ("model_type", "name"),
    [(model_type, name) for model_type, names in HEADS.items() for name in names],
)
def test_checkpoint_of_a_head(tmp_path: Path, model_type: str, name: str) -> None:
    """A checkpoint as transformers saves it: `model.` before the names, and the head's tensors."""
    folder = models.write_model(tmp_path / "model", model_type)
    whole = getattr(transformers, name)(AutoConfig.from_pretrained(folder))
    models.draw_weights(whole, 5)
    whole.save_pretrained(folder)
    assert any(
        tensor.startswith("model.layers.") for tensor in load_file(folder / "model.safetensors")
    )
    assert difference(folder, TEXTS) <= ATOL


@pytest.mark.parametrize("model_type", DECODERS)
def test_bfloat16_checkpoint(tmp_path: Path, model_type: str) -> None:
    folder = models.write_model(tmp_path / "model", model_type)
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    rewrite(folder / "config.json", dtype="bfloat16")
    assert difference(folder, TEXTS) <= ATOL


ROPES: list[dict[str, Any]] = [
    {"rope_type": "dynamic", "factor": 3.0, "rope_theta": 100.0},
    {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 30,
    },
    {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 12,
        "rope_theta": 100.0,
    },
    {
        "rope_type": "longrope",
        "factor": 4.0,
        "short_factor": [1.0, 2.0, 4.0],
        "long_factor": [9.0] * 3,
    },
    {"rope_type": "proportional", "partial_rotary_factor": 0.7},
]


@pytest.mark.slow
@pytest.mark.parametrize("rope", ROPES, ids=str)
@pytest.mark.parametrize("model_type", ["eurobert", "qwen3"])
def test_stretched_positions(tmp_path: Path, model_type: str, rope: dict[str, Any]) -> None:
    folder = models.write_model(tmp_path / "model", model_type, rope_parameters=dict(rope))
    assert difference(folder, TEXTS) <= ATOL


@pytest.mark.slow
@pytest.mark.parametrize("rope", ROPES, ids=str)
@pytest.mark.parametrize("model_type", ["gemma3_text", "modernbert"])
def test_stretched_positions_of_layer_types(
    tmp_path: Path, model_type: str, rope: dict[str, Any]
) -> None:
    changes: dict[str, Any] = {"num_attention_heads": 8} if model_type == "modernbert" else {}
    if model_type == "modernbert" and "short_factor" in rope:
        rope = {**rope, "short_factor": [1.0, 3.0], "long_factor": [9.0, 9.0]}
    for name, other in (
        ("full_attention", "sliding_attention"),
        ("sliding_attention", "full_attention"),
    ):
        parameters = {
            name: {"rope_theta": 70.0, **rope},
            other: {"rope_type": "default", "rope_theta": 20.0},
        }
        folder = models.write_model(
            tmp_path / name, model_type, rope_parameters=parameters, **changes
        )
        assert difference(folder, TEXTS) <= ATOL


def test_window_is_halved_once(tmp_path: Path) -> None:
    """Gemma's config halves the window when it is read, and saves the original value."""
    for raw, stored in ((10, 10), (7, 6)):
        folder = models.write_model(tmp_path / f"{raw}", "gemma3_text", sliding_window=raw)
        assert json.loads((folder / "config.json").read_text())["sliding_window"] == stored
        assert reference(folder)[0].auto_model.config.sliding_window == raw // 2 + 1
        encoder = build(folder).first.encoder
        assert encoder._window == raw // 2
        assert difference(folder, TEXTS) <= ATOL


def test_keys_of_older_gemma_checkpoints(tmp_path: Path) -> None:
    """Keys of older checkpoints: bases outside `rope_parameters`, a pattern beside the types."""
    folder = models.write_model(tmp_path / "model", "gemma3_text")
    rewrite(
        folder / "config.json",
        rope_parameters="absent",
        rope_theta=1000.0,
        rope_local_base_freq=10.0,
        rope_scaling=None,
        _sliding_window_pattern=6,
        final_logit_softcapping=None,
        cache_implementation="hybrid",
    )
    assert difference(folder, TEXTS) <= ATOL
    rewrite(
        folder / "config.json",
        layer_types="absent",
        sliding_window_pattern=2,
        _sliding_window_pattern="absent",
    )
    assert difference(folder, TEXTS) <= ATOL


@pytest.mark.parametrize("rope", ROPES[0:4:3], ids=str)
def test_length_limit_of_positions(tmp_path: Path, rope: dict[str, Any]) -> None:
    """Up to this limit the frequencies are constant; beyond it they depend on the other texts."""
    limit = 48 if rope["rope_type"] == "dynamic" else 20
    rope = rope if limit == 48 else {**rope, "original_max_position_embeddings": limit}
    folder = models.write_model(
        tmp_path / "model", "qwen3", rope_parameters=rope, max_seq_length=limit
    )
    assert difference(folder, [*TEXTS, "the " * 60]) <= ATOL
    rewrite(folder / "tokenizer_config.json", model_max_length=limit + 10)
    rewrite(folder / "sentence_bert_config.json", max_seq_length=limit + 1)
    with pytest.raises(UnsupportedError, match=f"at most {limit}"):
        build(folder)
    assert build(folder, max_seq_length=limit).first.max_length == limit


@pytest.mark.parametrize(
    ("architectures", "is_causal", "pooling"),
    [
        (["Qwen3ForCausalLM"], True, "lasttoken"),
        (["Qwen3ForCausalLM", "Qwen3Model"], "absent", "lasttoken"),
        (["Qwen3ForCausalLM"], False, "mean"),
        (["Qwen3Model", "Qwen3ForCausalLM"], "absent", "mean"),
        ([], "absent", "mean"),
        ("absent", "absent", "mean"),
    ],
    ids=str,
)
def test_plain_folder(tmp_path: Path, architectures: Any, is_causal: Any, pooling: str) -> None:
    """A folder without modules.json: a causal language model is pooled by its last token."""
    folder = models.write_transformer(tmp_path / "plain", "qwen3")
    for side in ("right", "left"):
        rewrite(folder / "tokenizer_config.json", padding_side=side)
        rewrite(folder / "config.json", architectures=architectures, is_causal=is_causal)
        assert reference(folder)[1].pooling_mode == pooling
        assert difference(folder, TEXTS) <= ATOL


def test_chat_template_matters_in_plain_folders_alone(tmp_path: Path) -> None:
    template = "{% for message in messages %}<|user|>{{ message['content'] }}{% endfor %}"
    folder = models.write_model(tmp_path / "model", "qwen3")
    (folder / "chat_template.jinja").write_text(template)
    assert difference(folder, TEXTS) <= ATOL
    plain = models.write_transformer(tmp_path / "plain", "qwen3")
    shutil.copy(folder / "chat_template.jinja", plain)
    assert build(plain).first.frames()
    assert difference(plain, TEXTS) <= ATOL


def test_rows_of_padding_alone(tmp_path: Path) -> None:
    """A text without tokens gives finite numbers and does not change the other rows."""
    for side in ("left", "right"):
        folder = models.write_model(tmp_path / side, "qwen3", [Pooling(32, ["mean", "lasttoken"])])
        values = json.loads((folder / "tokenizer.json").read_text())
        values["post_processor"] = None
        (folder / "tokenizer.json").write_text(json.dumps(values))
        rewrite(
            folder / "tokenizer_config.json",
            padding_side=side,
            tokenizer_class="PreTrainedTokenizerFast",
        )
        assert len(reference(folder).tokenizer("")["input_ids"]) == 0
        result = embed(build(folder), ["", "hello world", " ", "the"])
        assert np.isfinite(result).all()
        assert (
            np.abs(result - reference(folder).encode(["", "hello world", " ", "the"])).max() <= ATOL
        )


def test_phi_3_with_its_own_tokenizer(tmp_path: Path) -> None:
    if real_tokenizer("phi-3-mini") is None:
        pytest.skip("shared/data/tokenizers/phi-3-mini is not there")
    folder = models.write_model(tmp_path / "model", "phi3", vocab_size=32064, pad_token_id=32000)
    for path in folder.glob("*token*"):
        path.unlink()
    for path in (SHARED / "tokenizers/phi-3-mini").iterdir():
        shutil.copyfile(path, folder / path.name)
    rewrite(folder / "tokenizer_config.json", model_max_length=48)
    # The reference cannot encode an empty text with it: there is no token to add.
    texts = [*filter(None, TEXTS), "<|user|>\nHello<|end|>", "  two  spaces ", "Ünïcödé 世界 👩‍👧"]
    assert difference(folder, texts) <= ATOL
