"""Texts of a user that stand for those of an application, one a line."""

from __future__ import annotations

from pathlib import Path

from tf_exporter.errors import InputError

_MOST_BYTES = 2**28
_LEAST = 2


def read_texts(path: str) -> list[str]:
    """The lines of a UTF-8 file that are not blank.

    Raises:
        InputError: the file cannot be read, is too large or no text, or has fewer than two lines.
    """
    name = f"--calibration {path}"
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"{name}: cannot be read ({reason or error})") from None
    if len(data) > _MOST_BYTES:
        raise InputError(f"{name}: more than {_MOST_BYTES:,} bytes")
    if "\0" in text:
        raise InputError(f"{name}: has NUL characters, so it is no text file")
    texts = [line.strip("\r") for line in text.split("\n") if line.strip()]
    if len(texts) < _LEAST:
        raise InputError(
            f"{name}: has {len(texts)} texts; at least {_LEAST} are needed, one a line"
        )
    return texts
