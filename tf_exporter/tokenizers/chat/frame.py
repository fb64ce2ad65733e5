"""Frames: the constant text that a chat template puts around the texts of messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

NOTHING, WHITE_SPACE, NEWLINES = STRIPS = ("nothing", "white space", "newlines")
"""What a template may strip from an end of a text, by `str.strip()` or `str.strip("\\n")`."""
_CHARS: dict[str, str | None] = {WHITE_SPACE: None, NEWLINES: "\n", NOTHING: ""}


@dataclass(frozen=True)
class Slot:
    """The place of a text."""

    text: int
    """0 for the text, or the query of a pair; 1 for the document."""
    left: str = NOTHING
    """What is stripped from its start: one of `STRIPS`."""
    right: str = NOTHING
    """The same for its end."""

    def stripped(self, text: str) -> str:
        """The text as the template has it."""
        return text.lstrip(_CHARS[self.left]).rstrip(_CHARS[self.right])


Part = str | Slot


@dataclass(frozen=True)
class Frame:
    """A prompt: constant text and places of texts, in order."""

    parts: tuple[Part, ...]

    def around(self, *texts: str) -> str:
        """The whole prompt for a text, or for a query and a document."""
        return "".join(
            part if isinstance(part, str) else part.stripped(texts[part.text])
            for part in self.parts
        )


Render = Callable[[Sequence[str]], str]
"""A function: a text, or a query and a document → the prompt that the template makes of them."""


class NotAFrameError(Exception):
    """A template is not constant text around the texts; the message says why."""
