"""What verification and the manifest have to know of a model, without its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tf_exporter.signatures import Signature
from tf_exporter.tokenizers.spec import TokenizerSpec


@dataclass(frozen=True)
class Description:
    """A model that has been saved."""

    kind: str
    """One of `spec.KINDS`."""
    output: str
    """What the signatures give."""
    dim: int
    signatures: dict[str, Signature]
    """Those that encode or score."""
    leaking: frozenset[str]
    """The signatures for which padding changes what the reference makes of a text."""
    tokenizers: dict[str, tuple[Any, TokenizerSpec]]
    """Signature → transformers' tokenizer (or what stands for it) and its parts; that of `serving_default` first."""
    batch_size: int | None
    """The number of texts of each call, where it is fixed."""
    poolings: tuple[tuple[str, ...], ...]
    micro_batch_tokens: int
    cut_at: int | None = None
    """The limit in place of the folder's own, as by `--max-seq-length`, where the reference fails for texts as long as that."""

    @property
    def tokenizer_spec(self) -> TokenizerSpec:
        """Of the texts of `serving_default`."""
        return next(iter(self.tokenizers.values()))[1]
