"""Texts, pairs and prompts as messages, as sentence-transformers 6.2 makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tf_exporter.tokenizers.chat.settings import STRUCTURED

Message = dict[str, Any]
_PAIR = ("query", "document")
"""The roles of the two texts of a pair."""


def messages_of(texts: Sequence[str], prompt: str, format: str) -> list[Message]:
    """The messages of one text from the user, or of a query and a document.

    A prompt becomes the system message before them. `format` is "structured" or "flat".
    """
    roles = _PAIR if len(texts) > 1 else ("user",)
    rest = [_message(role, text, format) for role, text in zip(roles, texts)]
    return [_message("system", prompt, format), *rest] if prompt else rest


def _message(role: str, text: str, format: str) -> Message:
    content = [{"type": "text", "text": text}] if format == STRUCTURED else text
    return {"role": role, "content": content}
