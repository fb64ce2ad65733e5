"""Strings → labels: a sequence classification model with the names of its labels in the graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tensorflow as tf

from tf_exporter.errors import UnsupportedError
from tf_exporter.graph import TextModel, flatten, paired
from tf_exporter.options import Options
from tf_exporter.source import ModelSource
from tf_exporter.spec import CROSS_ENCODER, ModelSpec, read_model

FIRST, SECOND = "sentence1", "sentence2"
LOGITS, CLASS_ID, CLASS, PROBABILITIES = "logits", "class_id", "class", "probabilities"
_PROBLEMS = {
    None: tf.nn.softmax,
    "single_label_classification": tf.nn.softmax,
    "multi_label_classification": tf.sigmoid,
}
"""`problem_type` of config.json → what makes probabilities of logits, as transformers' text-classification pipeline."""


class Classifier(tf.Module):
    """What is saved: called with one list of texts or two."""

    def __init__(self, source: ModelSource, options: Options):
        super().__init__()
        spec = read_model(source)
        file = _config(source, spec)
        problem = file.take("problem_type", (str, type(None)))
        if problem not in _PROBLEMS:
            raise file.unsupported("problem_type", [name for name in _PROBLEMS if name])
        self._probabilities = _PROBLEMS[problem]
        self.problem = problem or "single_label_classification"
        self.labels = spec.labels
        if len(self.labels) < 2:
            supported = "two labels or more; --export-type sentence-embedding gives the score of a model that has one"
            raise UnsupportedError(file.file, "id2label", list(self.labels), supported)
        # Logits, whatever a CrossEncoder would make of them.
        self.model = TextModel(source, replace(spec, activation_fn="Identity", prompts={}, default_prompt_name=None), options)
        self.folder, self.spec = spec.transformers[0].folder, spec
        [self._pipeline] = self.model.pipelines.values()
        # Of no tokens, transformers makes nothing, or something that depends on the other texts.
        self._always_tokens = self._pipeline.first.tokenizer_spec.single.added > 0
        texts = tf.TensorSpec(None, tf.string)
        self._one = tf.function(self._classify, input_signature=[texts], autograph=False)
        self._two = tf.function(self._classify_pairs, input_signature=[texts, texts], autograph=False)
        self._sentences = options.sentences
        self.__call__ = self._two if options.sentences == 2 else self._one

    def _classify(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._answers(self._pipeline.first.tokenizer(flatten(texts, FIRST)))

    def _classify_pairs(self, texts: tf.Tensor, pairs: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._answers(self._pipeline.first.tokenizer.pairs(*paired(texts, pairs, (FIRST, SECOND))))

    def _answers(self, encodings: Any) -> dict[str, tf.Tensor]:
        """float32 [batch, labels] logits and probabilities; int64 [batch] the label with the highest logit, and its name."""
        if not self._always_tokens:
            message = "a text without any token cannot be classified; the tokens of each are"
            some = tf.reduce_all(encodings.lengths > 0)
            with tf.control_dependencies([tf.debugging.Assert(some, [message, encodings.lengths])]):
                encodings = encodings._replace(lengths=tf.identity(encodings.lengths))
        logits = self._pipeline(encodings, None)
        best = tf.argmax(logits, axis=1)
        return {
            LOGITS: logits,
            CLASS_ID: best,
            CLASS: tf.gather(tf.constant([label.encode() for label in self.labels]), best),
            PROBABILITIES: self._probabilities(logits),
        }

    def signature_functions(self) -> dict[str, Any]:
        """`classify` of one text, `classify_pair` of two; one of them is `serving_default`."""
        first, second = (tf.TensorSpec(None, tf.string, name=name) for name in (FIRST, SECOND))
        one = tf.function(lambda sentence1: self._one(sentence1), input_signature=[first], autograph=False)
        two = tf.function(
            lambda sentence1, sentence2: self._two(sentence1, sentence2), input_signature=[first, second], autograph=False
        )
        return {"serving_default": two if self._sentences == 2 else one, "classify": one, "classify_pair": two}


def _config(source: ModelSource, spec: ModelSpec) -> Any:
    file = spec.transformers[0].encoder_config if spec.transformers else None
    if file is None or spec.kind != CROSS_ENCODER or spec.transformers[0].task != "sequence-classification":
        values = source.read_object("config.json") if source.exists("config.json") else {}
        raise UnsupportedError(
            "config.json", "architectures", values.get("architectures"), "a …ForSequenceClassification model, for a classifier"
        )
    return file
