"""White space at the ends of strings, as Python's `str.strip` removes it."""

from __future__ import annotations

import tensorflow as tf

NEWLINE = r"[\n]"
"""The class of the newline, for RE2."""
# All white space is below this code point.
_SPACES = [char for char in map(chr, range(0x3001)) if char.isspace()]
WHITE_SPACE = "[" + "".join(f"\\x{{{ord(char):x}}}" for char in _SPACES) + "]"
"""The class of what `str.strip` removes, which is what `str.isspace` accepts."""


def stripped(
    texts: tf.Tensor, left: str | None = WHITE_SPACE, right: str | None = WHITE_SPACE
) -> tf.Tensor:
    """The texts without the characters of a class at each end; None: none. Bytes [batch]."""
    if left is not None:
        texts = tf.strings.regex_replace(texts, rf"\A{left}+", "")
    if right is not None:
        texts = tf.strings.regex_replace(texts, rf"{right}+\z", "")
    return texts
