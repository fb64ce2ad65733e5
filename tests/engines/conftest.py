"""A converted model for the engines, with its expected embeddings."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from fixtures import models
from fixtures.multi_vector import EXPANSIONS, write_multi_vector
from tests.support.helpers import hostile_texts, reference
from tf_exporter import convert
from tf_exporter.verification.sample_texts import (
    decoded,
)

PROMPTS = {"query": "query: ", "document": "passage: "}


@dataclass(frozen=True)
class Served:
    """An artifact and the embeddings of the reference."""

    source: Path
    """The model of sentence-transformers."""
    folder: Path
    texts: list[bytes]
    expected: dict[str, np.ndarray]
    """Signature → float32 [texts, dim]"""


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A small model with prompts, converted and verified, and its expected embeddings."""
    place = tmp_path_factory.mktemp("served")
    heads = [models.Pooling(32, "mean"), models.Normalize()]
    source = models.write_model(place / "source", heads=heads, prompts=PROMPTS)
    convert(source, place / "model")
    texts = hostile_texts()
    assert len(texts) >= 200
    model = reference(source)
    strings = [decoded(text) for text in texts]
    expected = {
        "serving_default": model.encode(strings),
        "encode_query": model.encode_query(strings),
        "encode_document": model.encode_document(strings),
    }
    return Served(source, place / "model", texts, expected)


@pytest.fixture(scope="session")
def joined(served: Served) -> Served:
    """The same model with `--request-batching`, in TensorFlow Serving's layout."""
    base = served.folder.with_name("joined")
    options = {"serving": "tf-serving", "request_batching": True, "verify": "off"}
    return replace(served, folder=convert(served.source, base, **options).saved_model)


@dataclass(frozen=True)
class MultiVector:
    """A multi-vector model of sentence-transformers, and its artifact."""

    source: Path
    folder: Path


@pytest.fixture(scope="session")
def multi_vector(tmp_path_factory: pytest.TempPathFactory) -> MultiVector:
    """A small multi-vector model with prompts and longer queries, converted and verified."""
    place = tmp_path_factory.mktemp("multi_vector")
    expansion = EXPANSIONS["at least"]
    source = write_multi_vector(place / "source", expansion=expansion, prompts=PROMPTS)
    convert(source, place / "model")
    return MultiVector(source, place / "model")


def needs(*programs: str) -> None:
    """Skips a test if a program is not installed, and names the program."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; make test-engines says what it needs")
