"""Text of a model inside Markdown: it shows as it is, and is no markup and no HTML."""

from __future__ import annotations

import re

from tf_exporter.errors import cut, printable

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~&$])")
_LONGEST = 1_000


def plain(text: str) -> str:
    """As running text, or in a cell of a table."""
    return _MARKUP.sub(r"\\\1", printable(cut(text, _LONGEST)))


def code(text: str) -> str:
    """As code; one with backticks of its own as running text."""
    text = printable(cut(text, _LONGEST))
    return plain(text) if "`" in text else f"`{text}`"
