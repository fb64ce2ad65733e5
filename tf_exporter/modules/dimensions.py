"""The widths of the features that modules make, and checks of configs against them."""

from __future__ import annotations

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.untyped import Json

NO_EMBEDDINGS = ("input_ids", "sentence_lengths", "cls_token_embeddings", "all_layer_embeddings")
"""Features that are not embeddings: token ids; lengths in tokens; the embedding of the first token,
which WordEmbeddings leaves empty; all hidden states of an encoder."""
EMBEDDINGS = ("sentence_embedding", "token_embeddings", "scores")
"""Features that a config can name as a module's output."""

NOT_COLLECTED = 0
"""The value of `all_layer_embeddings` after a head: only the reference collects them there."""

ANY = (object, bool)
"""The types of a value that the reference does not check."""


class Dimensions(dict[str, int | None]):
    """The width of each feature that the modules so far make; reading a module updates it.

    For `NO_EMBEDDINGS` it is the number of ids or of hidden states, or 0. None: not known before
    the weights are read.
    """

    incomplete = False
    """Whether an earlier module was refused, so that features may be missing."""

    def width_of(self, file: ConfigFile, key: str, name: str) -> int | None:
        """The width of the feature `name`; None where it is not known.

        Raises:
            UnsupportedError: no earlier module makes this feature.
        """
        if not self.incomplete and (name not in self or name in NO_EMBEDDINGS):
            available = self.keys() - {*NO_EMBEDDINGS}
            supported = available or "nothing: no module before makes an embedding"
            raise UnsupportedError(file.file, key, name, supported)
        return self.get(name)

    def forget(self) -> None:
        """Forgets all widths, as the modules after a refused one are checked by themselves."""
        self.incomplete = True
        self.update(dict.fromkeys(self))

    def copy(self) -> Dimensions:
        """A copy that is updated independently."""
        copied = Dimensions(self)
        copied.incomplete = self.incomplete
        return copied


def times(width: int | None, factor: int) -> int | None:
    """The width of `factor` embeddings, concatenated."""
    return None if width is None else width * factor


def read_names(file: ConfigFile, dimensions: Dimensions) -> tuple[str, str, int | None]:
    """`module_input_name`, `module_output_name` (null: the same) and the width of the input."""
    source = file.take("module_input_name", str, "sentence_embedding")
    target = file.take("module_output_name", (str, type(None)))
    target = source if target is None else target
    if target not in EMBEDDINGS:
        raise UnsupportedError(file.file, "module_output_name", target, EMBEDDINGS)
    return source, target, dimensions.width_of(file, "module_input_name", source)


def check_width(file: ConfigFile, key: str, value: int, expected: int | None) -> None:
    """Refuses a width other than that of the input. `file.finish` raises the error."""
    if expected is not None and value != expected:
        supported = f"{expected}, the width of the input"
        file.refuse(UnsupportedError(file.file, key, value, supported))


def take_renamed(file: ConfigFile, key: str, old: str, kinds: tuple[type, ...] = (int,)) -> Json:
    """The value under the current key or, if it is absent, under the old one.

    If both are present, the reference ignores the old one.
    """
    if key in file:
        file.take(old, ANY)
    return file.take(old if old in file and key not in file else key, kinds, required=True)
