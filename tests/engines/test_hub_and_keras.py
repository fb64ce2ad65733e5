"""The artifact in TensorFlow Hub, Keras 2, Keras 3 and saved_model_cli."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.engines.conftest import Served

pytestmark = pytest.mark.engines

LOADED = """
import sys
import numpy as np
import tensorflow as tf
import tensorflow_hub as hub
texts = np.load(sys.argv[2], allow_pickle=True).tolist()
np.save(sys.argv[3], hub.load(sys.argv[1])(tf.constant(texts)).numpy())
"""

# A tf-keras model: the hub layer from strings to embeddings, then a layer of its own.
KERAS_LAYER = """
import sys
import numpy as np
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras
texts = np.load(sys.argv[2], allow_pickle=True).tolist()
layer = hub.KerasLayer(sys.argv[1], input_shape=[], dtype=tf.string)
model = tf_keras.Sequential([layer, tf_keras.layers.Lambda(lambda x: x * 2)])
np.save(sys.argv[3], model(tf.constant(texts)).numpy() / 2)
assert model.output_shape == (None, 32), model.output_shape
assert not model.trainable_variables
"""

TFSM_LAYER = """
import sys
import keras
import numpy as np
import tensorflow as tf
assert keras.__version__.startswith("3."), keras.__version__
texts = np.load(sys.argv[2], allow_pickle=True).tolist()
layer = keras.layers.TFSMLayer(sys.argv[1], call_endpoint="serving_default")
np.save(sys.argv[3], layer(tf.constant(texts))["sentence_embedding"].numpy())
"""


@pytest.mark.parametrize(
    ("code", "package"), [(LOADED, "hub"), (KERAS_LAYER, "hub"), (TFSM_LAYER, "keras")]
)
def test_same_embeddings(served: Served, tmp_path: Path, code: str, package: str) -> None:
    """Each program runs in a fresh process with one of the two versions of Keras."""
    if package == "hub":
        pytest.importorskip(
            "tensorflow_hub", reason="tensorflow_hub is not installed; make test-engines does that"
        )
    np.save(tmp_path / "texts.npy", np.array(served.texts, object))
    command = [
        sys.executable,
        "-c",
        code,
        str(served.folder),
        str(tmp_path / "texts.npy"),
        str(tmp_path / "embeddings.npy"),
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    embeddings = np.load(tmp_path / "embeddings.npy")
    assert embeddings.shape == served.expected["serving_default"].shape
    assert np.abs(embeddings - served.expected["serving_default"]).max() <= 1e-5


def saved_model_cli(*arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("saved_model_cli")), *arguments]
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_saved_model_cli(served: Served, tmp_path: Path) -> None:
    model = ["--dir", str(served.folder), "--tag_set", "serve"]
    shown = saved_model_cli("show", *model, "--signature_def", "encode_query")
    assert "inputs['input_sequence'] tensor_info:" in shown and "dtype: DT_STRING" in shown
    assert "outputs['sentence_embedding'] tensor_info:" in shown and "shape: (-1, 32)" in shown
    texts = [["a query"], ["another, longer query"]]
    run = [
        "run",
        *model,
        "--signature_def",
        "serving_default",
        "--input_exprs",
        f"input_sequence={texts}",
    ]
    saved_model_cli(*run, "--outdir", str(tmp_path))
    from tests.support.helpers import reference

    expected = reference(served.source).encode([text for [text] in texts])
    assert np.abs(np.load(tmp_path / "sentence_embedding.npy") - expected).max() <= 1e-5
