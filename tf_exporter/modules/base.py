"""The base classes of modules: features → features, as in sentence-transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from tf_exporter.modules.features import Features
from tf_exporter.tokenizers.chat.frame import Frame
from tf_exporter.tokenizers.chat.settings import Use
from tf_exporter.tokenizers.contract import ReferenceTokenizer, TextTokenizer
from tf_exporter.tokenizers.ops.stripping import stripped
from tf_exporter.tokenizers.post_processors import Encodings
from tf_exporter.tokenizers.spec import TokenizerSpec

MIN_MICRO_BATCH_TOKENS = 2**14
"""The smallest `micro_batch_tokens` of a module that looks tokens up, as a token costs little."""


class Module(tf.Module):
    """A module of a model."""

    pads_leak = False
    """Whether padding changes the reference's result for a text. It never changes ours."""
    leaves_prompt_out = False
    """Whether the result leaves out the tokens of a prompt."""
    unused: tuple[str, ...] = ()
    """Patterns for the names of tensors that the module does not need."""

    def __call__(self, features: Features) -> Features:
        """The features, including those that the module adds or replaces."""
        raise NotImplementedError


class TextModule(Module):
    """A module with a tokenizer. It is the first module of a model."""

    tokenizer_spec: TokenizerSpec
    hf_tokenizer: ReferenceTokenizer
    """The tokenizer that gives the expected token ids."""
    tokenizer: TextTokenizer
    micro_batch_tokens: int
    """The approximate number of tokens in a micro-batch."""
    max_rows: int | None = None
    """The most texts in a micro-batch; None: no limit."""
    takes_long = False
    """Whether texts can be so long that `for_long_texts` is better."""
    least_length = 0
    """The least number of tokens that a row is padded to."""
    strips = False
    """Whether texts are stripped of white space at both ends first, prompts included."""
    counts_prompt = True
    """Whether a pooling after this module may leave out the tokens of a prompt."""
    aligned: Callable[[], TextTokenizer] | None = None
    """Builds the tokenizer of `bare_encodings` whose encodings have offsets; None without one."""
    truncated_to: int | None = None
    """The length that texts are truncated to because the reference fails for longer ones."""

    def prepare(self, uses: Sequence[Use], pairs: bool) -> None:
        """Prepares the module for the signatures of a model, before any other call.

        Args:
            uses: their prompts and tasks.
            pairs: whether they take pairs of texts.

        Raises:
            UnsupportedError: the model's chat template is not reproduced for one of them.
        """

    def encodings(self, use: Use, *texts: tf.Tensor) -> Encodings:
        """Bytes [batch], for pairs twice → the token ids of each text or pair with its prompt."""
        first, *second = texts
        first = with_prompt(use.prompt, first)
        return self.bare_encodings(stripped(first) if self.strips else first, *second)

    def bare_encodings(self, *texts: tf.Tensor) -> Encodings:
        """Bytes [batch], for pairs twice → the token ids without a prompt and not stripped."""
        return self.tokenizer.pairs(*texts) if len(texts) > 1 else self.tokenizer(*texts)

    def frames(self) -> dict[Use, Frame]:
        """The text that a chat template puts around texts, for each use; empty without one."""
        return {}

    @property
    def tokens_around(self) -> int:
        """The number of tokens around a text without a prompt."""
        return self.tokenizer_spec.single.added

    def for_long_texts(self, features: Features) -> Features:
        """The same result, with less working memory for long texts."""
        return self(features)


def with_prompt(prompt: str, texts: tf.Tensor) -> tf.Tensor:
    """The texts with the prompt before each."""
    return tf.strings.join([tf.constant(prompt.encode("utf-8")), texts]) if prompt else texts
