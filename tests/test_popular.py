"""Small models with the modules of popular ones; the table in docs/models.md lists the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from fixtures import models
from fixtures.popular import POPULAR, Popular
from tests.support.helpers import answer, build, embed
from tests.support.multi_vector import difference
from tests.support.refusals import refused
from tf_exporter import UnsupportedError
from tf_exporter.model.reference.view import transformers_folder
from tf_exporter.model.source import ModelSource
from tf_exporter.modules.spec import read_model
from tf_exporter.verification.reference import Job
from tf_exporter.verification.reference_process import load

pytestmark = pytest.mark.slow

ATOL = 1e-5
TEXTS = [
    *models.texts(5, 30),
    "Ünïcödé façade ﬁ ½",
    "don't 1234 \n x",
    "世界 こんにちは",
    "👩‍👧 ok",
]
PAIRS = [*reversed(TEXTS)]


@pytest.mark.parametrize("popular", POPULAR, ids=lambda popular: popular.names[0])
def test_popular_model(popular: Popular, tmp_path: Path) -> None:
    folder = popular.write(tmp_path / "model")
    if popular.refused:
        refused(folder, UnsupportedError, *popular.words)
        return
    if popular.by_hand:
        expected = popular.by_hand(folder, TEXTS, 32).numpy()
        assert np.abs(embed(build(folder), TEXTS) - expected).max() <= ATOL
        return
    source = ModelSource(folder, str(folder))
    read_model(source)
    with transformers_folder(source) as place:
        theirs = load(str(place), popular.kind, None, None)
    model = build(folder)
    if popular.kind == "MultiVectorEncoder":
        assert difference(folder, TEXTS) <= ATOL
        return
    for name, signature in model.signatures.items():
        pairs = PAIRS if popular.kind == "CrossEncoder" else None
        batch_size = 1 if model.pipelines[signature.route].pads_leak else 32
        expected = answer(theirs, Job(TEXTS, signature.prompt, batch_size, signature.task, pairs))
        texts = tf.constant(TEXTS)
        result = (
            model.encode(texts, signature)
            if pairs is None
            else model.predict(texts, tf.constant(pairs), signature)
        )
        assert np.abs(result.numpy() - expected).max() <= ATOL, name
