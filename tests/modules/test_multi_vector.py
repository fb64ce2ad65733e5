"""Multi-vector models: the same vectors, masks and ids as the reference, in all its layouts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from safetensors.torch import load_file, save_file

from fixtures import models
from fixtures.multi_vector import (
    ABSENT,
    EXPANSIONS,
    MASKS,
    PROMPTS,
    write_multi_vector,
    write_pylate,
    write_stanford,
)
from tests.support.helpers import InProcessReference, build
from tests.support.multi_vector import TASKS, difference, ours
from tests.support.refusals import refused
from tf_exporter import UnsupportedError, WeightsError, convert
from tf_exporter.verification.reference_process import load

TOLERANCE = 1e-5
TEXTS = [
    *models.texts(3, 14),
    "",
    "hello, world! The (hello) - world; of the: hello?",
    "[Q] hello [D] world [MASK]",
    "hello " * 40,
]


def quick(names: Iterable[str], *some: str) -> list[Any]:
    """The parameters of a test, of which only some are quick."""
    return [pytest.param(name, marks=[pytest.mark.slow] * (name not in some)) for name in names]


@pytest.mark.parametrize("mask", quick(MASKS, "punctuation"))
@pytest.mark.parametrize("expansion", EXPANSIONS)
def test_own_layout(tmp_path: Path, expansion: str, mask: str) -> None:
    folder = write_multi_vector(
        tmp_path / "model",
        expansion=EXPANSIONS[expansion],
        mask=MASKS[mask],
        prompts=PROMPTS,
        document_length=20,
    )
    assert difference(folder, TEXTS) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("mask", ["punctuation", "both tasks"])
@pytest.mark.parametrize("expansion", EXPANSIONS)
@pytest.mark.parametrize(
    ("model_type", "tokenizer"),
    [("modernbert", "regex 1"), ("eurobert", "regex 1"), ("xlm-roberta", "xlm-roberta")],
)
def test_architecture(
    tmp_path: Path, model_type: str, tokenizer: str, expansion: str, mask: str
) -> None:
    folder = write_multi_vector(
        tmp_path / "model",
        model_type,
        expansion=EXPANSIONS[expansion],
        mask=MASKS[mask],
        tokenizer=tokenizer,
    )
    assert difference(folder, TEXTS) <= TOLERANCE


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "PyLate": write_pylate,
    "PyLate without expansion": lambda folder: write_pylate(folder, do_query_expansion=False),
    "PyLate with attention": lambda folder: write_pylate(folder, attend_to_expansion_tokens=True),
    "PyLate with words": lambda folder: write_pylate(folder, skiplist_words=["hello"]),
    "PyLate with known prefixes": lambda folder: write_pylate(
        folder, query_prefix="hello ", document_prefix="world"
    ),
    "PyLate of sentence-transformers 4": lambda folder: write_pylate(folder, kind=ABSENT),
    "PyLate of sentence-transformers 4 without words": lambda folder: write_pylate(
        folder, kind=ABSENT, skiplist_words=ABSENT
    ),
    "PyLate without a type, words and prefixes": lambda folder: write_pylate(
        folder,
        kind=ABSENT,
        skiplist_words=ABSENT,
        query_prefix=ABSENT,
        document_prefix=ABSENT,
    ),
    "PyLate with three Dense modules": lambda folder: write_pylate(folder, chain=(48, 32, 12)),
    "Stanford": write_stanford,
    "Stanford, attended": lambda folder: write_stanford(folder, attend_to_mask_tokens=True),
    "Stanford with punctuation": lambda folder: write_stanford(folder, mask_punctuation=False),
}


@pytest.mark.parametrize("name", quick(LAYOUTS, "PyLate", "Stanford", "PyLate with known prefixes"))
def test_older_layout(tmp_path: Path, name: str) -> None:
    assert difference(LAYOUTS[name](tmp_path / "model"), TEXTS) <= TOLERANCE


def test_a_dense_model_with_pylates_keys(tmp_path: Path) -> None:
    """Without a `model_type`, the reference does not read them, and a Pooling is not PyLate's."""
    folder = models.write_model(tmp_path / "model")
    file = folder / "config_sentence_transformers.json"
    values = {**json.loads(file.read_text()), "query_prefix": "hello ", "query_length": 8}
    del values["model_type"]
    file.write_text(json.dumps(values))
    assert build(folder).kind == "SentenceTransformer"


def test_words_that_are_no_token(tmp_path: Path) -> None:
    """They are named, and the reference ignores them, too."""
    mask = {"skiplist_words": ["hello", "two words", "absent"]}
    folder = write_multi_vector(tmp_path / "model", mask=mask)
    assert build(folder).describe().unknown_words == ("two words", "absent")
    assert difference(folder, TEXTS) <= TOLERANCE


def test_limits(tmp_path: Path) -> None:
    """A limit of queries below and above the length of the expansion, and one of documents."""
    texts = ["hello " * count for count in range(0, 40, 3)]
    cases: list[dict[str, Any]] = [
        {"query_length": 7, "document_length": 11},
        {"expansion": EXPANSIONS["at least"], "query_length": 14},
        {"expansion": EXPANSIONS["fixed"], "query_length": 30},
    ]
    for number, case in enumerate(cases):
        folder = write_multi_vector(tmp_path / f"model{number}", **case)
        assert difference(folder, texts) <= TOLERANCE


@pytest.mark.slow
def test_expansion_beyond_a_window(tmp_path: Path) -> None:
    """What such a place gives depends on torch's kernel in the reference."""
    fixed = {"strategy": "fixed", "length": 30}
    folder = write_multi_vector(tmp_path / "model", "modernbert", fixed, tokenizer="regex 1")
    refused(folder, UnsupportedError, "query_expansion.length", "every place sees")


@pytest.mark.slow
def test_batches(tmp_path: Path) -> None:
    """The same vectors one by one, in micro-batches, and together with long texts."""
    folder = write_multi_vector(tmp_path / "model", expansion=EXPANSIONS["at least"])
    whole, single = build(folder), build(folder, micro_batch_tokens=16)
    for name in TASKS:
        together, ids = ours(whole, TEXTS, name)
        for model, size in ((whole, 1), (single, len(TEXTS)), (single, 3)):
            for start in range(0, len(TEXTS), size):
                vectors, some = ours(model, TEXTS[start : start + size], name)
                assert some == ids[start : start + size]
                for one, other in zip(vectors, together[start:]):
                    assert np.abs(one - other).max(initial=0.0) <= TOLERANCE
        empty = whole.vectors(tf.constant([], tf.string), whole.signatures[name])
        assert [result.shape[0] for result in empty] == [0, 0, 0]


@pytest.mark.parametrize("similarity", ["maxsim", "meanmaxsim"])
def test_scores(tmp_path: Path, similarity: str) -> None:
    """Of one query and many documents, of pairs, and of documents without a vector."""
    mask = {"skiplist_words": ["hello"], "skiplist_tasks": ["query", "document"]}
    folder = write_multi_vector(tmp_path / "model", mask=mask, similarity=similarity)
    reference, model = load(str(folder), "MultiVectorEncoder"), build(folder)
    # Nothing is left of these texts but special tokens.
    queries, documents = [*TEXTS, "hello"], [*reversed(TEXTS), "hello hello"]
    query = [reference.encode_query([text])[0] for text in queries]
    document = [reference.encode_document([text])[0] for text in documents]
    one = reference.similarity(query[:1], document)[0].numpy()
    result = model.score(tf.constant(queries[:1]), tf.constant(documents)).numpy()
    np.testing.assert_allclose(result, one, atol=1e-5, rtol=1e-6)
    pairs = reference.similarity_pairwise(query, document).numpy()
    result = model.score(tf.constant(queries), tf.constant(documents)).numpy()
    np.testing.assert_allclose(result, pairs, atol=1e-5, rtol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="one for each document"):
        model.score(tf.constant(queries[:2]), tf.constant(documents))
    assert model.score(tf.constant(["a"]), tf.constant([], tf.string)).shape == (0,)


def test_documents_without_a_vector(tmp_path: Path) -> None:
    folder = write_multi_vector(tmp_path / "model", mask={"keep_only_token_ids": [9]})
    reference, model = load(str(folder), "MultiVectorEncoder"), build(folder)
    documents = ["", TEXTS[1], "nothing"]
    expected = reference.similarity(
        reference.encode_query(["hello"]), reference.encode_document(documents)
    )[0]
    result = model.score(tf.constant(["hello"]), tf.constant(documents)).numpy()
    np.testing.assert_allclose(result, expected.numpy(), rtol=1e-6)
    assert result.min() == -1e9


@pytest.mark.slow
def test_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors, ids and scores are verified; the manifest names all signatures."""
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    folder = write_multi_vector(
        tmp_path / "model", expansion=EXPANSIONS["fixed"], prompts={**PROMPTS, "other": "the "}
    )
    conversion = convert(folder, tmp_path / "out")
    assert conversion.verification["not_checked"] is None
    assert conversion.verification["max_abs_difference"] <= TOLERANCE
    assert set(conversion.manifest["signatures"]) == {*TASKS, "encode_other", "tokenize", "score"}
    graph = tf.saved_model.load(str(tmp_path / "out"))
    outputs = graph.signatures["encode_query"](input_sequence=tf.constant([["hello"], ["the"]]))
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        "token_embeddings": (2, 16, 12),
        "mask": (2, 16),
        "input_ids": (2, 16),
    }


def setting(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: models.rewrite(folder / "sentence_bert_config.json", **changes)


def in_mask(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: models.rewrite(folder / "2_MultiVectorMask/config.json", **changes)


def in_config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: models.rewrite(folder / "config_sentence_transformers.json", **changes)


def another_module(folder: Path) -> None:
    entries = json.loads((folder / "modules.json").read_text())
    kind = (
        "sentence_transformers.multi_vector_encoder.modules.token_pooling.HierarchicalTokenPooling"
    )
    entries.append({"idx": 4, "name": "4", "path": "4_Pooling", "type": kind})
    (folder / "modules.json").write_text(json.dumps(entries))


def first_module(path: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        entries = json.loads((folder / "modules.json").read_text())
        entries[0]["type"] = path
        (folder / "modules.json").write_text(json.dumps(entries))

    return change


FORWARD = {"method": "forward", "method_output_name": "last_hidden_state"}
FIXED = {"strategy": "fixed", "length": 16}
BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "query_length 0": (setting(query_length=0), "query_length"),
    "query_length below special tokens": (setting(query_length=1), "query_length"),
    "document_length below special tokens": (setting(document_length=1), "document_length"),
    "document_length beyond positions": (setting(document_length=9999), "document_length"),
    "length beyond positions": (
        setting(query_expansion={"strategy": "fixed", "length": 9999}),
        "query_expansion.length",
    ),
    "query_length below length": (
        setting(query_expansion=FIXED, query_length=8),
        "query_length",
    ),
    "no strategy": (setting(query_expansion={"length": 9}), "query_expansion.strategy"),
    "another strategy": (
        setting(query_expansion={"strategy": "max", "length": 9}),
        "query_expansion.strategy",
    ),
    "no length": (setting(query_expansion={"strategy": "min"}), "query_expansion.length"),
    "another key": (setting(query_expansion={**FIXED, "more": 1}), "query_expansion.more"),
    "unknown token": (setting(query_expansion={**FIXED, "token": "[X]"}), "query_expansion.token"),
    "attend": (setting(query_expansion={**FIXED, "attend": 1}), "query_expansion.attend"),
    "words": (in_mask(skiplist_words="abc"), "skiplist_words"),
    "a word": (in_mask(skiplist_words=[5]), "skiplist_words"),
    "tasks": (in_mask(skiplist_tasks=[5]), "skiplist_tasks"),
    "ids": (in_mask(keep_only_token_ids=["a"]), "keep_only_token_ids"),
    "ids beyond the table": (in_mask(keep_only_token_ids=[10**6]), "keep_only_token_ids"),
    "words of PyLate": (in_config(skiplist_words=[5]), "skiplist_words"),
    "ids below 0": (in_mask(keep_only_token_ids=[-1]), "keep_only_token_ids"),
    "key of the mask": (in_mask(more=1), "more"),
    "prefix": (in_config(query_prefix=5), "query_prefix"),
    "kind": (in_config(model_type="SentenceTransformer"), "MultiVectorEncoder"),
    "another first module": (
        first_module("sentence_transformers.models.StaticEmbedding"),
        "[0].type",
    ),
    "adapters for tasks": (first_module("custom_st.Transformer"), "[0].type"),
    "messages": (
        setting(modality_config={"text": FORWARD, "message": {**FORWARD, "format": "auto"}}),
        "modality_config",
    ),
    "pooling of tokens": (another_module, "HierarchicalTokenPooling"),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_multi_vector(tmp_path_factory.mktemp("small") / "model")


@pytest.mark.parametrize("name", BAD)
def test_refusals(small: Path, tmp_path: Path, name: str) -> None:
    change, word = BAD[name]
    folder = Path(shutil.copytree(small, tmp_path / "model"))
    change(folder)
    refused(folder, UnsupportedError, word)


def test_stanford_without_a_projection(tmp_path: Path) -> None:
    folder = write_stanford(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    del tensors["linear.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, WeightsError, "linear.weight")
