"""Deliberate mistakes in merging an adapter: each shows in the embeddings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures import adapters, models
from tests.support.adapters import built
from tests.support.helpers import embed, reference
from tf_exporter.model.adapters import matching
from tf_exporter.model.adapters import pairs as tensors
from tf_exporter.model.adapters import weights as merging
from tf_exporter.model.adapters.config import AdapterConfig
from tf_exporter.model.adapters.matching import Pair

TOLERANCE = 1e-5
TEXTS = models.texts(3, 12)
LORA = {
    "target_modules": ["query", "word_embeddings", "output.dense"],
    "r": 3,
    "rank_pattern": {"query": 2},
    "alpha_pattern": {"layer.1.*query": 3},
    "lora_alpha": 5,
    "use_rslora": True,
    "bias": "lora_only",
    "modules_to_save": ["intermediate"],
}


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A model whose adapter uses everything, and the reference's embeddings."""
    folder = adapters.write_adapter(tmp_path_factory.mktemp("mistaken") / "model", lora=dict(LORA))
    return folder, reference(folder).encode(TEXTS)


def pairs(
    change: Callable[[AdapterConfig, str, Pair], Pair],
) -> Callable[[pytest.MonkeyPatch], None]:
    """A mistake in the pairs of modules."""

    def patch(patch: pytest.MonkeyPatch) -> None:
        real = matching.targeted

        def wrong(config: AdapterConfig, *arguments: Any) -> dict[str, Pair]:
            found = real(config, *arguments)
            return {module: change(config, module, pair) for module, pair in found.items()}

        patch.setattr(tensors, "targeted", wrong)

    return patch


def products(change: Callable[..., None]) -> Callable[[pytest.MonkeyPatch], None]:
    """A mistake in adding the product of a pair."""
    return lambda patch: patch.setattr(merging, "_add_product", change)


def real_product(matrix: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    matrix += left @ right


def without(*words: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Leaves the replacements out whose names have one of these words."""

    def patch(patch: pytest.MonkeyPatch) -> None:
        real = merging.MergedWeights._replacement

        def wrong(self: Any, name: str) -> Any:
            if any(word in name for word in words):
                return self._original(name.replace(".base_layer.", "."))
            return real(self, name)

        patch.setattr(merging.MergedWeights, "_replacement", wrong)
        patch.setattr(merging.MergedWeights, "finish", lambda self, *arguments: None)

    return patch


MISTAKES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "no adapter": products(lambda matrix, left, right: None),
    "no factor": pairs(lambda config, module, pair: pair._replace(scale=1.0)),
    "rank, not its root": pairs(
        lambda config, module, pair: pair._replace(scale=pair.scale / pair.rank**0.5)
    ),
    "alpha of all": pairs(
        lambda config, module, pair: pair._replace(scale=config.alpha / pair.rank**0.5)
    ),
    "rank of all": pairs(
        lambda config, module, pair: pair._replace(
            scale=pair.scale * (pair.rank / config.rank) ** 0.5
        )
    ),
    "subtracted": products(lambda matrix, left, right: real_product(matrix, -left, right)),
    "transposed": products(
        lambda matrix, left, right: real_product(
            matrix, *((right.T, left.T) if len(set(matrix.shape)) == 1 else (left, right))
        )
    ),
    "factor twice": pairs(lambda config, module, pair: pair._replace(scale=pair.scale**2)),
    "replaced, not added": products(lambda matrix, left, right: np.copyto(matrix, left @ right)),
    "embeddings left out": products(
        lambda matrix, left, right: (
            None if matrix.shape[0] > 100 else real_product(matrix, left, right)
        )
    ),
    "a rank left out": products(
        lambda matrix, left, right: real_product(matrix, left[:, 1:], right[1:])
    ),
    "only whole blocks": products(
        lambda matrix, left, right: real_product(matrix[:16], left[:16], right)
    ),
    "biases left out": without(".base_layer.bias"),
    "saved modules left out": without("intermediate.dense.weight"),
    "saved biases left out": without("intermediate.dense.bias"),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (index % 5 != 0))
        for index, name in enumerate([None, *MISTAKES])
    ],
)
def test_mistakes_are_seen(
    mistaken: tuple[Path, np.ndarray], name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, expected = mistaken
    if name is not None:
        MISTAKES[name](monkeypatch)
    worst = float(np.abs(embed(built(folder), TEXTS) - expected).max())
    assert (worst <= TOLERANCE) is (name is None), worst


def test_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "_BLOCK", 10)
    random = np.random.default_rng(0)
    matrix, left, right = (random.normal(size=size) for size in ((7, 3), (7, 2), (2, 3)))
    expected = matrix + 0.5 * left @ right
    merging._add_product(matrix, 0.5 * left, right)
    np.testing.assert_allclose(matrix, expected, rtol=1e-6)
