"""The signature `tokenize_with_offsets`, and the mask of special tokens of `tokenize`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fixtures import heads, models
from fixtures.chat import write_chat_model
from fixtures.models import Normalize, Pooling
from fixtures.multi_vector import write_multi_vector
from tests.support.helpers import InProcessReference, build
from tests.support.refusals import refused
from tf_exporter import UsageError, VerificationError, convert
from tf_exporter.graph.exported import Exported
from tf_exporter.graph.text_model import TextModel
from tf_exporter.names import TOKENIZE_WITH_OFFSETS
from tf_exporter.tokenizers import pipeline
from tf_exporter.tokenizers.normalizers.steps import build_normalizer
from tf_exporter.tokenizers.post_processors import Padding, Truncation

TEXTS = ["hello World", "", "  Wörld [SEP] hello\u0301 [MASK]", "\u4e2dhello", "a " * 60]
NAMES = ("input_ids", "attention_mask", "special_tokens_mask", "offset_mapping")


def functions(folder: Path) -> dict[str, Any]:
    return Exported(build(folder)).signature_functions((TOKENIZE_WITH_OFFSETS,))


def check(outputs: Any, hf_tokenizer: Any, texts: list[str], *pairs: list[str]) -> None:
    """Compares the outputs with those of transformers."""
    expected = hf_tokenizer(
        texts,
        *pairs,
        padding=True,
        truncation="longest_first",
        max_length=32,
        return_special_tokens_mask=True,
        return_offsets_mapping=True,
    )
    assert set(outputs) == set(NAMES)
    for name in NAMES:
        assert outputs[name].dtype == tf.int32
        assert np.array_equal(outputs[name].numpy(), np.array(expected[name])), name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("offsets") / "model"
    modules = [Pooling(32, "mean"), Normalize()]
    return models.write_model(place, "bert", modules, prompts={"query": "hello "})


def test_signature(folder: Path) -> None:
    """The texts get no prompt, and offsets are places in the texts as they were given."""
    exported = functions(folder)
    assert set(exported) == {"serving_default", "tokenize", TOKENIZE_WITH_OFFSETS}
    hf_tokenizer = build(folder).first.hf_tokenizer
    outputs = exported[TOKENIZE_WITH_OFFSETS](tf.constant(TEXTS))
    check(outputs, hf_tokenizer, TEXTS)
    same = exported["tokenize"](tf.constant(TEXTS))
    assert set(same) == {*NAMES[:3]}
    for name in same:
        assert np.array_equal(same[name], outputs[name])


@pytest.mark.slow
def test_lower_case(tmp_path: Path) -> None:
    folder = models.write_model(tmp_path / "lower", "bert", do_lower_case=True)
    hf_tokenizer = build(folder).first.hf_tokenizer
    texts = [*TEXTS, "\u0130\u0130HELLO"]
    outputs = functions(folder)[TOKENIZE_WITH_OFFSETS](tf.constant(texts))
    check(outputs, hf_tokenizer, texts)


@pytest.mark.slow
def test_pairs(tmp_path: Path) -> None:
    folder = heads.write_saved_cross_encoder(tmp_path / "cross", max_length=32)
    hf_tokenizer = build(folder).first.hf_tokenizer
    pairs = TEXTS[::-1]
    exported = functions(folder)[TOKENIZE_WITH_OFFSETS]
    outputs = exported(input_sequence=tf.constant(TEXTS), pair_sequence=tf.constant(pairs))
    check(outputs, hf_tokenizer, TEXTS, pairs)


KINDS: dict[str, Callable[[Path], Path]] = {
    "multi-vector": write_multi_vector,
    "sparse": heads.write_sparse_encoder,
    "roberta": lambda folder: models.write_model(folder, "roberta"),
    "cross-encoder": heads.write_cross_encoder,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_conversion(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verification compares the offsets of every kind of model."""
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    folder = KINDS[kind](tmp_path / "model")
    conversion = convert(folder, tmp_path / "out", signatures=TOKENIZE_WITH_OFFSETS)
    plain = convert(folder, tmp_path / "plain")
    compared = [made.manifest["verification"]["token_texts"] for made in (conversion, plain)]
    assert compared[0] == 2 * compared[1]
    assert TOKENIZE_WITH_OFFSETS in conversion.manifest["signatures"]
    assert TOKENIZE_WITH_OFFSETS not in plain.manifest["signatures"]


def test_the_encoding_path_is_the_same(folder: Path) -> None:
    """The signature changes no node of the others."""
    model = build(folder)
    sizes = []
    for asked in ((), (TOKENIZE_WITH_OFFSETS,)):
        function = Exported(model).signature_functions(asked)["serving_default"]
        definition = function.get_concrete_function().graph.as_graph_def()
        nodes = [len(called.node_def) for called in definition.library.function]
        sizes.append([len(definition.node), *sorted(nodes)])
    assert sizes[0] == sizes[1]


@pytest.mark.slow
def test_refusals(folder: Path, tmp_path: Path) -> None:
    static = heads.write_static_model(tmp_path / "static", folder, [])
    refused(static, UsageError, "Transformer", signatures=TOKENIZE_WITH_OFFSETS)
    chat = write_chat_model(tmp_path / "chat")
    refused(chat, UsageError, "chat template", signatures=TOKENIZE_WITH_OFFSETS)


REAL_TRUNCATION: Any = Truncation._encodings
REAL_DESCRIBED: Any = Padding.described


def from_the_end(self: Any, tokens: Any, lengths: Any, kept: Any, added: int) -> Any:
    result = REAL_TRUNCATION(self, tokens, lengths, kept, added)
    return result._replace(spans=None if result.spans is None else result.spans[::-1])


MISTAKES: dict[str, tuple[Any, str, Any]] = {
    "spans in another order": (Truncation, "_encodings", from_the_end),
    "padding is not special": (
        Padding,
        "described",
        lambda self, encodings: (
            lambda made: made._replace(
                special_tokens_mask=made.special_tokens_mask * made.attention_mask
            )
        )(REAL_DESCRIBED(self, encodings)),
    ),
    "steps of the normalizer in one": (
        pipeline,
        "build_aligned_normalizer",
        build_normalizer,
    ),
    "another text": (
        TextModel,
        "tokenize_with_offsets",
        lambda self, texts: offsets_moved(self, texts),
    ),
}
REAL_TOKENIZE: Any = TextModel.tokenize_with_offsets


def offsets_moved(model: TextModel, texts: tf.Tensor) -> dict[str, tf.Tensor]:
    """Offsets that count the prompt of `encode_query`."""
    outputs = REAL_TOKENIZE(model, texts)
    return {**outputs, "offset_mapping": outputs["offset_mapping"] + 6}


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_caught(
    folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    monkeypatch.setattr(*MISTAKES[name])
    with pytest.raises(VerificationError, match="tokenize"):
        convert(folder, tmp_path / "out", signatures=TOKENIZE_WITH_OFFSETS)
