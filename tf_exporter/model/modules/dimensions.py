"""The widths of the features that modules make, and checks of configs against them."""

from __future__ import annotations

from typing import Any

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile

NO_EMBEDDINGS = ("input_ids", "sentence_lengths", "cls_token_embeddings", "all_layer_embeddings")
"""Features that are no embeddings: ids; lengths in tokens; WordEmbeddings' empty place for the
first token; the layers of an encoder, with what goes into the first."""
EMBEDDINGS = ("sentence_embedding", "token_embeddings", "scores")
"""Features a module can be told to read or write."""

NOT_COLLECTED = 0
"""The number of `all_layer_embeddings` where the reference gives them and the encoder here does not."""

ANY = (object, bool)
"""The kinds of a value that the reference does not look at."""


class Dimensions(dict[str, int | None]):
    """The width of each feature that the modules before have made; reading a module updates it.

    Of `NO_EMBEDDINGS`: the number of ids, or of layers; else 0. None: not known before weights are
    read.
    """

    lost = False
    """Whether a module before was refused, so that there may be features that are not listed."""

    def of(self, file: ConfigFile, key: str, name: str) -> int | None:
        """The width of feature `name`, None where it is not known.

        Raises:
            UnsupportedError: no module before makes this feature.
        """
        if not self.lost and (name not in self or name in NO_EMBEDDINGS):
            made = self.keys() - {*NO_EMBEDDINGS}
            supported = made or "nothing: no module before makes an embedding"
            raise UnsupportedError(file.file, key, name, supported)
        return self.get(name)

    def lose(self) -> None:
        """Forgets all widths: what comes behind a refused module is checked by itself alone."""
        self.lost = True
        self.update(dict.fromkeys(self))

    def copy(self) -> Dimensions:
        """Another one with the same widths."""
        copied = Dimensions(self)
        copied.lost = self.lost
        return copied


def times(width: int | None, factor: int) -> int | None:
    """The width of `factor` embeddings side by side."""
    return None if width is None else width * factor


def read_names(file: ConfigFile, dimensions: Dimensions) -> tuple[str, str, int | None]:
    """`module_input_name`, `module_output_name` (null: the same) and the width of the input."""
    source = file.take("module_input_name", str, "sentence_embedding")
    target = file.take("module_output_name", (str, type(None)))
    target = source if target is None else target
    if target not in EMBEDDINGS:
        raise UnsupportedError(file.file, "module_output_name", target, EMBEDDINGS)
    return source, target, dimensions.of(file, "module_input_name", source)


def check_width(file: ConfigFile, key: str, value: int, expected: int | None) -> None:
    """Refuses a width that the modules before do not make. `file.finish` raises the error."""
    if expected is not None and value != expected:
        supported = f"{expected}, the width of what comes in"
        file.refuse(UnsupportedError(file.file, key, value, supported))


def take_renamed(file: ConfigFile, key: str, old: str, kinds: tuple[type, ...] = (int,)) -> Any:
    """The value under today's key, or else its old one.

    Where both are there, the reference drops the old one unread.
    """
    if key in file:
        file.take(old, ANY)
    return file.take(old if old in file and key not in file else key, kinds, required=True)
