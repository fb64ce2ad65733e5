"""The settings of the `message` modality of sentence-transformers 6.2."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

STRUCTURED, FLAT, AUTO = FORMATS = ("structured", "flat", "auto")
"""The content of a message: a list of typed parts, a string, or what the template looks like."""
_SIGNS_OF_PARTS = ("content[0]", ".type", "'type'", '"type"', "message.content[")
"""Text in a template from which the reference concludes that contents are lists of parts."""


class Use(NamedTuple):
    """The use of a model that changes its prompts: one of its signatures."""

    prompt: str = ""
    task: str = ""
    """The `task` of the reference's `encode`; "": none."""


@dataclass(frozen=True)
class ChatSettings:
    """The settings with which texts become messages, and messages become a prompt."""

    format: str = AUTO
    """One of `FORMATS`."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Arguments of `apply_chat_template`; the template sees all of them."""
    restores_suffix: bool = True
    """Whether truncated texts keep what the template puts at the end."""
    required: bool = True
    """Whether the model says that it has a template; else the tokenizer decides."""


def inferred_format(template: str | dict[str, str]) -> str:
    """The format that the reference infers from a tokenizer's `chat_template`."""
    if not isinstance(template, str) or any(sign in template for sign in _SIGNS_OF_PARTS):
        return STRUCTURED
    return FLAT
