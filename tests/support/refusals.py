"""A check of how a conversion refuses a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tf_exporter import ConversionError, convert


def refused(model: Path | str, kind: type[ConversionError], *words: str, **options: Any) -> None:
    """Checks that converting raises `kind` with these words in one line, and leaves no files."""
    place = Path(model).parent / "place" if isinstance(model, Path) else Path(options.pop("place"))
    place.mkdir(exist_ok=True)
    with pytest.raises(ConversionError) as raised:
        convert(model, place / "out", verify="off", **options)
    message = str(raised.value)
    assert type(raised.value) is kind, message
    assert message.isprintable(), ascii(message)
    assert len(message) < 2_000
    for word in words:
        assert word in message
    assert list(place.iterdir()) == []
