"""The errors that a conversion can end with, and their exit codes of `convert-hf-model`.

ConversionError
├── UsageError            2   the arguments or the output folder
├── UnsupportedError      3   a model that is not supported: file, key, value and supported values
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
"""The longest lists of supported values are those of activations."""
_LONGEST_NAME = 200
_MOST_REASONS = 20
_TERMINAL_CODES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|.)?")
"""Escape sequences, e.g. for colours, of libraries that print to terminals."""


class ConversionError(Exception):
    """The base of all errors of a conversion; `str(error)` is one line of limited length.

    Messages contain names and values of untrusted models, so characters that are not printable are
    escaped.
    """

    exit_code = 1

    def __init__(self, message: str, longest: int = _LONGEST_MESSAGE) -> None:
        super().__init__(abbreviated(printable(abbreviated(message, longest)), longest))


class UsageError(ConversionError):
    """The request itself cannot be carried out."""

    exit_code = 2


class UnsupportedError(ConversionError):
    """The model needs something that is not reproduced exactly, so it is refused.

    Args:
        file: the file of the model, relative to its folder.
        key: the path of the key in the file.
        value: the value of the key.
        supported: the supported values, as a phrase or as names.
    """

    exit_code = 3

    def __init__(self, file: str, key: str, value: object, supported: str | Iterable[str]) -> None:
        if not isinstance(supported, str):
            supported = ", ".join(sorted(supported))
        self.file, self.key, self.value, self.supported = file, key, value, supported
        self.reasons: tuple[UnsupportedError, ...] = (self,)
        file, key, supported = (
            abbreviated(file, _LONGEST_NAME),
            abbreviated(key, _LONGEST_NAME),
            abbreviated(supported, _LONGEST_SUPPORTED),
        )
        message = f"{file}: {key} = {shortened(value)} is not supported (supported: {supported})"
        super().__init__(message, longest=4 * _LONGEST_SUPPORTED)


class SeveralUnsupportedError(UnsupportedError):
    """A model refused for several reasons; `str(error)` has one line for each of the first."""

    def __init__(self, reasons: Sequence[UnsupportedError]) -> None:
        first = reasons[0]
        super().__init__(first.file, first.key, first.value, first.supported)
        self.reasons = tuple(reasons)
        lines = [*map(str, reasons[:_MOST_REASONS])]
        if more := len(reasons) - len(lines):
            lines.append(f"… and {more:,} more reasons")
        self.args = ("\n".join(lines),)


def joined(errors: Iterable[UnsupportedError]) -> UnsupportedError:
    """One error with the reasons of all given errors, each reason once."""
    reasons = list({str(reason): reason for error in errors for reason in error.reasons}.values())
    return reasons[0] if len(reasons) == 1 else SeveralUnsupportedError(reasons)


class Refusals:
    """Collects the reasons to refuse a model, part by part, so that all are reported at once.

    An `InputError` is not collected: a file that cannot be read gives no further reasons.
    """

    def __init__(self) -> None:
        self._errors: list[UnsupportedError] = []

    @contextmanager
    def part(self) -> Iterator[None]:
        """Keeps an `UnsupportedError` that is raised inside, until `check`."""
        try:
            yield
        except UnsupportedError as error:
            self._errors.append(error)

    def check(self) -> None:
        """Raises all kept errors as one."""
        if self._errors:
            raise joined(self._errors)


class VerificationError(ConversionError):
    """The outputs of the converted graph differ from those of the reference."""

    exit_code = 4


class InputError(ConversionError):
    """A file of the model is missing, unreadable or hostile."""

    exit_code = 5


class WeightsError(InputError):
    """A checkpoint has missing, extra, mis-shaped or non-finite tensors."""


def printable(text: str) -> str:
    """`text` on one line, with characters that are not printable as Python's escapes.

    These are line breaks, control and format characters, and lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def abbreviated(text: str, limit: int) -> str:
    """`text`, without its middle where it is longer than `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit // 2]} … {text[-limit // 3 :]}"


def shortened(value: object, limit: int = 120) -> str:
    """`repr(value)` on one line, without its middle where it is long."""
    try:
        return abbreviated(repr(value), limit)
    except RecursionError:
        return f"{type(value).__name__}, deeply nested"


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """A library's error message on one line, or the type of an error without a message."""
    text = " ".join(_TERMINAL_CODES.sub("", str(error)).split()) or type(error).__name__
    return text if len(text) <= limit else f"{text[:limit]} …"
