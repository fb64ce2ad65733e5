"""Checkpoints that the Model Garden's own encoders write, and the outputs of those encoders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from fixtures import models
from tests.exports.test_encoder import inputs_of
from tests.model.test_google import CONFIG
from tf_exporter import convert

pytestmark = pytest.mark.engines
GARDEN = Path(sys.prefix) / "garden"
"""Where `make test-engines` unpacks tf-models-official, without its many dependencies."""

# Writes the checkpoint of an encoder with random weights, and the outputs of the encoder.
ENCODER = """
import os, sys
os.environ["TF_USE_LEGACY_KERAS"] = "1"
sys.path.insert(0, sys.argv[1])
import json
import numpy as np
import tensorflow as tf
from official.modeling.tf_utils import get_activation
from official.nlp.modeling.layers.masked_lm import MaskedLM
from official.nlp.modeling.networks.bert_encoder import BertEncoder, BertEncoderV2

_, _, folder, kind, root = sys.argv
config = json.load(open(f"{folder}/bert_config.json"))
options = {
    "vocab_size": config["vocab_size"],
    "hidden_size": config["hidden_size"],
    "num_layers": config["num_hidden_layers"],
    "num_attention_heads": config["num_attention_heads"],
    "max_sequence_length": config["max_position_embeddings"],
    "type_vocab_size": config["type_vocab_size"],
    "inner_dim": config["intermediate_size"],
}
if kind == "BertEncoder":
    encoder = BertEncoder(**options, dict_outputs=True)
else:
    encoder = BertEncoderV2(**options)
inputs = {name: tf.constant(array) for name, array in np.load(f"{folder}/inputs.npz").items()}
encoder(inputs)
head = MaskedLM(encoder.get_embedding_table(), activation=get_activation(config["hidden_act"]))
positions = tf.zeros([len(inputs["input_mask"]), 1], tf.int32)
head(encoder(inputs)["sequence_output"], positions)
generator = np.random.default_rng(3)
for variable in [*encoder.variables, *head.variables]:
    mean = 1.0 if "gamma" in variable.name else 0.0
    variable.assign(generator.normal(mean, 0.15, variable.shape))
outputs = encoder(inputs)
tf.train.Checkpoint(**{root: encoder, "masked_lm": head}).write(f"{folder}/bert_model.ckpt")
np.savez(
    f"{folder}/outputs.npz",
    pooled_output=outputs["pooled_output"],
    encoder_outputs=np.stack(outputs["encoder_outputs"]),
    mlm_logits=head(outputs["sequence_output"], positions),
)
"""


@pytest.mark.parametrize(
    ("kind", "root"),
    [("BertEncoder", "model"), ("BertEncoder", "encoder"), ("BertEncoderV2", "encoder")],
)
def test_encoders(kind: str, root: str, tmp_path: Path) -> None:
    if not GARDEN.is_dir():
        pytest.skip("tf-models-official is not installed; make test-engines does that")
    (tmp_path / "bert_config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "vocab.txt").write_text("\n".join(models.VOCAB) + "\n")
    batch = inputs_of("bert")[1]
    np.savez(tmp_path / "inputs.npz", **batch)  # type: ignore[arg-type]  # str keys
    command = [sys.executable, "-c", ENCODER, str(GARDEN), str(tmp_path), kind, root]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    convert(tmp_path, tmp_path / "out", export_type="encoder-with-mlm", verify="off")
    model = tf.saved_model.load(str(tmp_path / "out"))
    inputs = {name: tf.constant(array) for name, array in batch.items()}
    positions = tf.zeros([len(batch["input_mask"]), 1], tf.int32)
    result = model.mlm({**inputs, "masked_lm_positions": positions})
    with np.load(tmp_path / "outputs.npz") as expected:
        present = batch["input_mask"][np.newaxis, :, :, np.newaxis] > 0
        layers = np.stack([layer.numpy() for layer in result["encoder_outputs"]])
        np.testing.assert_allclose(
            layers * present, expected["encoder_outputs"] * present, rtol=0, atol=1e-5
        )
        np.testing.assert_allclose(
            result["pooled_output"].numpy(), expected["pooled_output"], rtol=0, atol=1e-5
        )
        np.testing.assert_allclose(
            result["mlm_logits"].numpy(), expected["mlm_logits"], rtol=0, atol=1e-4
        )
