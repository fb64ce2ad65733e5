"""`--export-type classifier`: strings to labels, with the logits of transformers."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import ModelOutput

from fixtures import heads, models
from fixtures.models import rewrite
from tests.architectures.test_remote_code import NEW
from tests.support.helpers import hostile_texts
from tests.support.tensorflow_2_12 import unknown_saved
from tf_exporter import UnsupportedError, VerificationError, convert
from tf_exporter.artifact.card import CardParts, card
from tf_exporter.heads.classification import ClassificationHead
from tf_exporter.model.reference import packages
from tf_exporter.verification.reference import Answer, IdsJob, Reference, packed, unpacked
from tf_exporter.verification.reference_process import answer_of_ids
from tf_exporter.verification.sample_texts import decoded

NAMES = {0: "no", 1: "yes", 2: "är det så? 中"}
TEXTS = hostile_texts()


def write(folder: Path, model_type: str = "bert", **changes: Any) -> Path:
    labels = {"id2label": NAMES, "label2id": {name: number for number, name in NAMES.items()}}
    return heads.write_plain_head(
        folder, model_type, AutoModelForSequenceClassification, **{**labels, **changes}
    )


def logits(source: Path, texts: list[bytes], pairs: list[bytes] | None = None) -> np.ndarray:
    """The logits of transformers, one text at a time."""
    tokenizer, model = (
        AutoTokenizer.from_pretrained(source),
        AutoModelForSequenceClassification.from_pretrained(source).eval(),
    )
    rows = []
    for row in range(len(texts)):
        # In lists, as transformers ignores an empty second text outside a list.
        both = [[decoded(side[row])] for side in (texts, pairs or []) if side]
        with torch.no_grad():
            rows.append(
                model(**tokenizer(*both, return_tensors="pt", truncation=True, max_length=48))
                .logits[0]
                .numpy()
            )
    return np.stack(rows)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("classifier") / "source")


@pytest.mark.slow
@pytest.mark.parametrize("sentences", [1, 2])
def test_answers(source: Path, tmp_path: Path, sentences: int) -> None:
    convert(source, tmp_path / "out", export_type="classifier", sentences=sentences)
    assert not unknown_saved(tmp_path / "out")
    model = tf.saved_model.load(str(tmp_path / "out"))
    pairs = TEXTS[3:] + TEXTS[:3]
    inputs = {
        "sentence1": tf.constant(TEXTS),
        **({"sentence2": tf.constant(pairs)} if sentences == 2 else {}),
    }
    result = model.signatures["serving_default"](**inputs)
    expected = logits(source, TEXTS, pairs if sentences == 2 else None)
    assert result.keys() == {"logits", "class_id", "class", "probabilities"}
    np.testing.assert_allclose(result["logits"].numpy(), expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(result["class_id"].numpy(), expected.argmax(1))
    assert [name.decode() for name in result["class"].numpy()] == [
        NAMES[number] for number in expected.argmax(1)
    ]
    probabilities = torch.softmax(torch.tensor(expected), 1).numpy()
    np.testing.assert_allclose(result["probabilities"].numpy(), probabilities, rtol=0, atol=1e-5)
    called = model(*inputs.values())
    np.testing.assert_allclose(called["logits"].numpy(), expected, rtol=0, atol=1e-5)
    both = model.signatures["classify_pair"](
        sentence1=tf.constant(TEXTS), sentence2=tf.constant(pairs)
    )
    one = model.signatures["classify"](sentence1=tf.constant(TEXTS))
    same = both if sentences == 2 else one
    np.testing.assert_allclose(same["logits"].numpy(), expected, rtol=0, atol=1e-5)
    nothing = model.signatures["classify"](sentence1=tf.constant([], tf.string))
    assert nothing["logits"].shape == (0, 3) and nothing["class"].shape == (0,)


def test_the_reference_answers_with_logits_alone(source: Path) -> None:
    """The outputs of all layers of a large model would take gigabytes."""
    batch = {
        "input_ids": np.array([[2, 5, 3]], np.int32),
        "attention_mask": np.ones((1, 3), np.int32),
    }
    with closing(Reference(source, packages.TRANSFORMERS)) as reference:
        reference.submit([IdsJob("AutoModelForSequenceClassification", batch)])
        [answered], versions = reference.answers()
    assert answered.arrays.keys() == {"logits"} and not answered.failed
    assert versions.keys() == {"transformers", "torch"}


@pytest.mark.slow
def test_two_lists_of_different_sizes(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", export_type="classifier", sentences=2, verify="off")
    model = tf.saved_model.load(str(tmp_path / "out"))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="sentence1 and sentence2 must have the same length"
    ):
        model(tf.constant(["a", "b"]), tf.constant(["a"]))


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["roberta", "mobilebert", "qwen2"])
def test_architectures(model_type: str, tmp_path: Path) -> None:
    """The conversion itself verifies single texts and pairs."""
    options = {"pad_token_id": 0} if model_type == "qwen2" else {}
    conversion = convert(
        write(tmp_path / "source", model_type, **options),
        tmp_path / "out",
        export_type="classifier",
    )
    assert conversion.verification["embedding_texts"] > 500
    if model_type == "qwen2":  # without special tokens, an empty text has no tokens
        model = tf.saved_model.load(str(tmp_path / "out"))
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="a text without any token cannot be classified"
        ):
            model(tf.constant(["a", ""]))


@pytest.mark.slow
def test_many_labels_at_once(tmp_path: Path) -> None:
    source = write(tmp_path / "source", problem_type="multi_label_classification")
    options: dict[str, Any] = {"batch_size": 4, "sequence_length": 24, "embeddings_on_cpu": True}
    convert(source, tmp_path / "out", export_type="classifier", **options)
    model = tf.saved_model.load(str(tmp_path / "out"))
    result = model.signatures["serving_default"](
        sentence1=tf.constant(["a", "hello world", "b c", ""])
    )
    np.testing.assert_allclose(
        result["probabilities"].numpy(),
        1 / (1 + np.exp(-result["logits"].numpy())),
        rtol=0,
        atol=1e-6,
    )
    assert model.signatures["serving_default"].structured_outputs["logits"].shape == [4, 3]
    with pytest.raises(tf.errors.InvalidArgumentError, match="compatible"):
        model.signatures["serving_default"](sentence1=tf.constant(["a"]))
    manifest = json.loads((tmp_path / "out/assets.extra/tf_exporter.json").read_text())
    assert (
        manifest["labels"] == [*NAMES.values()]
        and manifest["problem_type"] == "multi_label_classification"
    )
    assert manifest["batch_size"] == 4 and manifest["sequence_length"] == 24


@pytest.mark.slow
def test_served(source: Path, tmp_path: Path) -> None:
    """A classifier in the layout of a server."""
    conversion = convert(
        source, tmp_path / "models", export_type="classifier", serving="triton", verify="off"
    )
    config = (conversion.output_dir / "config.pbtxt").read_text()
    assert (
        'name: "class" data_type: TYPE_STRING' in config
        and 'name: "class_id" data_type: TYPE_INT64' in config
    )


def test_refusals(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(
        UnsupportedError, match=r"architectures = \['BertModel'\].*ForSequenceClassification"
    ):
        convert(models.write_transformer(tmp_path / "plain", "bert"), out, export_type="classifier")
    one = heads.write_cross_encoder(tmp_path / "one", labels=1)
    with pytest.raises(UnsupportedError, match=r"id2label = \['LABEL_0'\].*two labels or more"):
        convert(one, out, export_type="classifier")
    with pytest.raises(UnsupportedError, match=r"problem_type = 'regression'"):
        convert(
            write(tmp_path / "regression", problem_type="regression"), out, export_type="classifier"
        )
    assert not out.exists()


@pytest.mark.slow
def test_a_wrong_head_is_caught(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = ClassificationHead.__call__
    monkeypatch.setattr(
        ClassificationHead,
        "__call__",
        lambda self, tokens, *rest: right(self, tokens[:, ::-1], *rest),
    )
    with pytest.raises(VerificationError, match=r"classify: the output of .* differs"):
        convert(source, tmp_path / "out", export_type="classifier")


def test_published_with_code_of_its_own(tmp_path: Path) -> None:
    """The reference runs transformers' class on the translated config, never the model's code."""
    folder = write(tmp_path / "source", "gte", rope_theta=20.0)
    labels = {
        key: json.loads((folder / "config.json").read_text())[key]
        for key in ("id2label", "label2id")
    }
    (folder / "config.json").write_text(
        json.dumps({**NEW, **labels, "architectures": ["NewForSequenceClassification"]})
    )
    code = {
        "AutoConfig": "configuration.NewConfig",
        "AutoModelForSequenceClassification": "modeling.NewForSequenceClassification",
    }
    rewrite(folder / "config.json", auto_map=code, attn_implementation="flash_attention_2")
    for name in ("configuration.py", "modeling.py"):
        (folder / name).write_text("raise SystemExit('was run')")
    conversion = convert(folder, tmp_path / "out", export_type="classifier")
    assert conversion.verification["embedding_texts"] > 500
    assert conversion.verification["max_abs_difference"] <= 1e-5
    assert any("the reference was transformers' `gte`" in line for line in conversion.summary)


def test_only_torch_is_needed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verification needs transformers and torch, but not sentence-transformers."""
    missing = ("a_package_nobody_has",)
    monkeypatch.setitem(packages.NEEDED, packages.SENTENCE_TRANSFORMERS, missing)
    conversion = convert(source, tmp_path / "out", export_type="classifier")
    assert conversion.verification["embedding_texts"] > 100
    monkeypatch.setitem(packages.NEEDED, packages.TRANSFORMERS, missing)
    conversion = convert(source, tmp_path / "without", export_type="classifier")
    assert conversion.summary == [
        "Not verified: the logits: a-package-nobody-has is not installed."
    ]


def test_a_card_names_ops_that_a_server_has_to_load() -> None:
    parts = CardParts("classifier", "Texts in, labels out", "import tensorflow as tf\n\n…", "")
    values: dict[str, Any] = {
        "revision": None,
        "source": "model",
        "versions": {"tf-exporter": "1"},
        "request_batching": None,
    }
    own = card({**values, "custom_ops": ["FastWordpieceTokenizeWithOffsets"]}, parts, [])
    ops = "ops of tensorflow-text (FastWordpieceTokenizeWithOffsets)"
    assert f"TensorFlow ops and {ops}, whose library a server has to load" in own
    assert "import tensorflow_text" in own
    stock = card({**values, "custom_ops": []}, parts, [])
    assert "The graph consists of stock TensorFlow ops." in stock
    assert "tensorflow_text" not in stock


def test_failing_rows_are_identified_one_by_one() -> None:
    class Model:
        def __call__(self, input_ids: torch.Tensor, output_hidden_states: bool) -> Any:
            if (input_ids == 9).any():
                raise IndexError("no such id")
            return ModelOutput(logits=input_ids.float())

    batches = [
        {"input_ids": np.array(rows, np.int32)}
        for rows in ([[1, 2], [9, 3], [4, 5]], [[9, 9]], [[6, 7]])
    ]
    result: list[Answer] = [answer_of_ids(Model(), batch, layers=False) for batch in batches]
    assert [answer.failed for answer in result] == [{1: "no such id"}, {0: "no such id"}, {}]
    assert result[0].arrays["logits"].tolist() == [[1, 2], [4, 5]]
    # A batch without answers keeps its place.
    _, arrays = unpacked(packed({}, [answer.arrays for answer in result]))
    assert [sorted(answer) for answer in arrays] == [["logits"], [], ["logits"]]
