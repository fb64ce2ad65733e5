"""The process that renders a chat template, with limits of time and memory.

It renders with transformers' own function, in Jinja's sandbox. Templates are untrusted: they can
loop for ever or fill the memory.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from tf_exporter.errors import one_line
from tf_exporter.model.reference import processes
from tf_exporter.tokenizers.chat.frame import Frame, NotAFrameError, Render
from tf_exporter.tokenizers.chat.messages import messages_of
from tf_exporter.tokenizers.chat.probing import find_frame, hostile_rows, hostile_texts, prove
from tf_exporter.tokenizers.chat.settings import Use

_MEMORY = 4 * 2**30
"""The bytes that the process may take, besides its libraries' code."""
_RANDOM = ("lipsum", "random")
"""The global function and the filter of Jinja whose results are random."""


class Template:
    """A compiled chat template with its arguments.

    Args:
        source: the template.
        arguments: arguments of `render_jinja_template`, and variables of the template.
        format: the format of messages, "structured" or "flat".

    Raises:
        NotAFrameError: it is not valid.
    """

    def __init__(self, source: str, arguments: dict[str, Any], format: str) -> None:
        # The reference's own functions; importing them also imports torch.
        self._library: Any = importlib.import_module("transformers.utils.chat_template_utils")
        self._source, self._arguments, self._format = source, arguments, format
        nodes: Any = importlib.import_module("jinja2.nodes")
        try:
            environment = self._library._compile_jinja_template(source).environment
            tree = environment.parse(source)
        except (MemoryError, ImportError):
            raise
        except Exception as error:  # Jinja's errors of many types
            raise NotAFrameError(f"it is not a valid template ({one_line(error)})") from None
        environment.globals["strftime_now"] = _no_clock
        self._declares_task = "task" in self._library._get_template_variables(source)
        constants = [node.value for node in tree.find_all(nodes.Const)]
        self.literals = [value for value in constants if isinstance(value, str)]
        """The strings in the template, at which it may branch."""
        used = {node.name for node in tree.find_all((nodes.Filter, nodes.Name))}
        self.random = next((name for name in _RANDOM if name in used), None)
        """The name of a random value that the template uses, if any."""

    def render(self, use: Use) -> Render:
        """The function that renders texts for a use."""
        task = {"task": use.task} if use.task and self._declares_task else {}
        arguments = {**task, **self._arguments}

        def rendered(texts: Sequence[str]) -> str:
            [text], _ = self._library.render_jinja_template(
                conversations=[messages_of(texts, use.prompt, self._format)],
                chat_template=self._source,
                **arguments,
            )
            return str(text)

        return rendered


def _no_clock(format: str) -> str:
    raise NotAFrameError("it reads the clock (strftime_now)")


def frames_of(
    template: Template, uses: Sequence[Use], count: int, tokens: Sequence[str]
) -> tuple[list[Frame], int]:
    """The frame for each use, and the number of texts or pairs that proved all of them.

    Raises:
        NotAFrameError: there is none; the message names the prompt.
    """
    if template.random:
        raise NotAFrameError(f"it uses random values ({template.random})")
    rows = hostile_rows(hostile_texts(template.literals, tokens), count)
    frames, proved = [], 0
    for use in uses:
        render = template.render(use)
        try:
            frames.append(find_frame(render, count))
            prove(frames[-1], render, rows)
            proved += len(rows)
        except NotAFrameError as error:
            named = f", with the prompt {use.prompt!r} as its system message" if use.prompt else ""
            raise NotAFrameError(f"{error}{named}") from None
    return frames, proved


def answer_to(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request, which has the arguments of `Template` and of `frames_of`.

    It has the `frames` and `proved`, the number of texts; or the `failure`, a reason.
    """
    try:
        template = Template(request["template"], request["arguments"], request["format"])
        uses = [Use(*use) for use in request["uses"]]
        frames, proved = frames_of(template, uses, request["count"], request["tokens"])
    except NotAFrameError as error:
        return {"failure": str(error)}
    return {"frames": [asdict(frame) for frame in frames], "proved": proved}


def main(arguments: str) -> None:
    """Runs the process: a request as JSON on standard input, an answer as JSON."""
    with processes.answering() as output:
        _limit_memory()
        output.write(json.dumps(answer_to(json.loads(sys.stdin.buffer.read()))).encode())


def _limit_memory() -> None:
    with suppress(ImportError, OSError, ValueError):  # Windows, or a lower limit
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
