"""Models whose texts become messages of a chat template, beside the reference itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sentence_transformers.base.modules import Transformer
from transformers import AutoModelForSequenceClassification

from fixtures import chat
from fixtures.models import rewrite, texts
from tests.support.helpers import InProcessReference, answer, build, hostile_texts, reference
from tests.support.refusals import refused
from tf_exporter import UnsupportedError, convert
from tf_exporter.graph.text_model import TextModel
from tf_exporter.modules.transformer.chat import Chat
from tf_exporter.verification.reference import Job
from tf_exporter.verification.reference_process import load

ATOL = 1e-5
TEXTS = [*texts(1, 30), "  the hello \n", "\n\nof\n", "<|im_end|> </turn>", "the\x1c", "a" * 60]
HOSTILE = [text.decode(errors="replace") for text in hostile_texts()]
PAIRS = [*zip(HOSTILE, [*HOSTILE[50:], *HOSTILE[:50]])]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat.write_chat_model(tmp_path_factory.mktemp("saved") / "model")


def embedding_difference(folder: Path) -> dict[str, float]:
    """Signature → the largest absolute difference from the reference."""
    model, theirs = build(folder), reference(folder)
    result = {}
    for name, signature in model.signatures.items():
        ours = model.encode(tf.constant(TEXTS), signature).numpy()
        expected = answer(theirs, Job(TEXTS, signature.prompt, 32, signature.task))
        result[name] = float(np.abs(ours - expected).max())
    return result


def score_difference(folder: Path) -> dict[str, float]:
    model, theirs = build(folder), load(str(folder), "CrossEncoder")
    result, pairs = {}, TEXTS[::-1]
    for name, signature in model.signatures.items():
        ours = model.predict(tf.constant(TEXTS), tf.constant(pairs), signature).numpy()
        expected = answer(theirs, Job(TEXTS, signature.prompt, 32, "", pairs))
        result[name] = float(np.abs(ours - expected).max())
    return result


def some(names: Iterable[str], quick: str) -> list[Any]:
    """Parameters, of which all but one are slow."""
    return [pytest.param(name, marks=[pytest.mark.slow] * (name != quick)) for name in names]


@pytest.mark.parametrize("name", some(chat.TEMPLATES, "by task"))
def test_embeddings(tmp_path: Path, name: str) -> None:
    folder = chat.write_chat_model(tmp_path / "model", chat.TEMPLATES[name])
    found = embedding_difference(folder)
    assert set(found) == {"serving_default", "encode_query", "encode_document", "encode_odd"}
    assert max(found.values()) <= ATOL


@pytest.mark.parametrize("name", some(chat.PAIR_TEMPLATES, "judge"))
@pytest.mark.parametrize("causal", [True, False], ids=["next token", "label"])
def test_scores(tmp_path: Path, name: str, causal: bool) -> None:
    folder = chat.write_chat_reranker(tmp_path / "model", chat.PAIR_TEMPLATES[name], causal)
    found = score_difference(folder)
    assert set(found) == {"serving_default", "predict_query", "predict_odd"}
    assert max(found.values()) <= ATOL


def ids_of(model: TextModel, signature: str, *inputs: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask of a signature's prompts, padded."""
    use = model.signatures[signature].use
    encodings = model.first.encodings(use, *map(tf.constant, inputs))
    padded = model.first.tokenizer.padding(encodings)
    return padded.input_ids.numpy(), padded.attention_mask.numpy()


REAL = {
    "qwen3": {"query": "Instruct: find\nQuery: "},
    "gemma-3-1b-it": {"query": " task: search result | query: "},
    "llama-3-instruct": {"query": "\nRetrieve: "},
    "llama-3.1-instruct": {"query": "Retrieve "},
    "mistral-instruct-v0.1": {"query": "Represent: "},
    "phi-3-mini-128k-instruct": {"query": "Q: "},
    "InternVL3": {"query": "You find texts."},
    "llama-3.2-vision-instruct": {"query": "You find texts."},
    "deepseek-v3": {"query": ""},
    "baichuan-2-chat": {"query": "a "},
}
"""Published templates, with a prompt for each."""


@pytest.mark.parametrize("side", some(["right", "left"], "right"))
@pytest.mark.parametrize("name", some([*REAL, *chat.TEMPLATES], "qwen3"))
def test_ids_through_templates(tmp_path: Path, name: str, side: str) -> None:
    """At least 300 hostile texts, many of them truncated, with and without a prompt."""
    templates = {**chat.real_templates(), **chat.TEMPLATES}
    if name not in templates:
        pytest.skip("the package xinference is not installed")
    folder = chat.write_chat_model(
        tmp_path / "model", templates[name], REAL.get(name), max_length=60
    )
    rewrite(folder / "tokenizer_config.json", truncation_side=side)
    theirs, model = reference(folder), build(folder)
    compared = truncated = 0
    for signature in ("serving_default", "encode_query"):
        use = model.signatures[signature].use
        for start in range(0, len(HOSTILE), 64):
            batch = HOSTILE[start : start + 64]
            options = {"task": use.task} if use.task else {}
            expected = theirs.preprocess(batch, prompt=use.prompt, **options)
            ids, mask = ids_of(model, signature, batch)
            assert np.array_equal(ids, expected["input_ids"].numpy())
            assert np.array_equal(mask, expected["attention_mask"].numpy())
            compared += len(batch)
            truncated += int((mask.sum(1) == model.first.tokenizer_spec.max_length).sum())
    assert compared >= 2 * 200 and truncated >= 100


@pytest.mark.parametrize("name", some(chat.PAIR_TEMPLATES, "roles"))
def test_ids_of_pairs(tmp_path: Path, name: str) -> None:
    """At least 300 hostile pairs, with and without an instruction."""
    template = chat.PAIR_TEMPLATES[name]
    folder = chat.write_chat_reranker(tmp_path / "model", template, max_length=120)
    theirs, model = load(str(folder), "CrossEncoder"), build(folder)
    for signature in ("serving_default", "predict_query"):
        use = model.signatures[signature].use
        for start in range(0, len(PAIRS), 64):
            batch = PAIRS[start : start + 64]
            expected = theirs.preprocess(batch, prompt=use.prompt)
            ids, mask = ids_of(model, signature, *map(list, zip(*batch)))
            assert np.array_equal(ids, expected["input_ids"].numpy())
            assert np.array_equal(mask, expected["attention_mask"].numpy())
    assert 2 * len(PAIRS) >= 300


def same_ids(folder: Path, limit: int, signature: str = "encode_query") -> bool:
    """Whether the ids of texts around the limit equal the reference's."""
    theirs, model = reference(folder), build(folder)
    use = model.signatures[signature].use
    batch = [" ".join(["the"] * count) for count in range(limit)] + HOSTILE[:40]
    expected = theirs.preprocess(batch, prompt=use.prompt, task=use.task or None)
    ids, _ = ids_of(model, signature, batch)
    return np.array_equal(ids, expected["input_ids"].numpy())


@pytest.mark.parametrize(
    "processing",
    [
        {"chat_template": {"max_length": 31}, "text": {"max_length": 20}},
        *(
            pytest.param(processing, marks=pytest.mark.slow)
            for processing in (
                {"chat_template": {"add_generation_prompt": True}},
                {"chat_template": {"restore_suffix": False}},
                {
                    "text": {"max_length": 33, "truncation": True, "padding": "longest"},
                    "image": {"a": 1},
                },
                {"text": {"max_length": 100}},
                {"chat_template": {"max_length": 3}},
                {
                    "chat_template": {"bos_token": "<turn>", "add_generation_prompt": False},
                    "common": {},
                },
            )
        ),
    ],
    ids=str,
)
def test_processing_kwargs(tmp_path: Path, processing: dict[str, Any]) -> None:
    folder = chat.write_chat_model(
        tmp_path / "model", chat.TURNS, processing_kwargs=processing, max_position_embeddings=200
    )
    saved = json.loads((folder / "sentence_bert_config.json").read_text())
    assert saved["processing_kwargs"] == processing
    assert same_ids(folder, 60)
    assert max(embedding_difference(folder).values()) <= ATOL


@pytest.mark.slow
def test_end_of_a_text_that_just_fits(tmp_path: Path) -> None:
    """The reference overwrites the end of a full prompt, even if its tokens were others.

    Here the text ends in "<", which the tokenizer would merge with what follows.
    """
    folder = chat.write_chat_model(tmp_path / "model", "{{ messages[-1].content }}the hello")
    assert same_ids(folder, 60)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["restored", "ignored"])
def test_mistakes_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A suffix that is not restored, or one token less of it, is seen."""
    folder = chat.write_chat_model(tmp_path / "model", chat.CHATML)
    prepare = Chat.prepare

    def wrong(self: Chat, *arguments: Any) -> None:
        prepare(self, *arguments)
        suffixes = self._texts._suffixes
        keep = 1 if name == "restored" else 0
        self._texts._suffixes = {use: ids[:keep] for use, ids in suffixes.items()}

    assert same_ids(folder, 60)
    monkeypatch.setattr(Chat, "prepare", wrong)
    assert not same_ids(folder, 60)


def test_plain_folder(tmp_path: Path) -> None:
    """The reference uses the template of a transformers folder without modules.json."""
    folder = chat.write_plain_chat(tmp_path / "model", chat.TURNS)
    assert build(folder).first.frames()
    assert max(embedding_difference(folder).values()) <= ATOL
    folder = chat.write_plain_chat(tmp_path / "none", None)
    assert not build(folder).first.frames()
    assert max(embedding_difference(folder).values()) <= ATOL


@pytest.mark.slow
def test_plain_reranker(tmp_path: Path) -> None:
    folder = chat.write_plain_chat(
        tmp_path / "model", chat.JUDGE, AutoModelForSequenceClassification, num_labels=1
    )
    assert max(score_difference(folder).values()) <= ATOL


@pytest.mark.slow
def test_model_saved_before_the_message_modality(tmp_path: Path) -> None:
    """Without `modality_config`, the reference takes texts as they are."""
    folder = chat.write_chat_model(tmp_path / "model")
    rewrite(folder / "sentence_bert_config.json", modality_config="absent")
    assert not build(folder).first.frames()
    assert max(embedding_difference(folder).values()) <= ATOL


@pytest.mark.slow
def test_unknown_modalities_and_no_format(tmp_path: Path) -> None:
    folder = chat.write_chat_model(tmp_path / "model", chat.TURNS)
    path = folder / "sentence_bert_config.json"
    config = json.loads(path.read_text())["modality_config"]
    del config["message"]["format"]
    rewrite(path, modality_config={**config, "smell": {}})
    assert same_ids(folder, 40)
    rewrite(path, modality_config={"message": config["message"]})
    refused(folder, UnsupportedError, "sentence_bert_config.json", "modality_config", "text")
    with pytest.raises(ValueError, match="Modality 'text' is not supported"):
        reference(folder).preprocess(["a"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": {"method": "forward"}}, ["modality_config.image", "text and message"]),
        ({"image+text": {"method": "forward"}}, ["modality_config.image+text"]),
        ({"audio": {}}, ["modality_config.audio"]),
        ({"text": {"method": "embed"}}, ["modality_config.text", "forward"]),
        ({"message": {"method": "forward"}}, ["modality_config.message", "last_hidden_state"]),
        ({"message": None}, ["modality_config.message"]),
    ],
    ids=str,
)
def test_refused_modalities(
    saved: Path, tmp_path: Path, changes: dict[str, Any], words: list[str]
) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    path = folder / "sentence_bert_config.json"
    config = json.loads(path.read_text())["modality_config"]
    rewrite(path, modality_config={**config, **changes})
    refused(folder, UnsupportedError, "sentence_bert_config.json", *words)


@pytest.mark.parametrize(
    ("processing", "words"),
    [
        ({"chat_template": {"tokenize": False}}, ["chat_template.tokenize"]),
        ({"chat_template": {"conversation": []}}, ["chat_template.conversation"]),
        ({"chat_template": {"max_length": None}}, ["chat_template.max_length", "positive"]),
        ({"chat_template": {"sanitize_control_tokens": True}}, ["sanitize_control_tokens"]),
        ({"chat_template": {"padding": "max_length"}}, ["chat_template.padding"]),
        ({"chat_template": {"max_length": 0}}, ["chat_template.max_length", "positive"]),
        ({"chat_template": {"restore_suffix": "no"}}, ["restore_suffix", "bool"]),
        ({"text": {"truncation": False}}, ["text.truncation"]),
        ({"text": {"logits_to_keep": -1}}, ["logits_to_keep", "at least 0"]),
        ({"text": {"stride": 4}}, ["text.stride"]),
        ({"common": {"padding": "max_length"}}, ["common.padding"]),
        ({"text": 4}, ["processing_kwargs.text", "dict"]),
    ],
    ids=str,
)
def test_refused_arguments(
    saved: Path, tmp_path: Path, processing: dict[str, Any], words: list[str]
) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    rewrite(folder / "sentence_bert_config.json", processing_kwargs=processing)
    refused(folder, UnsupportedError, "sentence_bert_config.json", "processing_kwargs", *words)


def test_missing_template(tmp_path: Path) -> None:
    folder = chat.write_chat_model(tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    refused(folder, UnsupportedError, "tokenizer_config.json", "chat_template", "None", "message")


def test_template_that_refuses_a_prompt(tmp_path: Path) -> None:
    """As Gemma 2's, which has no system role; without prompts, the model converts."""
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('No system role') }}{% endif %}"
        "{{ messages[0].content }}"
    )
    folder = chat.write_chat_model(tmp_path / "model", template)
    refused(folder, UnsupportedError, "chat_template", "No system role", "with the prompt")
    folder = chat.write_chat_model(tmp_path / "none", template, prompts={"query": ""})
    assert max(embedding_difference(folder).values()) <= ATOL


@pytest.mark.slow
def test_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quick verification, through the template; the manifest says what stands around a text."""
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    folder = chat.write_chat_model(tmp_path / "model", chat.TURNS, default_prompt_name="odd")
    conversion = convert(folder, tmp_path / "out")
    assert conversion.verification["max_abs_difference"] <= ATOL
    slot = {"text": 0, "left": "white space", "right": "white space"}
    assert conversion.manifest["rendered"]["serving_default"] == [
        "<turn>user\n the hello: \n\n",
        slot,
        "</turn>\n",
    ]
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    none = loaded.signatures["serving_default"](tf.constant([], tf.string))
    assert none["sentence_embedding"].shape == (0, 32)
    texts = tf.constant([b" caf\xe9 ", b"\x00", b"\xff\n"])
    rows = loaded.signatures["tokenize"](texts)["input_ids"].numpy()
    transformer = Transformer.load(str(folder))
    inputs = [text.decode(errors="replace") for text in texts.numpy()]
    assert np.array_equal(rows, transformer.preprocess(inputs)["input_ids"].numpy())


@pytest.mark.slow
def test_conversion_of_a_reranker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    folder = chat.write_chat_reranker(tmp_path / "model", max_length=200)
    conversion = convert(folder, tmp_path / "out")
    assert conversion.verification["max_abs_difference"] <= ATOL
    parts = conversion.manifest["rendered"]["predict_query"]
    assert [part["text"] for part in parts if not isinstance(part, str)] == [0, 1]
    assert chat.PROMPTS["query"] in parts[0]
