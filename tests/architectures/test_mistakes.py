"""Deliberate mistakes in every architecture: quick verification has to catch each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fixtures import models
from fixtures.clip import write_clip
from fixtures.models import Normalize, Pooling, rewrite
from fixtures.unverified import UNVERIFIED
from tests.support.helpers import answer, build
from tests.support.mistakes import MISTAKES
from tf_exporter import VerificationError
from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import open_weights
from tf_exporter.verification.outputs import compare
from tf_exporter.verification.plans import BATCH
from tf_exporter.verification.reference import Job
from tf_exporter.verification.reference_process import load
from tf_exporter.verification.sample_texts import decoded, quick_texts
from tf_exporter.verification.tolerances import of_embeddings

pytestmark = pytest.mark.slow

ATOL = 1e-5


def write(folder: Path, model_type: str) -> Path:
    if model_type in UNVERIFIED:
        # A conversion has no reference for it, but the tests have one.
        return UNVERIFIED[model_type].write(folder)
    if model_type == "clip":
        return write_clip(folder) / "0_CLIPModel"
    return models.write_model(folder, model_type, heads=[Pooling(32, "mean"), Normalize()])


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_every_mistake_is_caught(model_type: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", model_type)
    source = ModelSource(folder, str(folder))
    model = build(folder)
    if not model.first.config.counts_padding(model.first.tokenizer_spec.pad_id):
        # Causal models never see padding on the right, so that it goes to the left here.
        rewrite(folder / "tokenizer_config.json", padding_side="left")
        model = build(folder)
    pipeline, first = model.pipelines[""], model.first
    raw = quick_texts(32, 2, ["[MASK]"])[::3]
    texts = [decoded(text) for text in raw]
    if model_type in UNVERIFIED:
        expected = UNVERIFIED[model_type].embeddings(folder, texts, 32).numpy()
    else:
        expected = answer(
            load(str(folder), "SentenceTransformer", None, None),
            Job(texts, "", 1 if pipeline.pads_leak else BATCH),
        )
    encodings = first.tokenizer(tf.constant(raw))
    batches = [
        first.tokenizer.padding(encodings, slice(start, start + BATCH))
        for start in range(0, len(raw), BATCH)
    ]

    def rebuild() -> Any:
        weights = open_weights(source).without_prefix(ARCHITECTURES[model_type].prefix)
        first.encoder = ARCHITECTURES[model_type].build(first.config, weights)
        return first.encoder

    def check() -> None:
        result = np.concatenate([pipeline._compute(padded, None)[0].numpy() for padded in batches])
        compare("serving_default", result, expected, of_embeddings("float32", ATOL), texts)

    rebuild()
    check()
    caught, missed = [], []
    for name, mistake in MISTAKES.items():
        with pytest.MonkeyPatch.context() as patch:
            if mistake(rebuild(), patch):
                try:
                    check()
                    missed.append(name)
                except VerificationError:
                    caught.append(name)
    assert not missed
    assert len(caught) >= 10, caught
