"""The interface of an export: how it builds, checks and describes a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tf_exporter.artifact.card import CardParts, Wording
from tf_exporter.model.untyped import Function, SavedObject
from tf_exporter.modules.transformer.config import TransformerSpec
from tf_exporter.verification.reference import Reference
from tf_exporter.verification.report import Verification


class Built(NamedTuple):
    """A graph in memory, as `tf.saved_model.save` takes it."""

    root: SavedObject
    signatures: dict[str, Function]
    on_cpu: set[str]
    """Names of the variables that are loaded into the host's memory."""


class Export(Protocol):
    """One model, read from its configs. `run` calls `build`, then `check`, then the others."""

    package: str | None
    """The reference's package, "sentence_transformers" or "transformers"; None: no reference."""
    wording: Wording
    """The words that describe the result of the verification."""

    @property
    def transformers(self) -> Sequence[TransformerSpec]:
        """The Transformer modules of the model."""

    def build(self, place: Path) -> Built:
        """The graph, with its weights.

        Args:
            place: an empty folder for files of the graph; it exists until the graph is saved.
        """

    def check(self, saved: Path, reference: Reference | None) -> Verification:
        """Compares the SavedModel with the reference, or only its token ids where that is None.

        Raises:
            VerificationError: a difference is too large.
        """

    def facts(self) -> dict[str, Any]:
        """The export's own entries of the manifest."""

    def remarks(self) -> list[str]:
        """Further lines of output, for the user."""

    def card(self, values: dict[str, Any]) -> CardParts:
        """The export's parts of the model card; `values` is the manifest."""
