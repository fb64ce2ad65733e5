"""The frames of a model's chat template, from the process that renders it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from tf_exporter.errors import UnsupportedError, VerificationError
from tf_exporter.model.reference import processes
from tf_exporter.model.reference.scratch import scratch_folder
from tf_exporter.model.untyped import TransformersTokenizer
from tf_exporter.tokenizers.chat.frame import Frame, Slot
from tf_exporter.tokenizers.chat.settings import AUTO, ChatSettings, Use, inferred_format

logger = logging.getLogger("tf_exporter")

_PROCESS = "tf_exporter.tokenizers.chat.process"
SECONDS = 120.0
"""The time that a template may take for all prompts and hostile texts; real ones take a few."""
_SUPPORTED = "a template that puts constant text around the texts, or around the stripped texts"


def read_frames(
    file: str,
    tokenizer: TransformersTokenizer,
    settings: ChatSettings,
    uses: Sequence[Use],
    pairs: bool,
) -> dict[Use, Frame]:
    """The frame of a tokenizer's chat template for each use.

    Args:
        file: the file that the template is in, for messages.
        tokenizer: the tokenizer; it has a template.
        settings: how texts become messages.
        uses: the prompts and tasks of the model's signatures.
        pairs: whether the model takes a query and a document instead of one text.

    Raises:
        UnsupportedError: the template is not constant text around the texts, does not end in time,
            or reads the clock.
    """
    arguments = dict(settings.arguments)
    try:
        template = tokenizer.get_chat_template(
            arguments.pop("chat_template", None), arguments.get("tools")
        )
    except (ValueError, TypeError) as error:
        raise _refusal(file, tokenizer.chat_template, str(error)) from None
    format = settings.format
    request = {
        "template": template,
        "arguments": {**tokenizer.special_tokens_map, "common_kwargs": {}, **arguments},
        "format": inferred_format(tokenizer.chat_template) if format == AUTO else format,
        "uses": list(uses),
        "count": 2 if pairs else 1,
        "tokens": [str(token) for token in tokenizer.added_tokens_decoder.values()],
    }
    answer = _answer(file, template, request)
    if "failure" in answer:
        raise _refusal(file, template, answer["failure"])
    logger.info("chat template: %d prompts proved on %d texts", len(uses), answer["proved"])
    return dict(zip(uses, map(_frame, answer["frames"])))


def _answer(file: str, template: str, request: dict[str, Any]) -> dict[str, Any]:
    with scratch_folder() as place:
        process = processes.start(_PROCESS, {}, place)
        try:
            answer = processes.finished(process, json.dumps(request).encode(), "jinja2", SECONDS)
        except VerificationError as error:
            reason = str(error).removeprefix("the reference, jinja2, ")
            raise _refusal(file, template, f"rendering it {reason}") from None
    values: dict[str, Any] = json.loads(answer)
    return values


def _frame(values: dict[str, Any]) -> Frame:
    return Frame(tuple(part if isinstance(part, str) else Slot(**part) for part in values["parts"]))


def _refusal(file: str, template: object, reason: str) -> UnsupportedError:
    return UnsupportedError(file, "chat_template", template, f"{_SUPPORTED}; {reason}")
