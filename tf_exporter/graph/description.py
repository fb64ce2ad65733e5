"""The description of a model for verification and the manifest, without its weights."""

from __future__ import annotations

from dataclasses import dataclass, field

from tf_exporter.graph.signatures import Signature
from tf_exporter.names import INPUT, PAIR
from tf_exporter.tokenizers.chat.frame import Frame
from tf_exporter.tokenizers.contract import ReferenceTokenizer
from tf_exporter.tokenizers.spec import TokenizerSpec


@dataclass(frozen=True)
class Description:
    """The description of a saved model."""

    kind: str
    """One of `names.KINDS`."""
    output: str
    """The name of the signatures' output."""
    dim: int
    signatures: dict[str, Signature]
    """The signatures that encode or score."""
    leaking: frozenset[str]
    """The signatures for which padding changes the reference's result for a text."""
    tokenizers: dict[str, tuple[ReferenceTokenizer, TokenizerSpec]]
    """Signature → the reference's tokenizer and its spec. `serving_default` comes first."""
    batch_size: int | None
    """The number of texts in each call; None: any."""
    poolings: tuple[tuple[str, ...], ...]
    micro_batch_tokens: int
    tokens_around: int
    """The number of tokens that `serving_default` has around a text, without a prompt."""
    frames: dict[str, Frame] = field(default_factory=dict)
    """Signature → the text that a chat template puts around its texts, if the model has one."""
    inputs: tuple[str, str] = (INPUT, PAIR)
    """The names of the inputs: a text, and the second text of a pair."""
    extras: tuple[str, ...] = ()
    """The further signatures, of `names.EXTRAS`."""
    heads: tuple[str, ...] = ()
    """The signatures with bge-m3's heads, of `names.HYBRID`."""
    adapters: dict[str, str] = field(default_factory=dict)
    """Route → the folder of its adapter in the reference's view, if tasks have adapters."""
    strips: bool = False
    """Whether the reference strips texts, after the prompt, of white space at both ends."""
    unknown_words: tuple[str, ...] = ()
    """Words that a multi-vector model's mask names and that are no single token."""
    truncated_to: int | None = None
    """The length that texts are truncated to because the reference fails for longer ones."""

    @property
    def tokenizer_spec(self) -> TokenizerSpec:
        """The tokenizer's spec for `serving_default`."""
        return next(iter(self.tokenizers.values()))[1]
