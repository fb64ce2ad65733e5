"""The result of a verification."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Verification:
    """The comparisons with the reference, and the largest differences."""

    level: str
    token_texts: int = 0
    """The number of texts and pairs of texts whose token ids were compared. All were equal."""
    embedding_texts: int = 0
    """The number of embeddings, scores or rows of token ids that were compared."""
    max_abs_difference: float | None = None
    min_cosine: float | None = None
    not_checked: str | None = None
    """A note on the parts that were not verified, and why."""
    note: str | None = None
    """A note on the reference, if it was not the model's folder as it is."""
    reference_versions: dict[str, str] = field(default_factory=dict)
    longest: str | None = None
    """A note on why no text of the model's maximum length was compared."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Text that the reference cannot encode → its error. Such texts were not compared."""
