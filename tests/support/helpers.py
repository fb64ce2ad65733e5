"""Helpers that run the graph and the reference side by side."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from tf_exporter.graph.signatures import Signature
from tf_exporter.graph.text_model import TextModel
from tf_exporter.model.source import ModelSource
from tf_exporter.modules.spec import read_model
from tf_exporter.names import DEFAULT
from tf_exporter.options import Options
from tf_exporter.tokenizers.chat.process import answer_to
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.tokenizers.spec import Part, TokenizerSpec, read_tokenizer
from tf_exporter.verification.reference import Answer, Job, Loading
from tf_exporter.verification.reference_process import answers_of_jobs, answers_to, load
from tf_exporter.verification.sample_texts import INVALID_UTF8, SENTENCES, generated_texts, words
from tf_exporter.verification.tokens import offset_mismatches, token_mismatches

LEAKING = ("convbert", "mobilebert")
"""Architectures whose embeddings in the reference depend on the padding."""


def build(folder: Path, **options: Any) -> TextModel:
    """The encoder of a model folder, not saved.

    Models with equal tokenizers share one, as it takes the most time to build.
    """
    source = ModelSource(folder, str(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tf_exporter.modules.transformer.layer.TokenizerGraph", _shared_tokenizer)
        # Templates are rendered in this process, which has loaded torch.
        patch.setattr("tf_exporter.tokenizers.chat.rendering._answer", _rendered_here)
        return TextModel(source, read_model(source), Options(**options))


def _rendered_here(file: str, template: str, request: dict[str, Any]) -> dict[str, Any]:
    return answer_to(json.loads(json.dumps(request)))


_tokenizers: dict[tuple[str, ...], TokenizerGraph | None] = {}


def _shared_tokenizer(spec: TokenizerSpec, backend: Tokenizer, ops: str) -> TokenizerGraph:
    # The backend determines the steps of the spec.
    rest = [
        getattr(spec, field.name)
        for field in fields(spec)
        if field.name not in ("normalizer", "pre_tokenizer", "model")
    ]
    key = backend.to_str(), ops, repr(rest)
    tokenizer = _tokenizers.get(key)
    if tokenizer is None:
        tokenizer = TokenizerGraph(spec, backend, ops)
        if key in _tokenizers:
            # The second use: tracing a function pays off.
            texts = tf.TensorSpec([None], tf.string)
            tokenizer._one_function = tf.function(
                tokenizer._tokens, input_signature=[texts], autograph=False
            )
            _tokenizers[key] = tokenizer
        else:
            _tokenizers[key] = None
    return tokenizer


def reference(folder: Path, **options: Any) -> SentenceTransformer:
    """sentence-transformers in float32 on the CPU."""
    return SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": torch.float32}, **options
    )


SINGLES = 6
"""The number of texts that `difference` also compares one by one."""


class InProcessReference:
    """`tf_exporter.verification.reference.Reference` in this process, which has loaded torch."""

    def __init__(self, folder: Path, package: str, waits: bool, renamed: dict[str, str]):
        self.waits, self._renamed = waits, renamed
        self._folder = folder
        self._answers: list[Answer] = []

    def submit(self, jobs: list[Job], loading: Loading) -> None:
        model = load(str(self._folder), *loading, renamed=self._renamed)
        self._answers = answers_of_jobs(model, self._folder, jobs)

    def wait(self) -> None:
        pass

    def answers(self) -> tuple[list[Answer], dict[str, str]]:
        return self._answers, {}

    def close(self) -> None:
        pass


def embed_with(folder: Path, texts: list[str], name: str, batch_size: int = 32) -> np.ndarray:
    """Embeddings of a folder's model, float32 [texts, dim], by the signature `name`."""
    model = build(folder)
    signature = model.signatures[name]
    starts = range(0, len(texts), batch_size)
    batches = (tf.constant(texts[start : start + batch_size]) for start in starts)
    return np.concatenate([model.encode(batch, signature).numpy() for batch in batches])


def embed(model: TextModel, texts: list[str], prompt: str = "", batch_size: int = 32) -> np.ndarray:
    """Embeddings, float32 [texts, dim], computed batch by batch."""
    signature = Signature(prompt, "", model.signatures[DEFAULT].route)
    batches = (texts[start : start + batch_size] for start in range(0, len(texts), batch_size))
    return np.concatenate(
        [model.encode(tf.constant(batch), signature).numpy() for batch in batches]
    )


def difference(folder: Path, texts: list[str], prompt: str = "", **options: Any) -> float:
    """The largest absolute difference from the reference, in batches of 32 and of 1.

    Where padding leaks in the reference, it computes each text by itself.
    """
    encoder, model = build(folder, **options), reference(folder)
    leaks = encoder.pipelines[""].pads_leak
    expected = model.encode(texts, prompt=prompt, batch_size=1 if leaks else 32)
    some = texts[:SINGLES]
    alone = np.concatenate([model.encode([text], prompt=prompt) for text in some])
    result = embed(encoder, texts, prompt)
    assert np.isfinite(result).all()
    return max(
        float(np.abs(result - expected).max()),
        float(np.abs(embed(encoder, some, prompt, batch_size=1) - alone).max()),
    )


def read_steps(normalizer: Any, pre_tokenizer: Any) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """The steps of a normalizer and a pre-tokenizer, read from a tokenizer that has them."""
    tokenizer = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    spec = read_tokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="?"), None)
    return spec.normalizer, spec.pre_tokenizer


def tokenizer_function(
    hf_tokenizer: Any, max_length: int | None, ops: str = "core"
) -> tuple[Callable[..., dict[str, tf.Tensor]], TokenizerSpec]:
    """The `tokenize` signature of a tokenizer by itself."""
    spec = read_tokenizer(hf_tokenizer, max_length)
    graph = TokenizerGraph(spec, hf_tokenizer.backend_tokenizer, ops)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def tokenize(input_sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        padded = graph.padding(graph(input_sequence))
        return {"input_ids": padded.input_ids, "attention_mask": padded.attention_mask}

    return tokenize, spec


def offsets_function(
    hf_tokenizer: Any, max_length: int | None
) -> tuple[Callable[..., dict[str, tf.Tensor]], TokenizerSpec]:
    """The `tokenize_with_offsets` signature of a tokenizer by itself."""
    spec = read_tokenizer(hf_tokenizer, max_length)
    graph = TokenizerGraph(spec, hf_tokenizer.backend_tokenizer, offsets=True)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def tokenize_with_offsets(input_sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        return graph.described(graph(input_sequence))._asdict()

    return tokenize_with_offsets, spec


def misplaced(hf_tokenizer: Any, texts: list[str], max_length: int | None = None) -> list[Any]:
    """`mismatches` of ids, offsets and special tokens masks."""
    tokenize, spec = offsets_function(hf_tokenizer, max_length)
    return list(offset_mismatches(tokenize, hf_tokenizer, spec, texts))


def check_refusal(result: subprocess.CompletedProcess[str], code: int, word: str) -> None:
    """Checks that a command ended with this exit code and one line that contains the word."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("convert-hf-model: ")
    assert word in last
    assert "Traceback" not in result.stderr


def hostile_texts() -> list[bytes]:
    """At least 200 texts: many scripts, controls, NUL, empty, too long, and invalid UTF-8."""
    random_ = random.Random(3)
    texts = ["", " ", "\x00", "a\x00b", *SENTENCES, *generated_texts(3, 80, ["[MASK]", "[SEP]"])]
    texts += [words(random_, random_.randint(1, 300)) for _ in range(80)]
    return [text.encode() for text in texts] + list(INVALID_UTF8)


def mismatches(hf_tokenizer: Any, texts: list[str], max_length: int | None = None) -> list[Any]:
    tokenize, spec = tokenizer_function(hf_tokenizer, max_length)
    return list(token_mismatches(tokenize, hf_tokenizer, spec, texts))


def answer(model: Any, job: Job) -> np.ndarray:
    """float32 embeddings [texts, dim] of the reference, or its scores.

    Raises:
        RuntimeError: the reference cannot encode a text.
    """
    result = answers_to(model, job)
    if result.failed:
        raise RuntimeError(f"not encoded: {result.failed}")
    return result.values
