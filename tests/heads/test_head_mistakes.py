"""Deliberate mistakes in heads, which verification has to catch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from fixtures import heads
from fixtures.models import rewrite
from tests.modules.test_cross_encoders import ATOL, PAIRS, TEXTS
from tests.support.helpers import answer, build
from tf_exporter.errors import VerificationError
from tf_exporter.heads.causal_lm import CausalLMHead
from tf_exporter.heads.classification import LastTokenHead
from tf_exporter.heads.registry import HEADS
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.names import CROSS_ENCODER
from tf_exporter.verification.outputs import compare
from tf_exporter.verification.reference import Job
from tf_exporter.verification.reference_process import load
from tf_exporter.verification.tolerances import of_scores

pytestmark = pytest.mark.slow


def check(folder: Path) -> None:
    """Verifies scores or sparse embeddings as a conversion does, with fewer texts and no save."""
    model = build(folder)
    theirs = load(str(folder), model.kind, None, None)
    scores, signature = model.kind == CROSS_ENCODER, model.signatures["serving_default"]
    size = 1 if model.pipelines[""].pads_leak else 32
    expected = answer(
        theirs, Job(TEXTS, signature.prompt, size, signature.task, PAIRS if scores else None)
    )
    texts, pairs = tf.constant(TEXTS), tf.constant(PAIRS)
    result = model.predict(texts, pairs, signature) if scores else model.encode(texts, signature)
    compare("serving_default", result.numpy(), expected, of_scores("float32", ATOL), TEXTS)


def _with(name: str, value: Any) -> Any:
    """A function that builds a head as before and then replaces one attribute."""

    def patched(original: Any) -> Any:
        def make(*arguments: Any) -> Any:
            head = original(*arguments)
            setattr(head, name, value)
            return head

        return make

    return patched


def patch_heads(monkeypatch: pytest.MonkeyPatch, mistake: Any) -> None:
    """Puts the mistake into every kind of head; a model has one head."""
    for kind, original in HEADS.items():
        monkeypatch.setitem(HEADS, kind, mistake(original))


class _LastPlaceHead(LastTokenHead):
    def __call__(
        self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor
    ) -> tf.Tensor:
        return self.score(tokens[:, -1])


def _last_place(original: Any) -> Any:
    def make(*arguments: Any) -> Any:
        head = original(*arguments)
        head.__class__ = _LastPlaceHead
        return head

    return make


@pytest.mark.parametrize(
    ("model_type", "mistake"),
    [
        ("convbert", _with("_act", tf.tanh)),
        ("deberta", _with("_act", tf.tanh)),
        ("deberta", _with("_pooling", "mean")),
        ("deberta-v2", _with("_act", tf.tanh)),
        ("mobilebert", _with("_act", tf.identity)),
        ("mobilebert", _with("_pooling", "mean")),
        ("eurobert", _with("_pooling", "mean")),
        ("eurobert", _with("_act", tf.nn.relu)),
        ("gte", _with("_act", tf.identity)),
        ("nomic_bert", _with("_pooling", "mean")),
        ("jina_embeddings_v3", _with("_act", tf.nn.relu)),
        ("xlnet", _with("_act", tf.identity)),
        ("xlnet", _with("_pooling", "cls")),
        ("gemma3_text", _with("pad_id", -1)),
        ("qwen2", _last_place),
        ("qwen3", _with("pad_id", -1)),
        ("gemma", _last_place),
        ("gemma2", _with("pad_id", -1)),
        ("llama", _with("pad_id", -1)),
        ("ministral3", _last_place),
        ("mistral", _last_place),
        ("phi3", _last_place),
    ],
)
def test_wrong_classifiers_are_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_type: str, mistake: Any
) -> None:
    folder = heads.write_cross_encoder(tmp_path / "model", model_type)
    if model_type in ("gemma2", "gemma3_text", "llama", "qwen3"):
        rewrite(folder / "config.json", pad_token_id=3)
        rewrite(folder / "tokenizer_config.json", padding_side="left", pad_token="[SEP]")
    check(folder)
    patch_heads(monkeypatch, mistake)
    with pytest.raises(VerificationError, match="serving_default"):
        check(folder)


@pytest.mark.parametrize(
    ("model_type", "mistake"),
    [
        ("gemma", "first"),
        ("gemma2", "_softcap"),
        ("gemma3_text", "_softcap"),
        ("llama", "weight"),
        ("ministral3", "first"),
        ("mistral", "weight"),
        ("phi3", "weight"),
        ("qwen2", "weight"),
        ("qwen3", "first"),
    ],
)
def test_wrong_causal_heads_are_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_type: str, mistake: str
) -> None:
    cap: dict[str, Any] = (
        {"final_logit_softcapping": 0.5} if model_type in ("gemma2", "gemma3_text") else {}
    )
    folder = heads.write_logit_score(tmp_path / "model", model_type, **cap)

    def patched(original: Any) -> Any:
        def make(config: Any, weights: Any, encoder: Any) -> Any:
            head = original(config, weights, encoder)
            if mistake == "first":
                head.__class__ = _FirstPlaceHead
            else:
                assert hasattr(head, mistake)
                setattr(
                    head, mistake, None if mistake == "_softcap" else encoder.token_table.weight
                )
            return head

        return make

    check(folder)
    patch_heads(monkeypatch, patched)
    with pytest.raises(VerificationError, match="serving_default"):
        check(folder)


class _FirstPlaceHead(CausalLMHead):
    def __call__(
        self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor
    ) -> tf.Tensor:
        return super().__call__(tokens[:, :1], attention_mask, input_ids)


@pytest.mark.parametrize(
    ("model_type", "name", "value"),
    [
        ("convbert", "_act", tf.nn.relu),
        ("deberta", "_act", tf.nn.relu),
        ("deberta", "bias", None),
        ("deberta-v2", "_act", tf.nn.relu),
        ("eurobert", "bias", None),
        ("gte", "_act", tf.tanh),
        ("jina_embeddings_v3", "bias", None),
        ("mobilebert", "_act", tf.tanh),
        ("nomic_bert", "_act", TRANSFORMERS_ACTIVATIONS["gelu"]),
    ],
)
def test_wrong_masked_lms_are_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_type: str, name: str, value: Any
) -> None:
    folder = heads.write_sparse_encoder(tmp_path / "model", model_type)
    check(folder)
    patch_heads(monkeypatch, _with(name, value))
    with pytest.raises(VerificationError, match="serving_default"):
        check(folder)
