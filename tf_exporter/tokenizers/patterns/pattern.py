"""The patterns of Split and Replace: strings and regular expressions."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.tokenizers.ops.tables import UNICODE_SIZE, CodePointTable
from tf_exporter.tokenizers.patterns.compiling import compile_pattern, text_pattern
from tf_exporter.tokenizers.patterns.pieces import Class, Either, Scan, Text
from tf_exporter.tokenizers.patterns.syntax import PatternSyntaxError
from tf_exporter.tokenizers.unicode.probing import probe_class

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""The regular expression of ByteLevel."""


class Pattern:
    """A string or a regular expression, with its classes in one table."""

    def __init__(self, expression: Either, added_token_count: int) -> None:
        self._expression = expression
        self._bits = {name: 1 << index for index, name in enumerate(sorted(expression.classes()))}
        values = np.zeros(UNICODE_SIZE + added_token_count, np.int32)
        for name, bit in self._bits.items():
            values[:UNICODE_SIZE] |= probe_class(name) * np.int32(bit)
        self._table = CodePointTable(values)

    def may_match(self, codes: tf.Tensor) -> tf.Tensor:
        """Whether there may be a match: a cheap test of how matches begin."""
        first = [alternative.steps[0] for alternative in self._expression.alternatives]
        tests = []
        for step in first:
            if isinstance(step, Text):
                tests.append(tf.reduce_any(codes == ord(step.text[0])))
            elif isinstance(step, Class) and step.least >= 1:
                belongs = tf.bitwise.bitwise_and(self._table(codes), self._bits[step.name]) > 0
                tests.append(
                    tf.reduce_any(belongs[1:] & belongs[:-1] if step.least > 1 else belongs)
                )
            else:
                return tf.size(codes) > 0
        return tf.reduce_any(tf.stack(tests))

    def __call__(self, codes: tf.Tensor, ends: tf.Tensor) -> tf.Tensor:
        """The end of the match from each code, or FAILED: int32 [N]; `ends` is for `Scan`."""
        scan = Scan(codes, ends, self._table(codes))
        return self._expression.match(scan, self._bits, scan.here)


def regex_pattern(expression: str, added_token_count: int) -> Pattern:
    """The pattern of a regular expression in Oniguruma's syntax.

    Raises:
        PatternSyntaxError: A part of the expression is not supported.
    """
    return Pattern(compile_pattern(expression, probe_class), added_token_count)


def read_pattern(config: ConfigFile, added_token_count: int) -> Pattern:
    """The `pattern` of Split and Replace: {"String": …} or {"Regex": …}.

    Raises:
        UnsupportedError: A part of the expression is not supported.
    """
    pattern = config.take("pattern", dict)
    text, expression = pattern.get("String"), pattern.get("Regex")
    if text and isinstance(text, str):
        return Pattern(text_pattern(text), added_token_count)
    if not expression or not isinstance(expression, str):
        raise config.unsupported("pattern", "a string or a regular expression")
    try:
        return regex_pattern(expression, added_token_count)
    except PatternSyntaxError as error:
        raise config.unsupported(
            "pattern", f"a string, or a regular expression without {error}"
        ) from None
