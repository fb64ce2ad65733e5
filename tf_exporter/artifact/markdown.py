"""Escapes a model's texts for Markdown: they show as they are, not as markup or HTML."""

from __future__ import annotations

import re

from tf_exporter.errors import abbreviated, printable

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~&$])")
_LONGEST = 1_000


def plain(text: str) -> str:
    """`text` as running text or as a cell of a table."""
    return _MARKUP.sub(r"\\\1", printable(abbreviated(text, _LONGEST)))


def code(text: str) -> str:
    """`text` as code, or as running text where it contains backticks."""
    text = printable(abbreviated(text, _LONGEST))
    return plain(text) if "`" in text else f"`{text}`"
