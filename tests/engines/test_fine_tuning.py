"""A small exported BERT, fine-tuned in Keras with TensorFlow Hub's layer and exported again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import models
from tf_exporter import convert

pytestmark = pytest.mark.engines

# The label says whether both sentences have the same word of two; one sentence is not enough.
TRAINING = """
import json, random, sys
import numpy as np
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras

_, preprocessing, encoder_path, trainable, exported = sys.argv
tf_keras.utils.set_random_seed(1)
random_ = random.Random(2)
fillers = "the of and to in is was for that with you not this but are from".split()

def sentence(word):
    words = random_.choices(fillers, k=4)
    words.insert(random_.randrange(5), word)
    return " ".join(words)

def examples(count):
    both = ["hello", "world"]
    words = [(random_.choice(both), random_.choice(both)) for _ in range(count)]
    texts = [[sentence(pair[side]) for pair in words] for side in range(2)]
    return texts, np.array([first == second for first, second in words], np.int32)

preprocessor = hub.load(preprocessing)

def packed(first, second, label):
    tokens = [preprocessor.tokenize(first), preprocessor.tokenize(second)]
    return preprocessor.bert_pack_inputs(tokens, seq_length=24), label

def dataset(texts, labels):
    return tf.data.Dataset.from_tensor_slices((*texts, labels)).batch(64).map(packed).cache()

encoder = hub.KerasLayer(encoder_path, trainable=trainable == "trainable", name="encoder")
inputs = {
    name: tf_keras.layers.Input(shape=(None,), dtype=tf.int32, name=name)
    for name in ("input_word_ids", "input_mask", "input_type_ids")
}
pooled = encoder(inputs)["pooled_output"]
model = tf_keras.Model(inputs, tf_keras.layers.Dense(2, name="logits")(pooled))
before = [variable.numpy() for variable in encoder.variables]
loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(tf_keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
train, test = examples(4096), examples(512)
batches = dataset(*train)
for _ in range(8):
    model.fit(batches, verbose=0)
    accuracy = model.evaluate(dataset(*test), verbose=0)[1]
    if accuracy > 0.99:
        break
moved = [bool(np.any(old != new.numpy())) for old, new in zip(before, encoder.variables)]


class ExportModel(tf.Module):
    def __init__(self, preprocessor, classifier):
        super().__init__()
        self.preprocessor, self.classifier = preprocessor, classifier
        self.names = tf.constant(["different", "same"])

    @tf.function(input_signature=[{
        "sentence1": tf.TensorSpec([None], tf.string),
        "sentence2": tf.TensorSpec([None], tf.string),
    }])
    def __call__(self, inputs):
        tokens = [self.preprocessor.tokenize(inputs[name]) for name in ("sentence1", "sentence2")]
        inputs = self.preprocessor.bert_pack_inputs(tokens, seq_length=24)
        logits = self.classifier(inputs, training=False)
        best = tf.argmax(logits, axis=-1)
        return {"logits": logits, "class_id": best, "class": tf.gather(self.names, best)}


texts, labels = test
strings = {"sentence1": tf.constant(texts[0]), "sentence2": tf.constant(texts[1])}
whole = ExportModel(preprocessor, model)
logits = whole(strings)["logits"].numpy()
tf.saved_model.save(whole, exported)
again = tf.saved_model.load(exported)
outputs = again(strings)
np.savez(f"{exported}.npz", logits=logits)
print(json.dumps({
    "accuracy": accuracy,
    "moved": sum(moved),
    "variables": len(moved),
    "trainable": len(model.trainable_variables),
    "same": bool(np.array_equal(outputs["logits"].numpy(), logits)),
    "classes": float(np.mean((outputs["class"].numpy() == b"same") == labels)),
}))
"""

RELOADED = """
import sys
import numpy as np
import tensorflow as tf
assert "tf_keras" not in sys.modules
model = tf.saved_model.load(sys.argv[1])
print(sorted(model.signatures["serving_default"].structured_outputs))
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    pytest.importorskip(
        "tensorflow_hub", reason="tensorflow_hub is not installed; make test-engines does that"
    )
    place = tmp_path_factory.mktemp("fine_tuning")
    source = models.write_transformer(place / "source", "bert")
    convert(source, place / "preprocessing", export_type="preprocessing", default_seq_length=24)
    convert(source, place / "encoder", export_type="encoder")
    return place / "preprocessing", place / "encoder"


def train(pair: tuple[Path, Path], how: str, output: Path) -> dict[str, float]:
    command = [sys.executable, "-c", TRAINING, *map(str, pair), how, str(output)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]
    metrics: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return metrics


def test_training(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """It learns what a frozen encoder cannot; all weights change; the new export is equal."""
    metrics = train(pair, "trainable", tmp_path / "exported")
    assert metrics["accuracy"] >= 0.95, metrics
    assert metrics["classes"] == pytest.approx(metrics["accuracy"]), metrics
    assert metrics["same"]
    # Without the attribute do_lower_case, which is a variable too.
    assert metrics["moved"] == metrics["variables"] == metrics["trainable"] - 2, metrics
    code = [sys.executable, "-c", RELOADED, str(tmp_path / "exported")]
    result = subprocess.run(code, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.strip() == "['class', 'class_id', 'logits']"


def test_frozen(pair: tuple[Path, Path], tmp_path: Path) -> None:
    metrics = train(pair, "frozen", tmp_path / "exported")
    assert metrics["accuracy"] < 0.95, metrics
    assert metrics["moved"] == 0 and metrics["trainable"] == 2, metrics
