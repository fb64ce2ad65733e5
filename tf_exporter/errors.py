"""Every error a conversion can end with, and the exit code of `convert-hf-model` for it.

ConversionError
├── UsageError            2   the arguments or the output folder
├── UnsupportedError      3   a model that is not reproduced: file, key, value and what is supported
├── VerificationError     4   the graph's answers differ from the reference's
└── InputError            5   files that cannot be read, or that are not what they claim to be
    └── WeightsError      5   a checkpoint that does not fit its config
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

_LONGEST_MESSAGE = 600
_LONGEST_SUPPORTED = 1_200
"""The longest of our own are lists of activations."""
_LONGEST_NAME = 200
_MOST_REASONS = 20
_TERMINAL_CODES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|.)?")
"""Colours and the like, of libraries that print to terminals."""


class ConversionError(Exception):
    """Base of all errors of a conversion; `str(error)` is one line for the user, printable and not too long.

    Messages have names and values of models in them, which are anybody's: what is no printable character is escaped.
    """

    exit_code = 1

    def __init__(self, message: str, longest: int = _LONGEST_MESSAGE) -> None:
        super().__init__(cut(printable(cut(message, longest)), longest))


class UsageError(ConversionError):
    """The request itself cannot be carried out."""

    exit_code = 2


class UnsupportedError(ConversionError):
    """The model asks for something that is not reproduced exactly, so it is refused.

    Args:
        file: the file of the model, relative to its folder.
        key: the path of the key in it.
        value: what stands there.
        supported: what could stand there instead, a phrase or the names.
    """

    exit_code = 3

    def __init__(self, file: str, key: str, value: object, supported: str | Iterable[str]) -> None:
        if not isinstance(supported, str):
            supported = ", ".join(sorted(supported))
        self.file, self.key, self.value, self.supported = file, key, value, supported
        self.reasons: tuple[UnsupportedError, ...] = (self,)
        file, key, supported = cut(file, _LONGEST_NAME), cut(key, _LONGEST_NAME), cut(supported, _LONGEST_SUPPORTED)
        message = f"{file}: {key} = {shortened(value)} is not supported (supported: {supported})"
        super().__init__(message, longest=4 * _LONGEST_SUPPORTED)


class SeveralUnsupportedError(UnsupportedError):
    """A model that is refused for more than one reason; `str(error)` has a line for each of the first ones."""

    def __init__(self, reasons: Sequence[UnsupportedError]) -> None:
        first = reasons[0]
        super().__init__(first.file, first.key, first.value, first.supported)
        self.reasons = tuple(reasons)
        lines = [*map(str, reasons[:_MOST_REASONS])]
        if more := len(reasons) - len(lines):
            lines.append(f"… and {more:,} more reasons")
        self.args = ("\n".join(lines),)


def joined(errors: Iterable[UnsupportedError]) -> UnsupportedError:
    """One error with all reasons of the given ones, each reason once."""
    reasons = list({str(reason): reason for error in errors for reason in error.reasons}.values())
    return reasons[0] if len(reasons) == 1 else SeveralUnsupportedError(reasons)


class Refusals:
    """Collects the reasons for which a model is refused, part by part, so that all are told at once.

    An `InputError` is not collected: of a file that cannot be read, nothing more can be said.
    """

    def __init__(self) -> None:
        self._errors: list[UnsupportedError] = []

    @contextmanager
    def part(self) -> Iterator[None]:
        """Keeps an `UnsupportedError` that is raised inside until `check`."""
        try:
            yield
        except UnsupportedError as error:
            self._errors.append(error)

    def check(self) -> None:
        """Raises all errors that were kept, as one."""
        if self._errors:
            raise joined(self._errors)


class VerificationError(ConversionError):
    """The converted graph does not answer as the reference does."""

    exit_code = 4


class InputError(ConversionError):
    """A file of the model is missing, unreadable or hostile."""

    exit_code = 5


class WeightsError(InputError):
    """A checkpoint has missing, extra, mis-shaped or non-finite tensors."""


def printable(text: str) -> str:
    """`text` on one line: line breaks, control and format characters, and halves of characters as Python's escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def cut(text: str, limit: int) -> str:
    """`text`, without its middle where it is longer than `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit // 2]} … {text[-limit // 3 :]}"


def shortened(value: object, limit: int = 120) -> str:
    """`repr(value)` on one line, cut in the middle where it is long."""
    try:
        return cut(repr(value), limit)
    except RecursionError:
        return f"{type(value).__name__}, deeply nested"


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """What an error of some library says, on one line; its type where it says nothing."""
    text = " ".join(_TERMINAL_CODES.sub("", str(error)).split()) or type(error).__name__
    return text if len(text) <= limit else f"{text[:limit]} …"
