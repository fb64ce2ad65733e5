"""Embeddings of small random models, compared with sentence-transformers.

Architectures × pooling × heads × layouts.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

from fixtures import models
from fixtures.models import Dense, Dropout, LayerNorm, Normalize, Pooling, rewrite
from tests.support.helpers import build, difference, embed, reference
from tf_exporter import UnsupportedError, convert
from tf_exporter.architectures.registry import VERIFIED
from tf_exporter.layers.activations import TORCH_ACTIVATIONS, TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.attention import relative_buckets
from tf_exporter.modules.pooling.layer import POOLING_MODES

ATOL = 1e-5
TEXTS = models.texts(0, 64)
POOLINGS: list[Any] = [
    *POOLING_MODES,
    ["cls", "mean"],
    ["max", "lasttoken", "weightedmean"],
    [*POOLING_MODES],
]


def heads(kind: int, width: int) -> list[torch.nn.Module]:
    """The modules after pooling, by number."""
    return [
        [],
        [Normalize()],
        [Dense(width, 24), Normalize()],
        [Dense(width, 24, bias=False, activation_function=torch.nn.Identity()),
         LayerNorm(24), Dropout(0.3), Normalize()],
        [Dense(width, width, activation_function=torch.nn.GELU(), use_residual=True)],
        [
            Dense(width, 16, activation_function=torch.nn.PReLU(), use_residual=True),
            Dense(16, 40, activation_function=torch.nn.SiLU()),
        ],
    ][kind]  # fmt: skip


COMBINATIONS = [("bert", pooling, kind % 6) for kind, pooling in enumerate(POOLINGS)] + [
    (model_type, POOLINGS[2 * row % len(POOLINGS)], row % 6)
    for row, model_type in enumerate(VERIFIED)
]
"""All poolings on BERT and one on each architecture, heads in turn; `make sweep` has all."""


@pytest.mark.parametrize(("model_type", "pooling", "kind"), COMBINATIONS)
def test_architecture_pooling_head(
    tmp_path: Path, model_type: str, pooling: Any, kind: int
) -> None:
    assert combination_difference(tmp_path / "model", model_type, pooling, kind, seed=kind) <= ATOL


def combination_difference(
    folder: Path, model_type: str, pooling: Any, kind: int, seed: int
) -> float:
    """The difference of one combination; odd seeds use the old layout where it has the pooling."""
    width = 32 * (1 if isinstance(pooling, str) else len(pooling))
    modules = [Pooling(32, pooling), *heads(kind, width)]
    models.write_model(folder, model_type, modules, seed=seed)
    if seed % 2:
        modes = [pooling] if isinstance(pooling, str) else pooling
        if [mode for mode in POOLING_MODES if mode in modes] == modes:
            models.to_old_layout(folder, max_seq_length=32)
    return difference(folder, TEXTS)


@pytest.mark.parametrize(
    ("buckets", "farthest"),
    [(32, 128), (12, 20), (33, 9), (64, 1000), (4, 2), (32, 129), (128, 4096)],
)
def test_relative_position_buckets(buckets: int, farthest: int) -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    distances = torch.arange(-2 * farthest, 2 * farthest + 1)
    expected = T5Attention._relative_position_bucket(
        distances, num_buckets=buckets, max_distance=farthest
    ).numpy()
    result = relative_buckets(buckets, farthest)[
        np.clip(distances.numpy(), -farthest, farthest) + farthest
    ]
    assert np.array_equal(result, expected)


GRID = np.concatenate(
    [np.linspace(-12, 12, 20001), [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 30, -30, 80, -80]]
).astype(np.float32)


@pytest.mark.parametrize("name", TRANSFORMERS_ACTIVATIONS)
def test_transformers_activations(name: str) -> None:
    from transformers.activations import ACT2FN

    expected = ACT2FN[name](torch.tensor(GRID)).numpy()
    np.testing.assert_allclose(
        TRANSFORMERS_ACTIVATIONS[name](tf.constant(GRID)).numpy(), expected, rtol=2e-6, atol=2e-6
    )


@pytest.mark.parametrize("name", TORCH_ACTIVATIONS)
def test_torch_activations(name: str) -> None:
    expected = getattr(torch.nn, name)().eval()(torch.tensor(GRID)).numpy()
    np.testing.assert_allclose(
        TORCH_ACTIVATIONS[name](tf.constant(GRID)).numpy(), expected, rtol=2e-6, atol=2e-6
    )


def test_untrusted_activation_becomes_tanh(tmp_path: Path) -> None:
    """The reference warns and uses its default if the path is not torch's."""
    folder = models.write_model(
        tmp_path / "model",
        heads=[Pooling(32, "mean"), Dense(32, 8, activation_function=torch.nn.ReLU())],
    )
    for path in ("transformers.activations.NewGELUActivation", "absent"):
        rewrite(folder / "2_Dense/config.json", activation_function=path)
        assert difference(folder, TEXTS) <= ATOL


def test_dense_reads_and_writes_other_features(tmp_path: Path) -> None:
    """Dense on token embeddings before pooling, and with explicit feature names."""
    modules = [
        Dense(32, 20, module_input_name="token_embeddings"),
        Normalize(module_input_name="token_embeddings"),
        Pooling(20, ["mean", "max"]),
        Dense(
            40, 8, module_input_name="sentence_embedding", module_output_name="sentence_embedding"
        ),
    ]
    folder = models.write_model(tmp_path / "model", heads=modules)
    assert difference(folder, TEXTS) <= ATOL


@pytest.mark.parametrize(
    ("pooling", "side"),
    [
        *[("mean", "right"), ("cls", "left")],
        *(
            pytest.param(pooling, "right", marks=pytest.mark.slow)
            for pooling in POOLING_MODES
            if pooling != "mean"
        ),
        pytest.param("weightedmean", "left", marks=pytest.mark.slow),
    ],
)
def test_prompt_left_out_of_pooling(tmp_path: Path, pooling: str, side: str) -> None:
    folder = models.write_model(
        tmp_path / "model",
        "mpnet" if side == "left" else "bert",
        heads=[Pooling(32, pooling, include_prompt=False)],
        prompts={"query": "the hello world: "},
    )
    rewrite(folder / "tokenizer_config.json", padding_side=side)
    # Without texts that truncation leaves empty, for which the reference's max is −inf.
    texts = [text for text in TEXTS if text]
    assert difference(folder, texts, prompt="the hello world: ") <= ATOL
    assert difference(folder, texts) <= ATOL


def test_padding_token_in_the_text(tmp_path: Path) -> None:
    """MPNet computes positions from the ids; a written <pad> shifts only itself."""
    for model_type, token in (("mpnet", "<pad>"), ("bert", "[PAD]")):
        folder = models.write_model(tmp_path / model_type, model_type)
        assert (
            difference(
                folder, [f"hello {token} world", token, f"{token}{token} the", "hello world"]
            )
            <= ATOL
        )


@pytest.mark.parametrize("side", ["left", "right"])
def test_truncation_side(tmp_path: Path, side: str) -> None:
    folder = models.write_model(tmp_path / "model", "mpnet", max_seq_length=9)
    rewrite(folder / "tokenizer_config.json", truncation_side=side, padding_side="left")
    assert difference(folder, TEXTS) <= ATOL


def test_lower_casing_module(tmp_path: Path) -> None:
    """`do_lower_case` of a cased tokenizer: a flag in the old layout, a normalizer in the new."""
    texts = [*TEXTS, "HELLO World ÄÖÜ", "İstanbul É"]
    folder = models.write_model(tmp_path / "model", max_seq_length=32)
    rewrite(folder / "tokenizer_config.json", do_lower_case=False)
    models.to_old_layout(folder, max_seq_length=20, do_lower_case=True)
    assert difference(folder, texts) <= ATOL
    cased = reference(folder)
    cased.save(str(tmp_path / "new"), create_model_card=False)
    assert difference(tmp_path / "new", texts) <= ATOL


LENGTHS: list[dict[str, Any]] = [
    {"max_seq_length": 11},
    {"max_seq_length": "absent"},
    {"max_seq_length": None},
    {"max_seq_length": 11, "tokenizer_args": {"model_max_length": 7}},
    {"max_seq_length": 11, "processing_kwargs": {"text": {"max_length": 5}}},
]


@pytest.mark.parametrize(
    ("settings", "model_max_length"),
    [*((settings, 17) for settings in LENGTHS), (LENGTHS[1], 10**30)],
    ids=str,
)
def test_maximum_length(tmp_path: Path, settings: dict[str, Any], model_max_length: int) -> None:
    folder = models.write_model(tmp_path / "model")
    rewrite(folder / "tokenizer_config.json", model_max_length=model_max_length)
    rewrite(folder / "sentence_bert_config.json", **settings)
    assert difference(folder, TEXTS) <= ATOL


@pytest.mark.parametrize("model_type", ["bert", "xlm-roberta", "distilbert", "mpnet"])
def test_lengths_beyond_the_positions(tmp_path: Path, model_type: str) -> None:
    """The reference fails for texts longer than its position table: they are truncated."""
    folder = models.write_model(tmp_path / "model", model_type, max_position_embeddings=32)
    rewrite(folder / "tokenizer_config.json", model_max_length=10**30)
    rewrite(folder / "sentence_bert_config.json", max_seq_length=64)
    model, expected = build(folder), reference(folder)
    limit = {"bert": 32, "distilbert": 32, "xlm-roberta": 30, "mpnet": 30}[model_type]
    assert model.describe().truncated_to == limit
    with pytest.raises((IndexError, RuntimeError)):
        expected.encode(["the " * limit])
    expected.max_seq_length = limit
    texts = [*TEXTS, "the " * (limit - 2), "of " * (limit - 1), "of " * 99]
    assert np.abs(embed(model, texts) - expected.encode(texts)).max() <= ATOL
    with pytest.raises(UnsupportedError, match=f"at most {limit}"):
        build(folder, max_seq_length=limit + 1)
    if model_type == "xlm-roberta":
        result = convert(folder, tmp_path / "out")
        assert result.manifest["max_seq_length"] == limit and not result.verification["left_out"]
        assert (
            f"Texts are truncated to {limit} tokens: sentence-transformers fails for longer ones."
            in result.summary
        )


def test_plain_transformers_folder(tmp_path: Path) -> None:
    """A folder without modules.json: mean pooling."""
    folder = models.write_transformer(tmp_path / "plain", "bert")
    assert difference(folder, TEXTS) <= ATOL


def test_checkpoint_of_a_head_with_old_names(tmp_path: Path) -> None:
    """`bert.` before every name, gamma and beta in layer norms, unused tensors."""
    from safetensors.torch import load_file, save_file

    folder = models.write_model(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    renamed = {"bert." + name: tensor for name, tensor in tensors.items()}
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in renamed.items()
    }
    renamed["cls.predictions.bias"] = torch.zeros(3)
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    assert difference(folder, TEXTS) <= ATOL


@pytest.mark.parametrize(
    ("dtype", "form"),
    [(torch.float16, "single"), (torch.bfloat16, "single"), (torch.bfloat16, "sharded"),
     (torch.float16, "pickled"), (torch.bfloat16, "pickled")],
)  # fmt: skip
def test_checkpoint_forms(tmp_path: Path, dtype: torch.dtype, form: str) -> None:
    """Half precision is computed in float32; sharded and pickled checkpoints are equal."""
    from safetensors.torch import load_file, save_file

    folder = models.write_model(tmp_path / "model")
    path = folder / "model.safetensors"
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(path).items()}
    path.unlink()
    rewrite(folder / "config.json", dtype=str(dtype).removeprefix("torch."))
    if form == "single":
        save_file(tensors, path, metadata={"format": "pt"})
    elif form == "sharded":
        names = sorted(tensors)
        weight_map = {}
        for number, start in enumerate(range(0, len(names), 20)):
            shard = f"model-{number}.safetensors"
            save_file(
                {name: tensors[name] for name in names[start : start + 20]},
                folder / shard,
                metadata={"format": "pt"},
            )
            weight_map.update(dict.fromkeys(names[start : start + 20], shard))
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": weight_map})
        )
    else:
        torch.save(tensors, folder / "pytorch_model.bin")
    assert difference(folder, TEXTS) <= ATOL


def test_pickled_dense(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = models.write_model(tmp_path / "model", heads=[Pooling(32, "mean"), Dense(32, 8)])
    dense = folder / "2_Dense"
    torch.save(load_file(dense / "model.safetensors"), dense / "pytorch_model.bin")
    (dense / "model.safetensors").unlink()
    assert difference(folder, TEXTS) <= ATOL


@pytest.mark.parametrize("model_type", VERIFIED)
def test_neighbours_do_not_matter(tmp_path: Path, model_type: str) -> None:
    """A longer text in the batch changes no component of a unit vector by more than 1e-6."""
    folder = models.write_model(
        tmp_path / model_type, model_type, heads=[Pooling(32, "mean"), Normalize()]
    )
    encoder = build(folder, micro_batch_tokens=10**6)
    alone = embed(encoder, TEXTS[:8], batch_size=1)
    together = embed(encoder, [*TEXTS[:8], "world " * 40], batch_size=1000)[:-1]
    assert np.abs(alone - together).max() <= 1e-6


def test_micro_batches_keep_rows_in_order(tmp_path: Path) -> None:
    folder = models.write_model(tmp_path / "model", heads=[Pooling(32, "mean"), Normalize()])
    results = [
        embed(build(folder, micro_batch_tokens=size), TEXTS, batch_size=64)
        for size in (1, 40, 100, 10**6)
    ]
    for left, right in itertools.pairwise(results):
        assert np.abs(left - right).max() <= 1e-6


def test_prompts_and_truncated_dimensions(tmp_path: Path) -> None:
    prompts = {"query": "hello: ", "passage": "world: ", "odd name/é": "the "}
    folder = models.write_model(
        tmp_path / "model",
        heads=[Pooling(32, "mean"), Normalize()],
        prompts=prompts,
        default_prompt_name="passage",
        truncate_dim=10,
    )
    encoder, model = build(folder), reference(folder)
    assert encoder.dim == 10
    assert encoder.signatures["serving_default"].prompt == "world: "
    assert set(encoder.signatures) == {
        "serving_default", "encode_query", "encode_document", "encode_passage", "encode_odd_name__"
    }  # fmt: skip
    expected = {
        "serving_default": model.encode(TEXTS),
        "encode_query": model.encode_query(TEXTS),
        "encode_document": model.encode_document(TEXTS),
        "encode_passage": model.encode(TEXTS, prompt_name="passage"),
        "encode_odd_name__": model.encode(TEXTS, prompt_name="odd name/é"),
    }
    for signature, answer in expected.items():
        assert (
            np.abs(embed(encoder, TEXTS, encoder.signatures[signature].prompt) - answer).max()
            <= ATOL
        )
    assert build(folder, prompt_name="query").signatures["serving_default"].prompt == "hello: "
    assert build(folder, truncate_dim=5).dim == 5
