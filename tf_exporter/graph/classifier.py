"""Strings → labels: a sequence classification model with its label names in the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import tensorflow as tf

from tf_exporter.graph.description import Description
from tf_exporter.graph.inputs import flatten, paired
from tf_exporter.graph.text_checks import NeedsTokens
from tf_exporter.graph.text_model import TextModel
from tf_exporter.model.source import ModelSource
from tf_exporter.model.untyped import Function
from tf_exporter.modules.classifier import MULTI_LABEL, SINGLE_LABEL, ClassifierSpec
from tf_exporter.names import (
    CLASS,
    CLASS_ID,
    CLASSIFY,
    DEFAULT,
    FIRST,
    LOGITS,
    PROBABILITIES,
    SECOND,
)
from tf_exporter.options import Options
from tf_exporter.tokenizers.post_processors import Encodings

_PROBABILITIES = {SINGLE_LABEL: tf.nn.softmax, MULTI_LABEL: tf.sigmoid}
"""`problem_type` → function from logits to probabilities, as in transformers' pipeline."""


class Classifier(tf.Module):
    """The saved object. It is called with one or two lists of texts."""

    def __init__(self, source: ModelSource, spec: ClassifierSpec, options: Options):
        super().__init__()
        # The outputs are logits, without the activation of a CrossEncoder.
        model = replace(spec.model, activation_fn="Identity", prompts={}, default_prompt_name=None)
        self.model = TextModel(source, model, options)
        self._labels, self._probabilities = spec.labels, _PROBABILITIES[spec.problem]
        [self._pipeline] = self.model.pipelines.values()
        self._tokenizer = self._pipeline.first.tokenizer
        if not self._pipeline.first.tokenizer_spec.single.added:
            # Without tokens, transformers has no result, or one that depends on the other texts.
            self._pipeline.checks.append(NeedsTokens())
        texts = tf.TensorSpec(None, tf.string)
        self._one = tf.function(self._classify, input_signature=[texts], autograph=False)
        self._two = tf.function(
            self._classify_pairs, input_signature=[texts, texts], autograph=False
        )
        self._sentences = options.sentences
        self.__call__ = self._two if options.sentences == 2 else self._one

    def _classify(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._outputs(CLASSIFY[0], self._tokenizer, flatten(texts, FIRST))

    def _classify_pairs(self, texts: tf.Tensor, pairs: tf.Tensor) -> dict[str, tf.Tensor]:
        both = paired(texts, pairs, (FIRST, SECOND))
        return self._outputs(CLASSIFY[1], self._tokenizer.pairs, *both)

    def _outputs(
        self, name: str, encode: Callable[..., Encodings], *texts: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """float32 [batch, labels] logits and probabilities; [batch] int64 labels and their names.

        The label of a text is the one with the highest logit.
        """
        [logits] = self._pipeline.joined(self.model.queues, name, encode, None, texts)
        best = tf.argmax(logits, axis=1)
        return {
            LOGITS: logits,
            CLASS_ID: best,
            CLASS: tf.gather(tf.constant([label.encode() for label in self._labels]), best),
            PROBABILITIES: self._probabilities(logits),
        }

    def describe(self) -> Description:
        """The description of the model, without its weights."""
        description = self.model.describe()
        [signature] = description.signatures.values()
        leaking = frozenset(CLASSIFY) if description.leaking else description.leaking
        signatures = dict.fromkeys(CLASSIFY, signature)
        return replace(
            description,
            output=LOGITS,
            inputs=(FIRST, SECOND),
            signatures=signatures,
            leaking=leaking,
        )

    def signature_functions(self) -> dict[str, Function]:
        """`classify` for one text and `classify_pair` for two; `serving_default` is one of them."""
        first, second = (tf.TensorSpec(None, tf.string, name=name) for name in (FIRST, SECOND))
        one = tf.function(
            lambda sentence1: self._one(sentence1), input_signature=[first], autograph=False
        )
        two = tf.function(
            lambda sentence1, sentence2: self._two(sentence1, sentence2),
            input_signature=[first, second],
            autograph=False,
        )
        return {DEFAULT: two if self._sentences == 2 else one, **dict(zip(CLASSIFY, (one, two)))}
