"""The modules that the texts of one route go through."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import tensorflow as tf

from tf_exporter.graph.request_batching import RequestQueues
from tf_exporter.graph.text_checks import TextCheck, checked
from tf_exporter.layers.int8 import Int8Product, exact_here
from tf_exporter.layers.long_texts import LONG
from tf_exporter.layers.small_batch import SMALL_BATCH_TOKENS, compute_small_batch
from tf_exporter.modules.base import Module, TextModule
from tf_exporter.modules.features import Features
from tf_exporter.tokenizers.missing_rows import row_check
from tf_exporter.tokenizers.ops.ragged import not_inlined, one_function
from tf_exporter.tokenizers.post_processors import Encodings, Padded

PARALLEL_MICRO_BATCHES = 4
"""The most micro-batches at a time, if there are threads for them (`inter_op_parallelism_threads`).

Two micro-batches with a thread each are faster than one after the other with two threads. Each has
its own working memory.
"""


Results = tuple[tf.Tensor, ...]


class Pipeline(tf.Module):
    """Encodings of texts → embeddings or scores, one row for each text."""

    def __init__(
        self,
        modules: Sequence[Module],
        output: str,
        dim: int,
        fixed: tuple[int | None, int | None] = (None, None),
    ):
        """`fixed`: the number of texts and of tokens per text; None: any."""
        super().__init__()
        self._fixed = fixed
        self.batch_size = fixed[0]
        first, *self.others = modules
        assert isinstance(first, TextModule)  # as `modules.spec` checks
        self.first = first
        self.dim = dim
        self.output = output
        """The feature that becomes the result."""
        self._function = one_function(self._results)
        row_checks = row_check(self.first.tokenizer_spec)
        self.checks: list[TextCheck] = [] if row_checks is None else [row_checks]
        """The checks of texts."""
        self._takes_long = first.takes_long
        self._max_rows = first.max_rows
        self.pads_leak = any(module.pads_leak for module in modules)
        """Whether padding changes the reference's result for a text. It never changes ours."""
        self.needs_prompt_length = first.counts_prompt and any(
            module.leaves_prompt_out for module in self.others
        )

    def results(self, encodings: Encodings, prompt_length: int | None) -> Results:
        """Tensors with a row for each text: a Pipeline has one, float32 [batch, dim].

        A token without an embedding is an error when the graph runs.
        """
        return self._function(checked(self.checks, encodings), prompt_length)

    def unchecked(
        self, encodings: Encodings, prompt_length: int | None
    ) -> tuple[Results, list[tf.Tensor]]:
        """The results, also for wrong texts, and what each check found; see `TextCheck.found`."""
        wrong = []
        for check in self.checks:
            encodings, found = check.found(encodings)
            wrong.append(found)
        return self._function(encodings, prompt_length), wrong

    def joined(
        self,
        queues: RequestQueues | None,
        key: Hashable,
        encode: Callable[..., Encodings],
        prompt_length: int | None,
        texts: tuple[tf.Tensor, ...],
    ) -> Results:
        """`results(encode(*texts), prompt_length)`, together with the texts of other calls.

        The checks are outside of the queue, so that a text is an error of its own call only.

        Args:
            queues: the queues of calls; None: no call is joined.
            key: the name of what is computed, among all that is.
            encode: strings [batch], once or twice → their encodings.
            prompt_length: see `prompt_length()`.
            texts: the arguments of `encode`.
        """
        if queues is None:
            return self.results(encode(*texts), prompt_length)

        def compute(*texts: tf.Tensor) -> Results:
            results, wrong = self.unchecked(encode(*texts), prompt_length)
            return *results, *wrong

        rows = queues.joined(key, compute, texts)
        count = len(rows) - len(self.checks)
        stops = [check.stop(found) for check, found in zip(self.checks, rows[count:])]
        with tf.control_dependencies(stops):
            return tuple(map(tf.identity, rows[:count]))

    def _width(self, encodings: Encodings) -> tf.Tensor:
        """The length of the longest row, padding to the first module's least length included."""
        least = [max(1, self.first.least_length)]
        return tf.reduce_max(tf.concat([encodings.lengths, least], 0))

    def _results(self, encodings: Encodings, prompt_length: int | None) -> Results:
        """A small batch is computed at once, any other in micro-batches."""
        if self._needs_kernel():
            encodings = encodings._replace(lengths=exact_here(encodings.lengths))
        batch, longest = tf.size(encodings.lengths), self._width(encodings)
        if self._fixed != (None, None):
            return self._with_fixed_shape(encodings, prompt_length)
        count = tf.cast(batch, tf.int64) * tf.cast(longest, tf.int64)
        # An empty batch has no first token.
        is_small = (batch > 0) & (count <= min(SMALL_BATCH_TOKENS, self.first.micro_batch_tokens))

        def at_once() -> Results:
            return self._compute(self.first.tokenizer.padding(encodings), prompt_length)

        # Not inlined: TensorFlow visits every op of an inlined branch, even if it is not taken.
        results = tf.cond(
            is_small,
            not_inlined(lambda: compute_small_batch(at_once)),
            not_inlined(lambda: self._in_micro_batches(encodings, prompt_length)),
        )
        return self._shaped(results)

    def _with_fixed_shape(self, encodings: Encodings, prompt_length: int | None) -> Results:
        """Computed all at once, as accelerators need it. A fixed batch is static."""
        batch, length = self._fixed
        padded = self.first.tokenizer.padding(encodings, length=length)
        padded = Padded(*(tf.ensure_shape(matrix, [batch, length]) for matrix in padded))
        [result] = self._compute(padded, prompt_length)
        return (tf.ensure_shape(result, [batch, self.dim]),)

    def _in_micro_batches(self, encodings: Encodings, prompt_length: int | None) -> Results:
        """Computed in micro-batches, the longest texts first.

        Each micro-batch is padded to its own longest text. So the cost grows with the number of
        tokens, and the working memory does not grow with the batch. Long texts have their own loop.
        """
        order = tf.argsort(encodings.lengths, direction="DESCENDING", stable=True)
        lengths = tf.gather(encodings.lengths, order)
        starts, sizes = tf.gather(encodings.starts, order), tf.gather(encodings.sizes, order)
        encodings = Encodings(encodings.ids, starts, sizes, lengths)
        batch, width = tf.shape(lengths)[0], self._width(encodings)
        least = max(1, self.first.least_length)

        def micro_batch(done: tf.Tensor, *results: tf.Tensor, long: bool = False) -> Results:
            rows = tf.maximum(1, self.first.micro_batch_tokens // tf.maximum(least, lengths[done]))
            rows = rows if self._max_rows is None else tf.minimum(rows, self._max_rows)
            end = tf.minimum(done + rows, batch)
            padded = self.first.tokenizer.padding(encodings, slice(done, end))
            computed = self._widened(self._compute(padded, prompt_length, long), width)
            places = order[done:end, tf.newaxis]
            return end, *(
                tf.tensor_scatter_nd_update(result, places, rows)
                for result, rows in zip(results, computed)
            )

        begin: Results = tf.constant(0), *self._empty(batch, width)
        shapes = tf.TensorShape([]), *self._shapes()
        if self._takes_long:
            short_from = tf.math.count_nonzero(lengths > LONG, dtype=tf.int32)

            def long_micro_batches() -> Results:
                state: Results = tf.while_loop(
                    lambda done, *_: done < short_from,
                    lambda *state: micro_batch(*state, long=True),
                    begin,
                    shape_invariants=shapes,
                    parallel_iterations=1,
                )
                return state

            # TensorFlow takes seconds to prepare the body of a loop, even if it never runs. It
            # prepares a branch only if it is taken.
            begin = tf.cond(short_from > 0, not_inlined(long_micro_batches), lambda: begin)
            for result, shape in zip(begin, shapes):
                result.set_shape(shape)
        _, *results = tf.while_loop(
            lambda done, *_: done < batch,
            micro_batch,
            begin,
            shape_invariants=shapes,
            parallel_iterations=PARALLEL_MICRO_BATCHES,
        )
        return tuple(results)

    def compute(self, padded: Padded) -> Results:
        """The results for a matrix of ids, computed at once. There is no prompt."""
        if self._needs_kernel():
            padded = padded._replace(input_ids=exact_here(padded.input_ids))
        return self._shaped(self._compute(padded, None))

    def _needs_kernel(self) -> bool:
        """Whether there are products in int8."""
        return any(isinstance(part, Int8Product) and part.needs_kernel for part in self.submodules)

    def _shapes(self) -> tuple[tf.TensorShape, ...]:
        """The static shapes of all results."""
        return (tf.TensorShape([None, self.dim]),)

    def _shaped(self, results: Results) -> Results:
        return tuple(map(tf.ensure_shape, results, self._shapes()))

    def _empty(self, batch: tf.Tensor, width: tf.Tensor) -> Results:
        """Results for all texts, to be filled. `width`: the length of the longest row."""
        return (tf.zeros([batch, self.dim]),)

    def _widened(self, results: Results, width: tf.Tensor) -> Results:
        """The results of a micro-batch, as wide as those for all texts."""
        return results

    def _compute(self, padded: Padded, prompt_length: int | None, long: bool = False) -> Results:
        """The results of the rows of a matrix."""
        return (self._features(padded, prompt_length, long)[self.output][:, : self.dim],)

    def _features(self, padded: Padded, prompt_length: int | None, long: bool) -> Features:
        features: Features = dict(padded._asdict())
        if prompt_length is not None:
            features["prompt_length"] = tf.constant(prompt_length)
        features = self.first.for_long_texts(features) if long else self.first(features)
        for module in self.others:
            features = module(features)
        return features

    def prompt_length(self, prompt: str) -> int | None:
        """The number of tokens that a pooling leaves out; None: it leaves out nothing.

        These are the tokens of the prompt by itself, without a special token at its end.
        """
        if not prompt or not self.needs_prompt_length:
            return None
        spec = self.first.tokenizer_spec
        limit = {"truncation": True, "max_length": spec.max_length} if spec.max_length else {}
        [ids] = self.first.hf_tokenizer([prompt], **limit)["input_ids"]
        return len(ids) - (ids[-1:] != [] and ids[-1] in spec.special_ids)
