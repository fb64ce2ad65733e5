"""`--serving tf-serving`: the server's C++ loader on the published folder, and new versions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.engines.conftest import Served
from tests.engines.test_c import program, run, tensors  # noqa: F401  # a fixture
from tests.support.helpers import reference
from tf_exporter import convert
from tf_exporter.artifact.serving.tf_serving import BATCH_SIZES, WARMUP

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def version(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first version of a model, as the server loads it."""
    return convert(
        served.source,
        tmp_path_factory.mktemp("tf-serving") / "model",
        serving="tf-serving",
        verify="off",
    ).output_dir


@pytest.mark.slow
def test_warmup_records_in_c(program: Path, version: Path, served: Served) -> None:  # noqa: F811
    """Each record in its own batch gives the reference's embeddings or token ids."""
    from tensorflow_serving.apis import prediction_log_pb2

    model = reference(served.source)
    encoders = {
        "serving_default": model.encode,
        "encode_query": model.encode_query,
        "encode_document": model.encode_document,
    }
    batches: dict[tuple[str, int], list[list[bytes]]] = {}
    for record in tf.data.TFRecordDataset(str(version / WARMUP)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        texts = tf.make_ndarray(request.inputs["input_sequence"]).tolist()
        batches.setdefault((request.model_spec.signature_name, len(texts)), []).append(texts)
    assert len(batches) == len(BATCH_SIZES) * 4
    for (signature, size), all_texts in batches.items():
        output = "input_ids" if signature == "tokenize" else "sentence_embedding"
        names = tensors(version, signature, output)
        result = run(program, version, names, [text for texts in all_texts for text in texts], size)
        for start, texts in zip(range(0, len(result), size), all_texts):
            rows, strings = (
                np.stack(result[start : start + size]),
                [text.decode() for text in texts],
            )
            if signature == "tokenize":
                assert np.array_equal(
                    rows, model.tokenizer(strings, padding=True, truncation=True)["input_ids"]
                )
            else:
                assert np.abs(rows - encoders[signature](strings)).max() <= 1e-5, (signature, size)


def files(folder: Path) -> dict[str, int]:
    """Every file and its size in bytes."""
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }


def first_sight(base: Path, work: Callable[[], object]) -> dict[str, dict[str, int]]:
    """The files of each new version at the moment a polling server would see it, during `work`."""
    seen: dict[str, dict[str, int]] = {}
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            for path in base.iterdir():
                if path.name.isdecimal() and path.name not in seen:
                    seen[path.name] = files(path)
            time.sleep(0.0005)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        work()
        time.sleep(0.1)
    finally:
        done.set()
        thread.join()
    return seen


def test_hot_swap(version: Path, served: Served, tmp_path: Path) -> None:
    """Version 2 appears beside version 1 only when it is complete."""
    base = tmp_path / "model"
    shutil.copytree(version, base / "1")
    command = [
        sys.executable,
        "-m",
        "tf_exporter.cli",
        str(served.source),
        str(base),
        "--serving",
        "tf-serving",
        "--verify",
        "off",
    ]
    seen = first_sight(base, lambda: subprocess.run([*command, "--quiet"], check=True))
    assert seen.keys() == {"1", "2"}
    assert seen["2"] == files(base / "2") and "saved_model.pb" in seen["2"] and WARMUP in seen["2"]
    loaded = tf.saved_model.load(str(base / "2"))
    assert (
        np.abs(loaded(tf.constant(served.texts)).numpy() - served.expected["serving_default"]).max()
        <= 1e-5
    )


def test_half_a_version_would_be_noticed(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is copied into place, not renamed, is seen incomplete."""

    def slowly(source: str, target: str) -> str:
        time.sleep(0.01)
        return shutil.copy2(source, target)

    rename = os.rename

    def copied(source: Path, target: Path) -> None:
        if Path(target).name == "1":
            shutil.copytree(source, target, copy_function=slowly)
        else:
            rename(source, target)

    monkeypatch.setattr(os, "rename", copied)
    base = tmp_path / "model"
    base.mkdir()
    seen = first_sight(
        base, lambda: convert(served.source, base, serving="tf-serving", verify="off")
    )
    assert seen["1"] != files(base / "1")
