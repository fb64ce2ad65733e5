"""Every error a conversion can end with, and the exit code of `convert-hf-model` for it.

ConversionError
├── UsageError            2   the arguments or the output folder
├── UnsupportedError      3   a model that is not reproduced: file, key, value and what is supported
├── VerificationError     4   the graph's answers differ from the reference's
└── InputError            5   files that cannot be read, or that are not what they claim to be
    └── WeightsError      5   a checkpoint that does not fit its config
"""

from __future__ import annotations

from collections.abc import Iterable


class ConversionError(Exception):
    """Base of all errors of a conversion; `str(error)` is one line for the user."""

    exit_code = 1


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
        super().__init__(f"{file}: {key} = {shortened(value)} is not supported (supported: {supported})")


class VerificationError(ConversionError):
    """The converted graph does not answer as the reference does."""

    exit_code = 4


class InputError(ConversionError):
    """A file of the model is missing, unreadable or hostile."""

    exit_code = 5


class WeightsError(InputError):
    """A checkpoint has missing, extra, mis-shaped or non-finite tensors."""


def shortened(value: object, limit: int = 120) -> str:
    """`repr(value)` on one line, cut in the middle where it is long."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit // 2]} … {text[-limit // 3 :]}"


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """What an error of some library says, on one line; its type where it says nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else f"{text[:limit]} …"
