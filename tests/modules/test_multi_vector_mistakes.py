"""Deliberate mistakes in multi-vector models: the verification of a conversion catches each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from fixtures.multi_vector import write_multi_vector
from tests.support.helpers import InProcessReference
from tf_exporter import VerificationError, convert
from tf_exporter.graph import text_model, token_pipeline
from tf_exporter.graph.token_pipeline import TokenPipeline
from tf_exporter.modules.multi_vector_mask.layer import MultiVectorMask
from tf_exporter.modules.normalize.layer import Normalize
from tf_exporter.modules.transformer.late import Lengths
from tf_exporter.modules.transformer.late_texts import ExpandedPadding, LateTransformer
from tf_exporter.names import QUERY

Patch = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_multi_vector(
        tmp_path_factory.mktemp("mistakes") / "model",
        expansion={"strategy": "fixed", "length": 14},
        mask={"skiplist_words": ["the", ".", "hello", ","]},
        prompts={"query": "hello ", "document": "world "},
        document_length=24,
    )


def expansion(change: Callable[[Any, int], tuple[Any, int]]) -> Patch:
    """A mistake in the expansion or in the id of its token."""

    def patch(patch: pytest.MonkeyPatch) -> None:
        real = ExpandedPadding.__init__

        def wrong(self: Any, spec: Any, expansion: Any, id: int) -> None:
            real(self, spec, *change(expansion, id))

        patch.setattr(ExpandedPadding, "__init__", wrong)

    return patch


def mask(change: Callable[[Any], None]) -> Patch:
    """A mistake in the settings of a mask."""

    def patch(patch: pytest.MonkeyPatch) -> None:
        real = MultiVectorMask.__init__

        def wrong(self: Any, *arguments: Any) -> None:
            real(self, *arguments)
            change(self)

        patch.setattr(MultiVectorMask, "__init__", wrong)

    return patch


def limits(**keys: str | None) -> Patch:
    """Tasks that have the limit of another one."""

    def patch(patch: pytest.MonkeyPatch) -> None:
        real = Lengths.limits

        def wrong(self: Any, *arguments: Any) -> Any:
            found = real(self, *arguments)
            return {**found, **{task: found[other or ""] for task, other in keys.items()}}

        patch.setattr(Lengths, "limits", wrong)

    return patch


def results(change: Callable[..., Any]) -> Patch:
    """A mistake in the vectors, masks or ids of all texts."""

    def patch(patch: pytest.MonkeyPatch) -> None:
        real = TokenPipeline._compute
        patch.setattr(
            TokenPipeline, "_compute", lambda self, *arguments: change(*real(self, *arguments))
        )

    return patch


def scores(change: Callable[..., Any]) -> Patch:
    real = token_pipeline.max_sim
    return lambda patch: patch.setattr(
        text_model, "max_sim", lambda query, document, mean: change(real, query, document, mean)
    )


def skips_in_queries(self: Any) -> None:
    self._skipped = self._skipped or [*range(5, 20)]


def no_task_is_a_query(patch: pytest.MonkeyPatch) -> None:
    real = LateTransformer.__init__
    patch.setattr(
        LateTransformer, "__init__", lambda self, model, task: real(self, model, task or QUERY)
    )


MISTAKES: dict[str, Patch] = {
    "a shorter expansion": expansion(lambda own, token: (replace(own, length=13), token)),
    "another token": expansion(lambda own, token: (own, token + 1)),
    "attended": expansion(lambda own, token: (replace(own, attend=True), token)),
    "expansion does not count": mask(lambda self: setattr(self, "_is_query", False)),
    "punctuation is kept": mask(lambda self: setattr(self, "_skipped", [])),
    "a word is kept": mask(lambda self: setattr(self, "_skipped", self._skipped[1:])),
    "queries skip words": mask(skips_in_queries),
    "only some ids": mask(lambda self: setattr(self, "_kept", [*range(60)])),
    "queries are longer": limits(query=None),
    "documents are longer": limits(document=None),
    "documents are as short as queries": limits(document="query"),
    "no task is a query": no_task_is_a_query,
    "not normalized": lambda patch: patch.setattr(
        Normalize, "__call__", lambda self, features: features
    ),
    "in another order": results(lambda vectors, mask, ids: (tf.reverse(vectors, [1]), mask, ids)),
    "ids of other places": results(
        lambda vectors, mask, ids: (vectors, mask, tf.roll(ids, 1, 1) * mask)
    ),
    "the first vector left out": results(
        lambda vectors, mask, ids: (vectors[:, 1:], mask[:, 1:], ids[:, 1:])
    ),
    "a mean": scores(lambda real, query, document, mean: real(query, document, True)),
    "the first query for all": scores(
        lambda real, query, document, mean: real(tuple(part[:1] for part in query), document, mean)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [None, *MISTAKES])
def test_mistakes_are_caught(
    folder: Path, tmp_path: Path, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    if name is None:
        assert convert(folder, tmp_path / "out").verification["not_checked"] is None
        return
    MISTAKES[name](monkeypatch)
    with pytest.raises(VerificationError):
        convert(folder, tmp_path / "out")
