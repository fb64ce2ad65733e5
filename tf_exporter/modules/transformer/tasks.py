"""A Transformer for one of its tasks."""

from __future__ import annotations

from tf_exporter.layers.low_rank import for_task
from tf_exporter.modules.base import TextModule
from tf_exporter.modules.features import Features
from tf_exporter.modules.transformer.layer import Transformer


class TaskTransformer(TextModule):
    """A Transformer with the adapter of one task. It shares all variables with the Transformer."""

    def __init__(self, transformer: Transformer, task: int):
        """`task`: the number of the task."""
        super().__init__()
        self.transformer, self._task = transformer, task
        self.tokenizer_spec, self.tokenizer = transformer.tokenizer_spec, transformer.tokenizer
        self.hf_tokenizer, self.aligned = transformer.hf_tokenizer, transformer.aligned
        self.micro_batch_tokens, self.max_rows = (
            transformer.micro_batch_tokens,
            transformer.max_rows,
        )
        self.takes_long, self.strips = transformer.takes_long, transformer.strips
        self.truncated_to, self.pads_leak = transformer.truncated_to, transformer.pads_leak

    def __call__(self, features: Features) -> Features:
        with for_task(self._task):
            return self.transformer(features)

    def for_long_texts(self, features: Features) -> Features:
        with for_task(self._task):
            return self.transformer.for_long_texts(features)
