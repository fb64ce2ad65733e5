"""Texts for word models, and their comparison with the reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from fixtures import models
from tests.support.helpers import answer, build
from tf_exporter.graph.signatures import Signature
from tf_exporter.verification.reference import Job
from tf_exporter.verification.reference_process import load

ATOL = 1e-5
TEXTS = [
    *models.texts(1, 48),
    "hello",
    "Hello, WORLD! (hello) don't 'Tis",
    "ΟΔΥΣΣΕΥΣ, ΣΊΣΥΦΟΣ İSTANBUL STRASSE",
    "nothing 999 known",
    "the of and ... -",
    "hello " * 70,
]
MODES = ("mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
MEANS = ("mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
WEIGHTS = {"hello": 0.25, "Hello": 0.75, "html": 1.5, "world": 2, "Nowhere": 3.0}


def word_difference(
    folder: Path, texts: list[str] = TEXTS, prompt: str = "", leaks: bool = False, **options: Any
) -> float:
    """The largest absolute difference from the reference, in one batch; −∞ has to be equal.

    Where padding leaks in the reference, it computes each text by itself.
    """
    model, theirs = (
        build(folder, **options),
        load(str(folder), "SentenceTransformer", max_seq_length=options.get("max_seq_length")),
    )
    assert model.pipelines[""].pads_leak == leaks
    signature = Signature(prompt, "", "")
    expected = answer(theirs, Job(texts, prompt, 1 if leaks else 32))
    result = model.encode(tf.constant(texts), signature).numpy()
    alone = np.concatenate(
        [model.encode(tf.constant([text]), signature).numpy() for text in texts[:9]]
    )
    assert result.shape == expected.shape
    assert not np.isnan(expected).any() and np.isfinite(expected).any()
    assert np.array_equal(np.isinf(result), np.isinf(expected))
    differences = np.abs(
        np.where(np.isinf(result), 0, result) - np.where(np.isinf(expected), 0, expected)
    )
    assert np.abs(np.nan_to_num(alone) - np.nan_to_num(result[:9])).max() <= ATOL
    print(f"{differences.max():.1e}")
    return float(differences.max())


OLD_NAMES = {
    "sentence_transformer.modules.word_embeddings": "models",
    "sentence_transformer.modules.word_weights": "models",
    "sentence_transformer.modules.cnn": "models",
    "sentence_transformer.modules.lstm": "models",
    "sentence_transformer.modules.pooling": "models",
    "sentence_transformer.modules.bow": "models",
    "sentence_transformer.modules.weighted_layer_pooling": "models",
}


def to_old_names(folder: Path) -> Path:
    """Gives modules, tokenizer and keys the names of older models."""
    modules = (folder / "modules.json").read_text()
    for new, old in OLD_NAMES.items():
        modules = modules.replace(f"sentence_transformers.{new}.", f"sentence_transformers.{old}.")
    (folder / "modules.json").write_text(modules)
    for path in folder.rglob("*config.json"):
        values = json.loads(path.read_text())
        if "tokenizer_class" in values and path.name.startswith("word"):
            name = values["tokenizer_class"].rpartition(".")[2]
            values["tokenizer_class"] = f"sentence_transformers.models.tokenizer.{name}.{name}"
        for key, old in (
            ("in_embedding_dimension", "in_word_embedding_dimension"),
            ("embedding_dimension", "word_embedding_dimension"),
        ):
            if key in values:
                values[old] = values.pop(key)
        path.write_text(json.dumps(values))
    return folder
